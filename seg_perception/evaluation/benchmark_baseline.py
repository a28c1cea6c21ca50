"""The same network as a plain node gets it: normalised floats in, logits of every pixel out."""

from __future__ import annotations

from pathlib import Path

from seg_perception.core.errors import DataError
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.decision import logits_of

FLOAT_VARIANT = "fp32"
_NORMALISATION = {"Add", "Cast", "Div", "Gather", "Mul", "Sub", "Transpose"}  # Gather: RGB to BGR


def write_logits_model(bundle: Bundle, path: Path) -> None:
    """Cut a bundle's float graph behind its normalisation and before its decision; write it as ONNX.

    The logits are enlarged to the input's size by the network, as torchvision's models do. Raises DataError.
    """
    try:
        import onnx
        from onnx import helper, utils
    except ImportError as error:
        raise DataError("the baseline needs the Python package onnx; install it with: pip install onnx") from error
    variant = bundle.variants.get(FLOAT_VARIANT)
    if variant is None:
        raise DataError(f"{bundle.root}: no variant {FLOAT_VARIANT}, which the baseline needs")
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(bundle.read_model(variant)))
    source, logits = _after_normalisation(model.graph), _before_decision(model.graph)
    extracted = utils.Extractor(model).extract_model([source], [logits])
    height, width = bundle.manifest.input.height, bundle.manifest.input.width
    shape = [dim.dim_value for dim in extracted.graph.output[0].type.tensor_type.shape.dim]
    sizes = helper.make_tensor("full_size", onnx.TensorProto.INT64, [4], [1, shape[1], height, width])
    extracted.graph.initializer.append(sizes)
    extracted.graph.node.append(
        helper.make_node("Resize", [logits, "", "", "full_size"], ["logits"], name="enlarge", mode="linear")
    )
    full = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, shape[1], height, width])
    extracted.graph.output[0].CopyFrom(full)
    onnx.save(extracted, str(path))


def _after_normalisation(graph) -> str:  # type: ignore[no-untyped-def]
    """Name of the tensor that leaves the chain of cheap operations behind the input image."""
    name = graph.input[0].name
    while True:
        consumers = [node for node in graph.node if name in node.input]
        if len(consumers) != 1 or consumers[0].op_type not in _NORMALISATION:
            return str(name)
        name = consumers[0].output[0]


def _before_decision(graph) -> str:  # type: ignore[no-untyped-def]
    name = logits_of(graph)
    if name is None:
        raise DataError("the graph does not decide by logits; the baseline can only be derived from one that does")
    return name
