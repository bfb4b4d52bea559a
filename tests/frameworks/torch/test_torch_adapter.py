"""What is saved and what is refused, inputs and outputs in every form, and code from everywhere."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgpack
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from safetensors import safe_open
from torch import nn
from torch.nn.utils import parametrizations

import truss
from truss.errors import InvalidInputError, MissingExtraError, PackagingError
from truss.frameworks.registry import framework_for
from truss.frameworks.torch.adapter import TorchFramework
from truss.testing.server import running_server

FRAMEWORK = TorchFramework()


def save(model: Any, folder: Path) -> Any:
    return FRAMEWORK.save(model, folder)


def load(saved: Any, folder: Path) -> Any:
    """The packaged copy, as a process that serves it has it."""
    namespace: dict[str, Any] = {"__name__": "model"}
    exec(compile(saved.model_class, "model.py", "exec"), namespace)
    config = {"model_metadata": dict(saved.model_metadata)}
    model = namespace["Model"](data_dir=folder, config=config, secrets={})
    model.load()
    return model


def copy_of(model: Any, folder: Path) -> Any:
    return load(save(model, folder), folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / "model" / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping


def ask(model: Any, inputs: Any) -> Any:
    return FRAMEWORK.answer(model, {"inputs": inputs})["predictions"]


DEFINITION = """
import torch
from torch import nn

SCALE = 2.0

def scaled(values):
    return values * SCALE

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("offset", torch.ones(2))

    def forward(self, x):
        return scaled(self.layer(x)) + self.offset
"""

PACKAGING = """
import sys
import truss

torch.manual_seed(0)
net = Net()
truss.create(net, TARGET, examples={"inputs": [[1.0, 2.0, 3.0], [0, 0, 0]]})
expected = net(torch.tensor([[1.0, 2.0, 3.0], [0, 0, 0]])).tolist()
"""


class TestCodeOfEverySource:
    """A class is served when the source that defined it is gone."""

    def run(self, script: Path, text: str) -> None:
        script.write_text(text)
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def serve(self, target: Path) -> None:
        expected = truss.load(target).examples()[0].expected
        with running_server(target) as server:
            answer = server.predict({"inputs": [[1.0, 2.0, 3.0], [0, 0, 0]]})
        assert answer.status == 200, answer.body
        assert np.allclose(answer.json()["predictions"], expected["predictions"], rtol=1e-5)

    def test_main(self, tmp_path):
        target, script = tmp_path / "truss", tmp_path / "train.py"
        self.run(script, f"TARGET = {str(target)!r}\n{DEFINITION}\n{PACKAGING}")
        script.unlink()
        assert not list((target / "packages").glob("*.py"))
        self.serve(target)

    def test_a_local_file(self, tmp_path):
        target, folder = tmp_path / "truss", tmp_path / "work"
        folder.mkdir()
        local = folder / "networks.py"
        local.write_text(DEFINITION)
        self.run(
            folder / "train.py",
            f"TARGET = {str(target)!r}\nimport torch\nfrom networks import Net\n{PACKAGING}",
        )
        local.unlink()
        assert (target / "packages" / "networks.py").is_file()
        self.serve(target)

    def test_a_notebook_cell(self, tmp_path):
        target, folder = tmp_path / "truss", tmp_path / "work"
        folder.mkdir()
        cells = [f"TARGET = {str(target)!r}", DEFINITION, PACKAGING]
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
        self.serve(target)


class Parts(nn.Module):
    """Tensors in every place where a module may have one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("mean", torch.arange(4.0))
        self.register_buffer("scratch", torch.full((4,), 2.0), persistent=False)
        self.plain = torch.full((4,), 3.0)
        self.several = [torch.full((4,), 4.0), {"deep": torch.full((4,), 5.0)}]
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sums = self.mean + self.scratch + self.plain + self.several[0] + self.several[1]["deep"]
        return self.second(self.first(x)) * self.frozen + sums


