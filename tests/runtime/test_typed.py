"""Typed models behind the real server: 400s that name the place, answers encoded, schemas, batching."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest

from truss.config import Batching, read_config
from truss.model import load_model
from truss.model.interface import interface
from truss.runtime.codecs import decode_msgpack, encode_msgpack
from truss.runtime.description import DIALECT, described, first_example
from truss.runtime.execution import BatchRunner
from truss.runtime.frames import Codec, Request
from truss.runtime.protocols.routes import Service
from truss.testing.server import running_server

TYPED = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated
import msgspec
import numpy as np

class Row(msgspec.Struct):
    age: Annotated[int, msgspec.Meta(ge=0)]
    name: str = "nobody"

@dataclass
class Request:
    inputs: list[Row]
    scale: float = 1.0

class Answer(msgspec.Struct, rename="camel"):
    all_ages: list[float]

class Model:
    '''Scales ages.'''
    def predict(self, request: Request) -> Answer:
        return Answer([row.age * request.scale for row in request.inputs])
    {more}
"""

PYDANTIC = """
from pydantic import BaseModel, Field

class Row(BaseModel):
    age: int = Field(ge=0)

class Request(BaseModel, extra="forbid"):
    inputs: list[Row]

class Answer(BaseModel):
    ages: list[int]

class Model:
    async def predict(self, request: Request) -> Answer:
        return Answer(ages=[row.age for row in request.inputs])
"""

UNTYPED = """
class Model:
    def predict(self, request):
        return {"predictions": request["inputs"]}
"""

SIGNATURE = """
signature:
  columns:
    - {name: age, dtype: int64}
    - {name: name, dtype: text}
"""


def truss(folder, code, config="", more=""):
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "model" / "__init__.py").touch()
    (folder / "model" / "model.py").write_text(code.replace("{more}", more))
    return folder


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    with running_server(truss(tmp_path_factory.mktemp("typed") / "t", TYPED)) as server:
        yield server


@pytest.fixture(scope="module")
def of_pydantic(tmp_path_factory):
    with running_server(truss(tmp_path_factory.mktemp("pydantic") / "t", PYDANTIC)) as server:
        yield server


@pytest.fixture(scope="module")
def untyped(tmp_path_factory):
    with running_server(truss(tmp_path_factory.mktemp("untyped") / "t", UNTYPED, SIGNATURE)) as server:
        yield server


def refusal(response):
    assert response.status == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_input"
    assert "/v1/models/model/schema" in error["hint"]
    return error["message"]


def test_a_body_that_fits_is_answered_and_its_record_is_written(typed):
    assert typed.predict({"inputs": [{"age": 3}], "scale": 2}).json() == {"allAges": [6.0]}
    assert typed.predict({"instances": [{"age": 3}]}).json() == {"allAges": [3.0]}


def test_a_wrong_field_is_refused_by_place_expectation_and_value(typed):
    rows = [{"age": 1}, {"age": 2}, {"age": 3}, {"age": "x"}]
    assert refusal(typed.predict({"inputs": rows})) == '$.inputs[3].age: expected int >= 0, got "x"'
    message = refusal(typed.predict({"inputs": [{"age": -1}, {}], "scale": "big"}))
    assert message == (
        "$.inputs[0].age: expected int >= 0, got -1; "
        "$.inputs[1].age: expected int >= 0, got nothing: it is required; "
        '$.scale: expected float, got "big"'
    )


def test_other_formats_are_held_against_the_same_type(typed):
    path = "/v1/models/model:predict_binary"
    good = encode_msgpack({"inputs": [{"age": np.int64(3)}]})
    assert decode_msgpack(typed.request("POST", path, good).body) == {"allAges": [3.0]}
    bad = encode_msgpack({"inputs": [{"age": None}]})
    assert refusal(typed.request("POST", path, bad)) == "$.inputs[0].age: expected int >= 0, got null"
    csv = {"content-type": "text/csv"}
    answer = typed.request("POST", "/v1/models/model:predict", b"age,name\n4,a\n", csv)
    assert answer.json() == {"allAges": [4.0]}
    v2 = {"inputs": [{"name": "inputs", "shape": [2], "datatype": "INT64", "data": [1, 2]}]}
    refused = typed.request("POST", "/v2/models/model/infer", json.dumps(v2).encode())
    assert refused.status == 400
    assert "$.inputs[0]: expected object (Row), got 1" in refused.json()["error"]


