"""The table of frameworks, and the search for the one that packages an object.

A built-in framework is one line of `BUILT_IN`. Others come from installed packages, through the entry
point group `truss.frameworks`; the environment variable `TRUSS_PLUGINS` limits which of those are
used (`none`, or names separated by commas; all of them when it is unset).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint
from types import MappingProxyType

from truss.errors import UnsupportedObjectError
from truss.frameworks.advice import advice_for
from truss.frameworks.base import Framework
from truss.plugins import plugins

ENTRY_POINT_GROUP = "truss.frameworks"
"""Where an installed package declares its adapter class: `name = "package.module:Class"`."""

GUIDE = "docs/guides/writing-a-framework.md"

BUILT_IN = MappingProxyType(
    {
        # Before scikit-learn: their models are its estimators too.
        "xgboost": "truss.frameworks.xgboost.adapter:XgboostFramework",
        "lightgbm": "truss.frameworks.lightgbm.adapter:LightgbmFramework",
        "catboost": "truss.frameworks.catboost.adapter:CatboostFramework",
        "sklearn": "truss.frameworks.sklearn.adapter:SklearnFramework",
        "keras": "truss.frameworks.keras.adapter:KerasFramework",
        # After Keras, whose models on TensorFlow have its own packaging.
        "tensorflow": "truss.frameworks.tensorflow.adapter:TensorflowFramework",
        "onnx": "truss.frameworks.onnx.adapter:OnnxFramework",
        "statsmodels": "truss.frameworks.statsmodels.adapter:StatsmodelsFramework",
        "mlflow": "truss.frameworks.mlflow.adapter:MlflowFramework",
        # Before PyTorch: their models are its modules too.
        "sentence_transformers": (
            "truss.frameworks.sentence_transformers.adapter:SentenceTransformersFramework"
        ),
        "diffusers": "truss.frameworks.diffusers.adapter:DiffusersFramework",
        "transformers": "truss.frameworks.transformers.adapter:TransformersFramework",
        "spacy": "truss.frameworks.spacy.adapter:SpacyFramework",
        "jax": "truss.frameworks.jax.adapter:JaxFramework",
        "torch": "truss.frameworks.torch.adapter:TorchFramework",
        # Last: a model of any other framework may be callable too.
        "callable": "truss.frameworks.callable.adapter:CallableFramework",
    }
)
"""The frameworks that come with Truss, by name, in the order in which they are asked."""


def frameworks() -> tuple[Framework, ...]:
    """Every framework, in the order in which they are asked whether they recognise an object.

    Adapters of installed packages come first: whoever installs an adapter for a library wants it used,
    also for objects that a built-in one would take for something more general (many libraries'
    models are scikit-learn estimators, or callable, as well).
    """
    return tuple(_in_order())


def framework_for(model: object) -> Framework:
    """The framework that packages `model`.

    Raises:
        UnsupportedObjectError: none recognises it; the hint names what would be recognised.
    """
    asked = []
    for framework in _in_order():
        if framework.recognises(model):
            return framework
        asked.append(framework)
    raise _unsupported(model, asked)


def _in_order() -> Iterator[Framework]:
    """Adapters one by one, so that those after the one that fits are never imported."""
    yield from (adapter for _, adapter in plugins(ENTRY_POINT_GROUP, "framework", BUILT_IN))
    for name, target in BUILT_IN.items():
        yield _built_in(name, target)


@cache
def _built_in(name: str, target: str) -> Framework:
    adapter: Framework = EntryPoint(name, target, ENTRY_POINT_GROUP).load()()
    return adapter


def _unsupported(model: object, asked: list[Framework]) -> UnsupportedObjectError:
    kind = type(model)
    lines = [advice_for(model), "recognised are:"]
    lines += [f"  {framework.name}: {framework.summary}" for framework in asked]
    lines += [f"an adapter for another library is one short class: {GUIDE}"]
    return UnsupportedObjectError(
        f"no framework recognises this object, of type {kind.__module__}.{kind.__qualname__}",
        hint="\n".join(lines),
    )
