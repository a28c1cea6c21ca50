"""What a network costs to compute, by its graph alone."""

from __future__ import annotations

import math
from typing import Any

from seg_perception.core.errors import DataError


def multiplications(model: bytes) -> int:
    """Multiply-accumulates of all convolutions and matrix products of an ONNX graph with fixed shapes.

    One is two floating-point operations. Raises DataError where shapes cannot be inferred.
    """
    try:
        import onnx
    except ImportError as error:
        raise DataError("counting needs the Python package onnx; install it with: pip install onnx") from error
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model), data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for port in (*graph.input, *graph.output, *graph.value_info):
        shapes[port.name] = tuple(dim.dim_value for dim in port.type.tensor_type.shape.dim)
    return sum(_of_node(node, shapes) for node in graph.node)


def _of_node(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return 0
    first, second, result = (_shape(name, shapes) for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":  # weight (out, in / groups, kh, kw)
        return math.prod(result) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":  # weight (in, out / groups, kh, kw)
        return math.prod(first) * math.prod(second[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(result) * (first[0] if transposed else first[-1])


def _shape(name: str, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    shape = shapes.get(name, ())
    if not shape or 0 in shape:
        raise DataError(f"the shape of {name} in the graph is not fixed; its multiplications cannot be counted")
    return shape