class TestWeights:
    def test_every_tensor_is_in_the_weights_file_once_under_its_own_name(self, tmp_path):
        model = Parts()
        saved = save(model, tmp_path)
        named = {"first.weight", "mean", "scratch", "frozen"}
        assert named < set(weights(tmp_path))
        assert len(weights(tmp_path)) == 7
        assert (tmp_path / "model" / "structure.pickle").stat().st_size < 20_000
        rows = torch.rand(2, 4)
        copy = load(saved, tmp_path)
        assert torch.equal(copy.model(rows), model(rows))
        assert copy.model.first.weight is copy.model.second.weight
        assert not copy.model.frozen.requires_grad
        assert copy.model.first.weight.requires_grad
        assert "scratch" not in copy.model.state_dict()
        assert set(copy.model.state_dict()) == set(model.state_dict())

    @pytest.mark.parametrize(
        "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool, torch.complex64]
    )
    def test_number_formats_stay(self, dtype, tmp_path):
        model = nn.Module()
        model.register_buffer("values", torch.tensor([0, 1, 1]).to(dtype))
        model.forward = torch.abs
        assert torch.equal(copy_of(model, tmp_path).model.values, model.values)
        assert copy_of_dtype(tmp_path) == dtype

    def test_weights_are_mapped_from_their_file(self, tmp_path):
        copy = copy_of(nn.Linear(64, 64), tmp_path)
        mapped = Path("/proc/self/maps").read_text()
        assert str(tmp_path / "model" / "model.safetensors") in mapped
        assert copy.model.weight.data_ptr() in addresses(mapped, "model.safetensors")

    def test_views_of_one_tensor_are_written_as_tensors_of_their_own(self, tmp_path):
        model = nn.Linear(3, 2)
        table = torch.rand(5, 2, 3)
        model.weight = nn.Parameter(table[1])
        model.register_buffer("turned", table[2].T)
        copy = copy_of(model, tmp_path).model
        assert torch.equal(copy.weight, model.weight)
        assert torch.equal(copy.turned, model.turned)
        assert (tmp_path / "model" / "model.safetensors").stat().st_size < 1000

    def test_two_objects_over_the_same_memory_share_it_again(self, tmp_path):
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = nn.Parameter(model[0].weight.data)
        copy = copy_of(model, tmp_path).model
        assert copy[0].weight is not copy[1].weight
        assert copy[0].weight.data_ptr() == copy[1].weight.data_ptr()

    def test_gradients_and_computed_weights_are_no_obstacle(self, tmp_path):
        model = nn.utils.weight_norm(nn.Linear(3, 2))
        model(torch.rand(2, 3)).sum().backward()
        rows = torch.rand(4, 3)
        copy = copy_of(model, tmp_path).model
        assert torch.allclose(copy(rows), model(rows))
        assert all(parameter.grad is None for parameter in copy.parameters())

    @pytest.mark.parametrize("normalised", [parametrizations.weight_norm, parametrizations.spectral_norm])
    def test_weights_that_are_computed_from_others_become_plain(self, normalised, tmp_path):
        model = nn.Sequential(normalised(nn.Linear(3, 2)), normalised(nn.Linear(2, 2)))
        handle = truss.create(model, tmp_path / "truss", examples=[{"inputs": [[1.0, 2.0, 3.0]]}])
        with safe_open(handle.truss_dir / "data" / "model" / "model.safetensors", "np") as weights:
            assert set(weights.keys()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
        assert model.training
        assert hasattr(model[0], "parametrizations")
        expected = model.eval()(torch.tensor([[1.0, 2.0, 3.0]])).detach()
        np.testing.assert_allclose(
            handle.predict({"inputs": [[1.0, 2.0, 3.0]]})["predictions"], expected, rtol=1e-5
        )

    def test_a_sparse_buffer_goes_along(self, tmp_path):
        model = nn.Linear(2, 2)
        model.register_buffer("edges", torch.eye(3).to_sparse())
        assert torch.equal(copy_of(model, tmp_path).model.edges.to_dense(), torch.eye(3))

    def test_a_lazy_layer_has_to_be_called_first(self, tmp_path):
        with pytest.raises(PackagingError, match=r"`weight` has no shape yet[\s\S]*call the module once"):
            save(nn.LazyLinear(3), tmp_path)

    def test_weights_without_values_are_refused(self, tmp_path):
        with pytest.raises(PackagingError, match="device `meta`"):
            save(nn.Linear(2, 2, device="meta"), tmp_path)


def copy_of_dtype(folder: Path) -> torch.dtype:
    (tensor,) = weights(folder).values()
    return tensor.dtype


def addresses(maps: str, file: str) -> range:
    """The memory that a file is mapped to."""
    lines = [line.split()[0].split("-") for line in maps.splitlines() if line.endswith(file)]
    return range(min(int(start, 16) for start, _ in lines), max(int(end, 16) for _, end in lines))


class Named(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor, scale: torch.Tensor | None = None) -> Any:
        total = x + y.unsqueeze(-1) if scale is None else (x + y.unsqueeze(-1)) * scale
        return total, {"sum": total.sum(dim=-1)}


class OneDict(nn.Module):
    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["a"] - batch["b"]


class Any2(nn.Module):
    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        return tensors["a"] - tensors["b"]


class TestInputs:
    @pytest.mark.parametrize("number", [1, 1.0, np.float32(1), np.uint8(1)])
    def test_numbers_of_any_type_reach_a_layer_in_the_type_of_its_weights(self, number):
        layer = nn.Linear(2, 1).double()
        assert ask(layer, [[number, number]]).dtype == np.float64

    @pytest.mark.parametrize("rows", [[[1, 2]], np.array([[1, 2]]), np.array([[1, 2]], dtype=np.int32)])
    def test_whole_numbers_stay_such_for_a_table(self, rows):
        assert ask(nn.Embedding(3, 2), rows).shape == (1, 2, 2)

    @pytest.mark.parametrize(
        "inputs",
        [
            [{"x": [1.0, 2.0], "y": 3.0}, {"y": 4.0, "x": [5.0, 6.0]}],
            {"x": [[1.0, 2.0], [5.0, 6.0]], "y": [3.0, 4.0]},
            {"y": np.array([3.0, 4.0]), "x": np.array([[1.0, 2.0], [5.0, 6.0]])},
        ],
        ids=["records", "lists", "arrays"],
    )
    def test_several_inputs_go_by_name_and_outputs_keep_their_structure(self, inputs):
        total, sums = ask(Named(), inputs)
        assert total.tolist() == [[4, 5], [9, 10]]
        assert sums["sum"].tolist() == [9, 19]

    def test_an_optional_input_may_be_given(self):
        total, _ = ask(Named(), {"x": [[1, 2]], "y": [3], "scale": 10})
        assert total.tolist() == [[40, 50]]

    @pytest.mark.parametrize("model", [OneDict(), Any2()], ids=["a dict", "keywords"])
    def test_a_forward_that_takes_any_names_gets_them(self, model):
        assert ask(model, [{"a": 3, "b": 1}]).tolist() == [2]

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ([[1.0], [1.0, 2.0]], "differ in length"),
            ([["red", "blue"]], "takes numbers"),
            ([[1.0, None]], "takes numbers"),
            ([{"x": 1.0, "y": 1.0}, {"x": 1.0}], "row 1 is no record with the keys"),
            ([{"x": 1.0, "y": 1.0}, [1.0, 2.0]], "row 1 is no record with the keys"),
            ({"x": [1.0], "z": [1.0]}, r"called \['x', 'y', 'scale'\]"),
        ],
    )
    def test_what_cannot_be_a_batch_is_refused_in_words(self, inputs, message):
        with pytest.raises(ValueError, match=message):
            ask(Named(), inputs)

    def test_a_row_without_its_list_is_refused(self):
        with pytest.raises(ValueError, match="list of rows"):
            ask(nn.Linear(2, 2), [1.0, 2.0])

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_comes_in_as_such_and_goes_out_as_an_array(self, dtype, tmp_path):
        model = nn.Linear(2, 1).to(dtype)
        answer = copy_of(model, tmp_path).predict({"inputs": [[1.0, 2.0]]})["predictions"]
        assert answer.dtype == (np.float16 if dtype == torch.float16 else np.float32)
        assert answer.tolist() == model(torch.tensor([[1.0, 2.0]], dtype=dtype)).tolist()


