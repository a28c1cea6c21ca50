"""From a trained network to an ONNX graph that provably does the same."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from seg_perception.core.errors import ExportError
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine

OPSET = 18
MIN_AGREEMENT = 0.999
"""Share of pixels on which torch and ONNX must agree; ties in the logits may fall either way."""
HALVE_FROM = 256
"""Weights of at least this many values are stored in half precision."""


def export_onnx(deployed: nn.Module, spec: InputSpec) -> bytes:
    """A graph by the bundle's contract: image uint8 (1, H, W, 3) → mask, confidence uint8 (1, H, W)."""
    image = torch.zeros((1, spec.height, spec.width, 3), dtype=torch.uint8)
    return to_onnx(deployed, image, "image", ["mask", "confidence"])


def to_onnx(network: nn.Module, example: torch.Tensor, source: str, outputs: Sequence[str]) -> bytes:
    """A network of one input, like `example`, as an ONNX graph with these names. Raises ExportError."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own internals
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=[source],
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no program; update torch and onnxscript")
    content: bytes = _without_source_notes(program.model_proto).SerializeToString()
    return content


def _without_source_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the stack traces and paths of this machine that the exporter attaches to every node."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    return model


def require_agreement(shares: Sequence[float], refused: Callable[[str], Exception]) -> None:
    """shares: of each image's pixels, on which two forms of a network agree. Raises `refused` below MIN_AGREEMENT."""
    if min(shares) < MIN_AGREEMENT:
        raise refused(f"on {min(shares):.2%} of the pixels, needed: {MIN_AGREEMENT:.1%}")


def verify(deployed: nn.Module, model: bytes, spec: InputSpec, images: Sequence[NDArray[np.uint8]]) -> None:
    """The graph's masks of the images, (H, W, 3) uint8, are the network's. Raises ExportError."""
    engine = OnnxRuntimeEngine(model, spec, Runtime("cpu"))
    shares = []
    for image in images:
        with torch.inference_mode():
            mask, confidence = deployed(torch.from_numpy(image)[None])
        found = engine.infer(image)
        same = found.mask == mask[0].numpy()
        same &= np.abs(found.confidence.astype(int) - confidence[0].numpy().astype(int)) <= 2
        shares.append(float(same.mean()))
    require_agreement(shares, disagreement)


def disagreement(where: str) -> ExportError:
    """Of the graph that torch has written."""
    return ExportError(
        f"the ONNX graph agrees with the network {where}; an operator is exported wrongly: try another version of torch"
    )


def halve_weights(model: bytes) -> bytes:
    """The same graph with large float32 weights stored as float16 and cast on loading: half the size on disk.

    Everything is still computed in the precision of the runtime; runtimes fold the casts when they load the graph.
    """
    graph_model = onnx.load_from_string(model)
    graph = graph_model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < HALVE_FROM:
            continue
        stored = f"{tensor.name}_half"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], name=f"{stored}_cast", to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    content: bytes = graph_model.SerializeToString()
    return content
