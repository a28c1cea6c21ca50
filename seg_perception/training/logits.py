"""The logits inside a deployed graph: what its decision is made of."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from seg_perception.core.errors import ExportError
from seg_perception.engines.decision import logits_of
from seg_perception.models.deploy import INVERSE_TEMPERATURE


class GraphLogits:
    """Runs a graph on the CPU for the logits that its mask is the largest of."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Raises ExportError when the graph does not decide by logits."""
        graph_model = onnx.load_from_string(model)
        name = logits_of(graph_model.graph)
        if name is None:
            raise ExportError("the graph does not take the largest of its logits, or of several; export it again")
        self._name = name
        graph_model.graph.output.append(helper.make_tensor_value_info(self._name, TensorProto.FLOAT, None))
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        self._session = ort.InferenceSession(
            graph_model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 of the input's size → (C, h, w) of the pixels that are decided for."""
        (logits,) = self._session.run([self._name], {"image": image[np.newaxis]})
        return np.asarray(logits[0], np.float32)


def set_temperature(model: bytes, temperature: float) -> bytes:
    """The same graph with another temperature of its confidence; the mask does not depend on it."""
    graph_model = onnx.load_from_string(model)
    found = [tensor for tensor in graph_model.graph.initializer if tensor.name == INVERSE_TEMPERATURE]
    uses = [node.op_type for node in graph_model.graph.node if INVERSE_TEMPERATURE in node.input]
    if len(found) != 1 or uses != ["Mul"]:
        raise ExportError(f"the graph has no constant {INVERSE_TEMPERATURE} of its own; export it with this version")
    value = np.full(tuple(found[0].dims), 1.0 / temperature, np.float32)
    found[0].CopyFrom(numpy_helper.from_array(value, INVERSE_TEMPERATURE))
    content: bytes = graph_model.SerializeToString()
    return content