class TestMode:
    def test_dropout_and_batch_statistics_are_off_and_the_live_module_is_left_in_training(self, tmp_path):
        model = nn.Sequential(nn.Linear(3, 50), nn.BatchNorm1d(50), nn.Dropout(0.5))
        model[1].eval()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        rows = torch.rand(8, 3).tolist()
        live, copied = ask(model, rows), copy_of(model, tmp_path).predict({"inputs": rows})["predictions"]
        assert np.allclose(live, copied)
        assert [part.training for part in model.modules()] == [True, True, False, True]
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(part.training for part in copy_of(model, fresh(tmp_path)).model.modules())

    def test_answers_carry_no_gradients(self, tmp_path):
        copy = copy_of(nn.Linear(2, 2), tmp_path)
        seen = []
        copy.model.register_forward_hook(lambda *_: seen.append(torch.is_inference_mode_enabled()))
        copy.predict({"inputs": [[1.0, 2.0]]})
        assert seen == [True]


def fresh(folder: Path) -> Path:
    path = folder / "again"
    path.mkdir()
    return path


class TestWrappers:
    def test_a_compiled_module_is_served_as_it_was_before(self, tmp_path):
        layer = nn.Linear(2, 2)
        saved = save(torch.compile(layer), tmp_path)
        assert saved.model_type == "Linear"
        assert any("torch.compile" in note for note in saved.notes)
        assert torch.equal(load(saved, tmp_path).model.weight, layer.weight)

    def test_a_module_for_several_devices_is_taken_out(self, tmp_path):
        assert save(nn.DataParallel(nn.Linear(2, 2)), tmp_path).model_type == "Linear"