def test_pydantics_models_are_read_by_pydantic_also_in_an_async_model(of_pydantic):
    assert of_pydantic.predict({"inputs": [{"age": "3"}]}).json() == {"ages": [3]}
    assert refusal(of_pydantic.predict({"inputs": [{"age": -1}], "more": 1})) == (
        "$.inputs[0].age: expected greater than or equal to 0, got -1; "
        "$.more: extra inputs are not permitted, got 1"
    )
    binary = of_pydantic.request(
        "POST", "/v1/models/model:predict_binary", encode_msgpack({"inputs": [{"age": 3}]})
    )
    assert decode_msgpack(binary.body) == {"ages": [3]}


@pytest.mark.parametrize("name", ["typed", "of_pydantic"])
def test_the_schema_says_what_is_taken_and_answered(name, request):
    server = request.getfixturevalue(name)
    schema = server.request("GET", "/v1/models/model/schema").json()
    assert schema["typed"] is True
    assert schema["name"] == "model"
    asked = {"inputs": [{"age": 1}]}
    jsonschema.Draft202012Validator(schema["request"]).validate(asked)
    jsonschema.Draft202012Validator(schema["answer"]).validate(server.predict(asked).json())
    with pytest.raises(jsonschema.ValidationError, match="-1 is less than the minimum of 0"):
        jsonschema.Draft202012Validator(schema["request"]).validate({"inputs": [{"age": -1}]})


def test_the_schema_of_an_untyped_model_is_that_of_its_signature_and_refuses_nothing(untyped):
    schema = untyped.request("GET", "/v1/models/model/schema").json()
    assert schema["typed"] is False
    validator = jsonschema.Draft202012Validator(schema["request"])
    validator.validate({"inputs": [{"age": 1, "name": "a"}, [1, None]]})
    assert not validator.is_valid({"inputs": [{"age": "a", "name": "a"}]})
    assert untyped.predict({"inputs": ["anything"]}).json() == {"predictions": ["anything"]}


@pytest.mark.parametrize(
    ("examples", "request_"),
    [
        (
            "[{name: a, input: {prompt: Hello, top: [1, 2], options: {seed: null}}}]",
            {
                "type": "object",
                "properties": {
                    "prompt": {"type": "string"},
                    "top": {"type": "array", "items": {"type": "number"}},
                    "options": {"type": "object", "properties": {"seed": {}}},
                },
            },
        ),
        ("", {"type": "object", "properties": {"inputs": {"type": "array"}}, "examples": [{"inputs": []}]}),
        (
            "no: examples",
            {"type": "object", "properties": {"inputs": {"type": "array"}}, "examples": [{"inputs": []}]},
        ),
    ],
)
def test_without_a_signature_the_first_example_tells_what_is_taken(tmp_path, examples, request_):
    folder = truss(tmp_path / "t", UNTYPED)
    (folder / "examples.yaml").write_text(examples)
    config = read_config(folder)
    steps = load_model(folder, config).steps
    description = described(interface(steps), Service.of(config, {}), first_example(folder, config))
    assert description.schema()["request"] == {"$schema": DIALECT, **request_}
    assert description.example == (
        {"prompt": "Hello", "top": [1, 2], "options": {"seed": None}}
        if "prompt" in examples
        else {"inputs": []}
    )


BATCHED = """
    def predict_batch(self, requests):
        return [self.predict(request) for request in requests]
"""


