"""Find the function of a model that is to be served, and bring it into the form of a signature.

A signature takes tensors by name and gives tensors by name. A function of the user's takes and gives what it
likes; so it is traced once more, as one that does.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.pickles import reason_of
from truss.frameworks.tensorflow.given import Given, kind_of

SIGNATURE = "serving_default"
"""What the signature is called in the SavedModels that are written here, and in most others."""

_EXAMPLE = (
    "give an example of its input, `truss.create((model, example))`, or decorate it with "
    "`@tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])`"
)


@dataclass(frozen=True)
class Serving:
    """What is served of a model.

    Attributes:
        root: What is saved: it holds the function's variables and files.
        function: Takes tensors by name, and gives a dict of tensors.
        key: The name of the signature.
    """

    root: Any
    function: Any
    key: str = SIGNATURE


def serving(given: Given) -> Serving:
    """The function to serve, as a signature.

    Raises:
        PackagingError: there is none, there are several and none was chosen, its input is not known, or it
            takes or gives what a signature cannot hold.
    """
    if given.kind == "folder":
        key = _signature_key(given.model.loaded.signatures, given.choice)
        return Serving(given.model.loaded, given.model.loaded.signatures[key], key)
    signatures = _signatures(given.model) if given.example is None else {}
    if signatures and (given.choice is None or given.choice in signatures):
        return Serving(given.model, signatures[_signature_key(signatures, given.choice)])
    function = given.model if given.kind != "object" else _chosen(given.model, given.choice)
    concrete = _concrete(function, given.example)
    root = given.model if given.kind == "object" else _holder(concrete)
    return Serving(root, _as_signature(concrete))


def _signatures(model: Any) -> Mapping[str, Any]:
    found = getattr(model, "signatures", None)
    return found if isinstance(found, Mapping) else {}


def _signature_key(signatures: Mapping[str, Any], choice: str | None) -> str:
    names = sorted(signatures)
    if choice in signatures:
        return str(choice)
    if choice is None and SIGNATURE in signatures:
        return SIGNATURE
    if choice is None and len(names) == 1:
        return names[0]
    if not names:
        raise PackagingError(
            "this SavedModel has no signature, so it does not say what it takes",
            hint="load it, and give its function with an example: `truss.create((loaded.function, example))`",
        )
    said = f"no signature '{choice}'" if choice else f"no signature '{SIGNATURE}', and several others"
    raise PackagingError(
        f"this SavedModel has {said}",
        hint=f"its signatures are {', '.join(names)}; choose one: `truss.create((loaded, {names[0]!r}))`",
    )


def _chosen(model: Any, choice: str | None) -> Any:
    functions = dict(_functions(model))
    if choice is not None and choice in functions:
        return functions[choice]
    if choice is None and "__call__" in functions:
        return functions["__call__"]
    if choice is None and len(functions) == 1:
        return next(iter(functions.values()))
    name = type(model).__name__
    if not functions:
        raise PackagingError(
            f"this {name} has no function of TensorFlow, which is what is saved of it",
            hint="decorate the method to serve with `@tf.function`",
        )
    said = f"no function '{choice}'" if choice else "several functions"
    raise PackagingError(
        f"this {name} has {said}",
        hint=f"its functions are {', '.join(functions)}; "
        f"choose one: `truss.create(model.{next(iter(functions))})`",
    )


def _functions(model: Any) -> Iterator[tuple[str, Any]]:
    """The functions of TensorFlow among the attributes, by name; properties are not run for it."""
    for name in sorted({*dir(type(model)), *vars(model)}):
        if kind_of(inspect.getattr_static(model, name, None)) in ("function", "concrete"):
            yield name, getattr(model, name)


def _concrete(function: Any, example: Any) -> Any:
    """The function for one kind of input."""
    if kind_of(function) == "concrete":
        return function
    try:
        if example is not None:
            args, kwargs = _arguments(function, example)
            return function.get_concrete_function(*args, **kwargs)
        if function.input_signature is not None:
            return function.get_concrete_function()
    except Exception as error:
        raise PackagingError(
            f"this function cannot be traced for its input: {reason_of(error)}",
            hint="see that it takes any number of rows, `tf.TensorSpec([None, ...])`, of this type",
        ) from error
    known: list[Any] = getattr(function, "concrete_functions", [])  # those of a SavedModel that was loaded
    if len(known) != 1:
        raise PackagingError("the input of this function is not known", hint=_EXAMPLE)
    return known[0]


def _arguments(function: Any, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example as arguments: a tuple holds several; a dict too, where its keys are the parameters."""
    if isinstance(example, tuple):
        return tuple(map(_spec, example)), {}
    if isinstance(example, Mapping):
        specs = {str(name): _spec(value) for name, value in example.items()}
        parameters = inspect.signature(function.python_function).parameters
        return ((), specs) if set(specs) <= set(parameters) else ((specs,), {})
    return (_spec(example),), {}