class TestJoining:
    @pytest.mark.parametrize(
        "model",
        [
            nn.Linear(3, 2),
            nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())),
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(dim=-1)),
            nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 1)),
        ],
        ids=["linear", "dense", "image", "table"],
    )
    def test_chains_of_layers_that_see_one_row_are_joined(self, model, tmp_path):
        assert save(model, tmp_path).batching == "rows"

    @pytest.mark.parametrize(
        ("model", "reason"),
        [
            (Named(), "Named is code of"),
            (nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=0)), "Softmax may look"),
            (nn.Sequential(nn.Linear(2, 2), nn.Flatten(0)), "Flatten may look"),
            (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)), "BatchNorm1d may"),
            (nn.LSTM(2, 2), "LSTM may look"),
            (nn.Sequential(nn.ReLU()), "not known whether"),
            (nn.Sequential(nn.Linear(2, 2), nn.Linear(3, 3)), "not possible"),
        ],
        ids=["own code", "softmax", "flatten", "batch statistics", "sequence", "any shape", "broken"],
    )
    def test_all_else_is_not_and_the_note_says_why(self, model, reason, tmp_path):
        saved = save(model, tmp_path)
        assert saved.batching == "none"
        assert any(reason in note for note in saved.notes), saved.notes

    def test_a_hook_may_do_anything(self, tmp_path):
        model = nn.Linear(2, 2)
        model.register_forward_hook(centred)
        assert save(model, tmp_path).batching == "none"
        assert np.allclose(ask(model, [[1, 2], [3, 4]]).mean(axis=0), 0, atol=1e-6)


def centred(_module: nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor:
    return output - output.mean(dim=0)


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2))
        self.inner.guard = threading.Lock()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class TestErrors:
    def test_a_part_that_cannot_be_pickled_is_named(self, tmp_path):
        with pytest.raises(PackagingError) as caught:
            save(Holder(), tmp_path)
        for part in ("this Holder", "'inner'", "'guard'", "_thread.lock"):
            assert part in str(caught.value)

    @pytest.mark.parametrize("package", ["safetensors.torch", "cloudpickle"])
    def test_a_missing_package_is_named_with_its_extra(self, package, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=r"truss\["):
            save(nn.Linear(2, 2), tmp_path)

    def test_code_by_value_is_tied_to_the_version_of_python(self, tmp_path):
        session: dict[str, Any] = {"__name__": "__main__"}
        exec(DEFINITION, session)
        saved = save(session["Net"](), tmp_path)
        assert any("bytecode" in note for note in saved.notes)
        assert "cloudpickle" in saved.requirements
        namespace: dict[str, Any] = {"__name__": "model"}
        exec(saved.model_class, namespace)
        metadata = {**saved.model_metadata, "code_python_version": "3.99"}
        model = namespace["Model"](data_dir=tmp_path, config={"model_metadata": metadata})
        with pytest.raises(RuntimeError, match=r"Python 3\.99"):
            model.load()


class TestDetection:
    def test_a_model_of_transformers_is_left_to_its_own_framework(self):
        import transformers

        config = transformers.BertConfig(
            hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, vocab_size=5
        )
        assert framework_for(transformers.BertModel(config)).name == "transformers"
        assert framework_for(nn.Linear(1, 1)).name == "torch"


