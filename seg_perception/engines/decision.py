"""Where in a bundle's graph the classes are decided."""

from __future__ import annotations

from typing import Any


def logits_of(graph: Any) -> str | None:
    """Name of the logits (1, C, h, w) in an onnx.GraphProto, or None where they cannot be told.

    They are what is compared with its own maximum, flattened or not; or, in bundles that decided so, what ArgMax is
    taken of.
    """
    maxima = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ReduceMax"}
    found = [node.input[0] for node in graph.node if node.op_type == "ArgMax"]
    found += [node.input[0] for node in graph.node if node.op_type == "Equal" and _is_maximum(node, maxima)]
    return _before_flattening(graph, found[0]) if len(found) == 1 else None


def _is_maximum(comparison: Any, maxima: dict[str, str]) -> bool:
    compared, top = comparison.input
    return maxima.get(top) == compared


def _before_flattening(graph: Any, name: str) -> str:
    """The tensor that became (1, C, h * w) under this name, or the name itself."""
    ranks = {tensor.name: tensor.dims[0] for tensor in graph.initializer if len(tensor.dims) == 1}
    for node in graph.node:
        if node.op_type == "Reshape" and node.output[0] == name and ranks.get(node.input[1]) == 3:
            return str(node.input[0])
    return str(name)
