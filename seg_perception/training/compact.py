"""The same graph in a smaller file: what a light network's weights do not need around them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import AttributeProto, numpy_helper

from seg_perception.models.deploy import INVERSE_TEMPERATURE


def compact(model: bytes) -> bytes:
    """Without zero points that are zero, noted shapes and names of nodes; tensors are named by a few letters.

    A quantized layer has a dozen tensors, each named after the path of its weights: in the graph of a light network
    that is a tenth of the file. Inputs, outputs and INVERSE_TEMPERATURE keep their names; so does every tensor of a
    graph with control flow, whose inner graphs see the names of the outer one.
    """
    graph_model = onnx.load_from_string(model)
    graph = graph_model.graph
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for node in graph.node for a in node.attribute):
        return model
    _drop_zero_points(graph)
    del graph.value_info[:]
    kept = {value.name for value in (*graph.input, *graph.output)} | {INVERSE_TEMPERATURE, ""}
    names = _short_names(graph, kept)
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.name = ""
        for tensors in (node.input, node.output):
            tensors[:] = [names[name] for name in tensors]
    content: bytes = graph_model.SerializeToString()
    return content


def _drop_zero_points(graph: onnx.GraphProto) -> None:
    """Of a convolution's weights and biases, which are signed and around zero: what the operator takes without one.

    Not of a matrix product's: ONNX Runtime's QGemm refuses to do without.
    """
    zero = {tensor.name for tensor in graph.initializer if not np.any(numpy_helper.to_array(tensor))}
    convolved = {name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] in convolved and set(node.input[2:]) <= zero:
            del node.input[2:]
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    unused = [tensor for tensor in graph.initializer if tensor.name not in used]
    for tensor in unused:
        graph.initializer.remove(tensor)


def _short_names(graph: onnx.GraphProto, kept: set[str]) -> dict[str, str]:
    """Old → new name of every tensor."""
    numbers = (f"{number:x}" for number in range(1 << 62))
    free: Iterator[str] = (name for name in numbers if name not in kept)
    tensors = [tensor.name for tensor in graph.initializer]
    tensors += [name for node in graph.node for name in (*node.input, *node.output)]
    return {name: name if name in kept else next(free) for name in dict.fromkeys(tensors)}