class TestPrograms:
    def export(self, model: nn.Module, *args: Any, dynamic: Any = None, **kwargs: Any) -> Any:
        return torch.export.export(model, args, kwargs, dynamic_shapes=dynamic)

    def test_rows_are_joined_where_their_number_is_open(self, tmp_path):
        rows = torch.export.Dim("rows")
        program = self.export(nn.Linear(3, 2).eval(), torch.zeros(2, 3), dynamic=({0: rows},))
        assert save(program, tmp_path).batching == "rows"

    def test_rows_are_not_joined_where_their_number_is_fixed(self, tmp_path):
        saved = save(self.export(nn.Linear(3, 2).eval(), torch.zeros(2, 3)), tmp_path)
        assert saved.batching == "none"
        assert any("any number of rows" in note for note in saved.notes)
        copy = load(saved, tmp_path)
        with pytest.raises(ValueError, match=r"has the shape \(2, 3\); the request's is \(1, 3\)"):
            copy.predict({"inputs": [[1, 2, 3]]})

    def test_rows_that_depend_on_each_other_are_not_joined(self, tmp_path):
        rows = torch.export.Dim("rows", min=2)
        program = self.export(nn.Softmax(dim=0), torch.zeros(3, 3), dynamic=({0: rows},))
        saved = save(program, tmp_path)
        assert saved.batching == "none"
        assert saved.notes

    def test_values_fixed_at_the_export_are_given_again(self):
        program = self.export(Scaled(), torch.ones(1, 2), factor=3, shift=torch.ones(1))
        assert ask(program, {"x": [[1, 2]], "shift": [10]}).tolist() == [[13, 16]]

    def test_a_dict_of_inputs_is_put_together_in_its_order(self):
        program = self.export(OneDict(), {"b": torch.ones(1), "a": torch.ones(1)})
        assert ask(program, [{"a": 3, "b": 1}]).tolist() == [2]

    def test_training_mode_stays_and_is_told(self, tmp_path):
        program = self.export(nn.Sequential(nn.Linear(3, 2), nn.Dropout()), torch.zeros(2, 3))
        assert any("training mode" in note for note in save(program, tmp_path).notes)

    def test_whole_numbers_are_asked_for(self):
        program = self.export(nn.Embedding(4, 2), torch.zeros(1, 2, dtype=torch.int64))
        assert ask(program, [[1.0, 2.0]]).shape == (1, 2, 2)
        with pytest.raises(ValueError, match="whole numbers"):
            ask(program, [[1.5, 2.0]])


class Scaled(nn.Module):
    def forward(self, x: torch.Tensor, factor: int, shift: torch.Tensor) -> torch.Tensor:
        return x * factor + shift


def test_a_script_without_forward_is_refused(tmp_path):
    with pytest.raises(PackagingError, match="no `forward`"):
        save(torch.jit.script(nn.Module()), tmp_path)


def test_arrays_come_in_and_go_out_over_http(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    handle = truss.create(model, tmp_path / "truss", examples={"inputs": [[1, 2, 3]]})
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    marked = {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [2, 3], b"data": rows.tobytes()}
    with running_server(handle.truss_dir) as server:
        binary = server.request("POST", "/v1/models/model:predict_binary", msgpack.packb({"inputs": marked}))
        plain = server.predict({"inputs": rows.tolist()})
    answer = msgpack.unpackb(binary.body, raw=True)[b"predictions"]
    assert (answer[b"type"], answer[b"shape"]) == (b"<f4", [2, 2])
    expected = model(torch.from_numpy(rows)).detach().numpy()
    assert np.allclose(np.frombuffer(answer[b"data"], "<f4").reshape(2, 2), expected, atol=1e-6)
    assert np.allclose(plain.json()["predictions"], expected, atol=1e-6)


class TestRequestsThatDoNotFit:
    """The server's answer to them: 400, with the place."""

    def refused(self, model: Any, inputs: Any, folder: Path) -> InvalidInputError:
        with pytest.raises(InvalidInputError) as raised:
            truss.create(model, folder).predict({"inputs": inputs})
        return raised.value

    def test_the_first_layer_says_how_many_values_a_row_has(self, tmp_path):
        error = self.refused(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), [[1, 2]], tmp_path / "truss")
        assert (error.where, "2 values along axis 1; the model takes 3" in error.message) == (
            "inputs[0]",
            True,
        )

    def test_what_comes_before_a_known_layer_may_give_rows_another_shape(self, tmp_path):
        saved = save(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), tmp_path)
        assert not saved.signature

    def test_an_exported_program_says_it_of_each_input(self, tmp_path):
        program = torch.export.export(Pair(), (torch.zeros(2, 3), torch.zeros(2, 1)))
        error = self.refused(program, [{"a": [1, 2, 3], "b": [1, 2]}] * 2, tmp_path / "truss")
        assert error.where == "inputs[0]['b']"
        assert "2 values along axis 1; the model takes 1" in error.message


class Pair(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a * b


def test_several_inputs_are_served_as_records_and_as_a_list_for_each(tmp_path):
    example = {"inputs": {"a": [[1.0, 2.0]], "b": [[3.0]]}}
    handle = truss.create(Pair(), tmp_path / "truss", examples=[example])
    with running_server(handle.truss_dir) as server:
        answers = [
            server.predict(request).json() for request in (example, {"inputs": [{"b": [3], "a": [1, 2]}]})
        ]
    assert answers == [{"predictions": [[3.0, 6.0]]}] * 2