def _spec(value: Any) -> Any:
    """The type and shape of an array, with any number of rows."""
    import tensorflow as tf

    if isinstance(value, tf.TensorSpec):
        return value
    tensor = tf.convert_to_tensor(value)
    shape = tensor.shape.as_list()
    return tf.TensorSpec([None, *shape[1:]] if shape else [], tensor.dtype)


def _as_signature(concrete: Any) -> Any:
    """A function that takes tensors by name, and gives a dict of tensors."""
    import tensorflow as tf

    structure = concrete.structured_input_signature
    leaves = tf.nest.flatten(structure)
    names = _names(leaves)
    composite = [
        leaf for leaf in leaves if isinstance(leaf, tf.TypeSpec) and not isinstance(leaf, tf.TensorSpec)
    ]
    if composite or not names:
        raise PackagingError(
            f"this function takes {'a ' + type(composite[0]).__name__ if composite else 'no tensor'}, "
            "and a request gives tensors",
            hint="write a function that takes tensors, and makes of them what the model needs",
        )

    def signature(**inputs: Any) -> dict[str, Any]:
        values = [inputs[names[place]] if place in names else leaf for place, leaf in enumerate(leaves)]
        args, kwargs = tf.nest.pack_sequence_as(structure, values)
        return dict(_named(concrete(*args, **kwargs)))

    specs = {
        name: tf.TensorSpec(leaves[place].shape, leaves[place].dtype, name=name)
        for place, name in names.items()
    }
    return tf.function(signature, autograph=False).get_concrete_function(**specs)


def _names(leaves: list[Any]) -> dict[int, str]:
    """The name of each tensor among the arguments, by its place."""
    import tensorflow as tf

    names: dict[int, str] = {}
    for place, leaf in enumerate(leaves):
        if isinstance(leaf, tf.TensorSpec):
            name = leaf.name or f"input_{place}"
            names[place] = name if name not in names.values() else f"{name}_{place}"
    return names


def _named(outputs: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors among the outputs; the name says where: `output_0`, `scores`, `scores_1`."""
    import tensorflow as tf

    if outputs is None:
        return
    if hasattr(outputs, "_asdict"):
        outputs = outputs._asdict()
    if isinstance(outputs, Mapping):
        for key, value in outputs.items():
            yield from _named(value, f"{name}_{key}" if name else str(key))
    elif isinstance(outputs, (list, tuple)):
        for place, value in enumerate(outputs):
            yield from _named(value, f"{name or 'output'}_{place}")
    elif isinstance(outputs, (tf.RaggedTensor, tf.SparseTensor)):
        raise PackagingError(
            f"this function gives a {type(outputs).__name__}, which has no rows of one length",
            hint="give a tensor: `.to_tensor()` of a ragged one, `tf.sparse.to_dense` of a sparse one",
        )
    else:
        yield name or "output_0", tf.convert_to_tensor(outputs)


def _holder(concrete: Any) -> Any:
    """Something to save a function with, and the variables that it uses."""
    import tensorflow as tf

    holder = tf.Module()
    holder.function = concrete
    try:
        holder.used = list(concrete.variables)
    except AssertionError as error:  # TensorFlow's own word for it
        raise PackagingError(
            "this function uses variables that are gone: it holds none of them alive itself",
            hint="keep the object that they belong to, or the function that `@tf.function` gave",
        ) from error
    return holder