@pytest.mark.parametrize("mode", ["rows", "requests"])
def test_in_a_batch_each_request_is_held_against_the_type_by_itself(tmp_path, mode):
    config = f"runtime: {{batching: {{mode: {mode}}}}}"
    with running_server(truss(tmp_path / "t", TYPED, config, BATCHED)) as server:
        bodies = [{"inputs": [{"age": number}] * 2} for number in range(-5, 40)] * 4
        with ThreadPoolExecutor(32) as clients:
            answers = list(clients.map(server.predict, bodies))
        for body, answer in zip(bodies, answers, strict=True):
            age = body["inputs"][0]["age"]
            if age < 0:
                assert f"$.inputs[0].age: expected int >= 0, got {age};" in refusal(answer)
            else:
                assert answer.json() == {"allAges": [age, age]}
        metrics = server.request("GET", "/metrics").body.decode()
        assert "truss_batch_requests" in metrics
        assert not [line for line in server.log if "no longer joined" in line]


def test_a_joined_request_is_a_value_of_the_type_too(make_truss):
    code = TYPED.replace("{more}", "").replace("    def predict", "    calls = []\n    def predict")
    code = code.replace(
        "        return Answer", "        self.calls.append(len(request.inputs))\n        return Answer"
    )
    folder = Path(make_truss(code))
    loaded = load_model(folder, read_config(folder))
    runner = BatchRunner(loaded.steps, Batching(mode="rows"))
    bodies = [{"inputs": [{"age": 1}]}, {"inputs": [{"age": 2}, {"age": 3}]}, {"inputs": [{"age": -1}]}]
    batch = [Request(number, Codec.JSON, msgspec.json.encode(body)) for number, body in enumerate(bodies)]
    answers = runner.run(batch).answers
    assert [answer.status for answer in answers] == [200, 200, 400]
    assert json.loads(bytes(answers[1].body)) == {"allAges": [2.0, 3.0]}
    assert loaded.model.calls[0] == 3  # both requests that fit ran as one


GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "typed-models.md"


def test_the_guides_model_answers_as_the_guide_says(tmp_path):
    text = GUIDE.read_text()
    code, said = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("python", "json"))
    body = re.search(r"-d '(.*)'", text)[1]
    with running_server(truss(tmp_path / "t", code)) as server:
        answer = server.predict(json.loads(body))
        assert answer.status == 400
        expected = json.loads(said)["error"]
        assert {**answer.json()["error"], "request_id": "..."} == expected
        assert server.predict({"inputs": [{"age": 18}]}).json() == {"predictions": [True]}


ARRAYS = """
from dataclasses import dataclass
import numpy as np
from numpy.typing import NDArray

@dataclass
class Request:
    inputs: NDArray[np.float32]

@dataclass
class Answer:
    doubled: np.ndarray
    kind: list[str]

class Model:
    def predict(self, request: Request) -> Answer:
        return Answer(request.inputs * 2, [str(request.inputs.dtype)] * len(request.inputs))
"""


def test_tensors_become_fields_and_fields_tensors(tmp_path):
    with running_server(truss(tmp_path / "t", ARRAYS)) as server:
        tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.5]}
        answer = server.request("POST", "/v2/models/model/infer", json.dumps({"inputs": [tensor]}).encode())
        outputs = {output["name"]: output for output in answer.json()["outputs"]}
        assert outputs["doubled"]["data"] == [2.0, 5.0]
        assert outputs["doubled"]["datatype"] == "FP32"
        assert outputs["kind"]["data"] == ["float32", "float32"]
        assert server.predict({"inputs": [1]}).json() == {"doubled": [2.0], "kind": ["float32"]}
        assert refusal(server.predict({"inputs": ["a"]})) == '$.inputs: expected array of float32, got ["a"]'


def test_an_edit_of_the_type_counts_and_is_told(tmp_path):
    code = TYPED.replace("{more}", "")
    folder = truss(tmp_path / "t", code)
    with running_server(folder, "--watch") as server:
        assert server.predict({"inputs": [{"age": 3}]}).status == 200
        (folder / "model" / "model.py").write_text(code.replace("ge=0", "ge=10"))
        server.wait_until(lambda: server.predict({"inputs": [{"age": 3}]}).status == 400, "takes up no edit")
        schema = server.request("GET", "/v1/models/model/schema").json()
        assert schema["request"]["$defs"]["Row"]["properties"]["age"]["minimum"] == 10
