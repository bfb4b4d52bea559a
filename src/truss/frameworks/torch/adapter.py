"""Package PyTorch modules, exported programs and TorchScript modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.config import Signature
from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.bytecode import by_value_metadata, by_value_note
from truss.frameworks.contents import Contents
from truss.frameworks.signatures import of_row_inputs
from truss.frameworks.torch.detect import Kind, is_compiled, kind_of, unwrapped
from truss.frameworks.torch.files import Written
from truss.frameworks.torch.joining import note_against_joining
from truss.frameworks.torch.opening import is_model_file, read_model
from truss.frameworks.torch.parametrized import is_parametrized
from truss.frameworks.torch.programs import describe_program, row_inputs, takes_rows, trains, write_program
from truss.frameworks.torch.rowwise import first_row_input, shapes_imported_meanwhile
from truss.frameworks.torch.saving import write_module
from truss.frameworks.torch.scripts import describe_script, write_script
from truss.frameworks.torch.signature import describe_module, device_of

_DESCRIBE = {"module": describe_module, "script": describe_script, "program": describe_program}
_WRITE = {"module": write_module, "script": write_script, "program": write_program}


class TorchFramework:
    """The adapter for PyTorch."""

    name = "torch"
    model_framework = "pytorch"
    summary = "PyTorch modules, programs of torch.export, and TorchScript modules"
    files = "TorchScript (.pt), programs of torch.export (.pt2), and whole modules of torch.save if trusted"

    def recognises(self, model: object) -> bool:
        """Whether `model` is a module, an exported program or a TorchScript module (not a class)."""
        return kind_of(model) is not None

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write code and weights to `model/` below `data_dir`.

        Raises:
            PackagingError: a part of it cannot be saved, or its weights have no values yet.
            MissingExtraError: cloudpickle or safetensors is not installed.
        """
        served = unwrapped(model)
        kind = _kind(served)
        metadata = _DESCRIBE[kind](served)
        folder = data_dir / "model"
        folder.mkdir()
        with shapes_imported_meanwhile():
            written = _WRITE[kind](served, folder)
        metadata |= by_value_metadata(written.by_value)
        with _evaluating(kind, served):
            against = note_against_joining(kind, served, _live(kind, served, metadata))
        return Saved(
            model_class=model_class_source(__package__, _model_class(kind)),
            model_type=type(served).__name__,
            model_metadata=metadata,
            requirements=written.requirements,
            pickled_objects=written.references,
            pickle_files=written.pickle_files,
            batching="none" if against else "rows",
            signature=_signature(kind, served),
            notes=tuple(_notes(model, written, against)),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live object answers when it is evaluated, on the device that it is on."""
        served = unwrapped(model)
        kind = _kind(served)
        live = _live(kind, served, _DESCRIBE[kind](served))
        with _evaluating(kind, served):
            return live.postprocess(live.predict(live.preprocess(request)))

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is TorchScript, an exported program, or anything that `torch.save` wrote."""
        return is_model_file(contents)

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:
        """What the file holds, on the CPU.

        Raises:
            UntrustedFileError: it holds more than tensors, so that reading it runs code.
        """
        return read_model(contents, trusted=trusted)


def _kind(model: Any) -> Kind:
    kind = kind_of(model)
    assert kind is not None, "packaging asks about objects that are recognised only"
    return kind


def _signature(kind: Kind, model: Any) -> Signature:
    """What a request's rows look like, as far as the code says it; nothing of a class of one's own."""
    if kind == "program":
        return of_row_inputs(row_inputs(model)) if takes_rows(model) else Signature()
    first = first_row_input(model) if kind == "module" else None
    return Signature() if first is None else of_row_inputs([first])


def _model_class(kind: Kind) -> str:
    return "program_model_class.py" if kind == "program" else "model_class.py"


def _live(kind: Kind, model: Any, metadata: dict[str, Any]) -> Any:
    """The model class around the live object."""
    arguments: dict[str, Any] = {"data_dir": Path(), "config": {"model_metadata": metadata}, "secrets": {}}
    if kind == "program":
        from truss.frameworks.torch.program_model_class import Model as ProgramModel

        program = ProgramModel(**arguments)
        program.device = device_of(model)
        program.use(model)
        return program
    from truss.frameworks.torch.model_class import Model

    module = Model(**arguments)
    module.device = device_of(model)
    module.model = model
    return module


@contextmanager
def _evaluating(kind: Kind, model: Any) -> Iterator[None]:
    """Hold a module in the mode in which it is served, and put each of its parts back afterwards."""
    # A program keeps the mode that it was exported in.
    training = [part for part in model.modules() if part.training] if kind != "program" else []
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _notes(model: Any, written: Written, against_joining: str | None) -> Iterator[str]:
    if written.by_value:
        yield (by_value_note())
    if is_compiled(model):
        yield (
            "the module is served as it was before `torch.compile`; compile it again in the model class's "
            "`load` if its first answers may take the time"
        )
    if kind_of(model) == "module" and is_parametrized(model):
        yield "the weights that `torch.nn.utils.parametrize` computes are saved as plain ones"
    if kind_of(model) == "program" and trains(model):
        yield (
            "the program was exported in training mode, so dropout and batch statistics stay active: "
            "call `module.eval()` before `torch.export.export`"
        )
    if against_joining is not None:
        yield against_joining


if TYPE_CHECKING:
    _fits: OpensFiles = TorchFramework()
