"""Read a graph's operations: which draw at random, keep state, or reach files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

RANDOM = frozenset(
    {
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "TruncatedNormal",
        "ParameterizedTruncatedNormal",
    }
    | {
        "RandomShuffle",
        "RandomGammaV2",
        "RandomPoissonV2",
        "Multinomial",
        "RngReadAndSkip",
        "StatefulRandomBinomial",
    }
)
"""Operations that draw at random."""

ASSIGNMENTS = frozenset(
    {
        "AssignVariableOp",
        "AssignAddVariableOp",
        "AssignSubVariableOp",
        "ResourceScatterUpdate",
        "ResourceScatterAdd",
    }
    | {"LookupTableInsertV2", "LookupTableRemoveV2"}
)
"""Operations that change what the next answer is computed from."""

REACHING_OUT = frozenset(
    {"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"}
)
"""Operations that read or write files that the graph names, or run Python."""


def operations(function: Any) -> frozenset[str]:
    """The operations of a concrete function and of the functions that it calls."""
    return _of_graph(function.graph.as_graph_def())


def operations_in(folder: Path) -> frozenset[str]:
    """The operations of every graph in a SavedModel's folder, which is not loaded for it."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    return frozenset().union(*(_of_graph(graph.graph_def) for graph in saved.meta_graphs))


def _of_graph(graph: Any) -> frozenset[str]:
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return frozenset(node.op for node in nodes)
