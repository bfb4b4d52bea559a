"""preprocess -> predict -> postprocess, in every mixture of sync, async and generators."""

import asyncio

import numpy as np
import pytest

from truss.config import Column, Signature
from truss.errors import InvalidInputError, PredictionError
from truss.model.steps import Steps, with_both_names

SYNC = {
    "preprocess": "return request['inputs']",
    "predict": "return [value * 2 for value in request]",
    "postprocess": "return {'predictions': request}",
}


def truss(write, asynchronous=(), **bodies):
    methods = "".join(
        f"    {'async ' if name in asynchronous else ''}def {name}(self, request):\n        {body}\n"
        for name, body in {**SYNC, **bodies}.items()
    )
    return write({"model/model.py": "class Model:\n" + methods})


@pytest.mark.parametrize(
    "asynchronous", [(), ("predict",), ("preprocess",), ("preprocess", "predict", "postprocess")]
)
def test_each_step_may_be_async(write, load, asynchronous):
    model = load(truss(write, asynchronous))
    assert model.predict({"inputs": [1, 2]}) == {"predictions": [2, 4]}
    model.close()


def test_an_async_model_answers_inside_a_running_loop_as_in_a_notebook(write, load):
    model = load(truss(write, ("predict",)))

    async def cell():
        return model.predict({"inputs": [1]})

    assert asyncio.run(cell()) == {"predictions": [2]}
    model.close()


@pytest.mark.parametrize("asynchronous", [(), ("postprocess",)])
def test_a_generators_answer_is_its_chunks(write, load, asynchronous):
    model = load(truss(write, asynchronous, postprocess="yield from ()" if not asynchronous else "yield 1"))
    assert model.predict({"inputs": [1]}) == ([1] if asynchronous else [])
    model.close()


@pytest.mark.parametrize("step", ["preprocess", "predict", "postprocess"])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_raising_step_is_named_with_its_line(write, load, step, asynchronous):
    model = load(truss(write, (step,) if asynchronous else (), **{step: "raise ValueError('bad')"}))
    with pytest.raises(PredictionError, match=f"`{step}` raised ValueError: bad") as caught:
        model.predict({"inputs": [1]})
    assert f"in {step}" in caught.value.where
    assert "model.py:" in caught.value.where
    model.close()


def test_inputs_and_instances_alias_each_other():
    assert with_both_names({"inputs": [1]}) == {"inputs": [1], "instances": [1]}
    assert with_both_names({"instances": [1], "k": 2}) == {"inputs": [1], "instances": [1], "k": 2}
    assert with_both_names({"inputs": [1], "instances": [2]}) == {"inputs": [1], "instances": [2]}
    assert with_both_names({"prompt": "x"}) == {"prompt": "x"}
    assert with_both_names("text") == "text"


def test_the_callers_request_is_not_changed():
    request = {"inputs": [1]}
    with_both_names(request)
    assert request == {"inputs": [1]}


@pytest.mark.parametrize("value", [3, "text", {"a": 1}, None])
@pytest.mark.parametrize("name", ["inputs", "instances"])
def test_rows_that_are_no_list_are_refused(name, value):
    with pytest.raises(InvalidInputError, match=f"`{name}` must be a list"):
        with_both_names({name: value})


@pytest.mark.parametrize("asynchronous", [(), ("preprocess",)])
def test_an_exception_may_say_that_the_request_is_to_blame(write, load, asynchronous):
    bodies = {"preprocess": "raise BadRequest('no such colour')"}
    folder = truss(write, asynchronous, **bodies)
    file = folder / "model" / "model.py"
    file.write_text("class BadRequest(ValueError):\n    bad_request = True\n\n" + file.read_text())
    with pytest.raises(InvalidInputError, match="no such colour"):
        load(folder).predict({"inputs": [1]})


def test_what_the_model_refuses_is_told_with_its_place_where_the_signature_knows_it(tmp_path):
    class RefusedError(ValueError):
        bad_request = True

    class Colours:
        def predict(self, request):
            raise RefusedError("no such colour")

    signature = Signature(columns=[Column(name="red"), Column(name="blue")])
    steps = Steps(Colours(), tmp_path / "model" / "model.py", signature)
    with pytest.raises(InvalidInputError, match=r"lacks the column 'blue'.*no such colour") as raised:
        steps.run({"inputs": [{"red": 1, "blue": 2}, {"red": 1}]})
    assert raised.value.where == "inputs[1]"
    with pytest.raises(InvalidInputError, match=r"^no such colour") as raised:
        steps.run({"inputs": [{"red": 1, "blue": 2}]})


def test_a_list_for_each_input_is_for_models_that_say_so(write, load):
    request = {"inputs": {"a": [1], "b": [2]}}
    body = "return sorted(request['instances'])"
    folder = write({"model/model.py": f"class Model:\n    def predict(self, request):\n        {body}\n"})
    with pytest.raises(InvalidInputError, match="must be a list"):
        load(folder).predict(request)
    says = f"class Model:\n    inputs_by_name = True\n    def predict(self, request):\n        {body}\n"
    assert load(write({"model/model.py": says})).predict(request) == ["a", "b"]


def test_arrays_are_rows_too():
    array = np.zeros((2, 2))
    assert with_both_names({"inputs": array})["instances"] is array
