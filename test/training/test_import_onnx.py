"""Networks from elsewhere get the contract's interface and keep saying what they said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="import needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="import needs ONNX Runtime: pip install -r requirements/runtime.txt")

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seg_perception.core.errors import ModelImportError
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine
from seg_perception.training.import_onnx import Network, Preprocessing, read_onnx, verify, wrap

WIDTH, HEIGHT, CLASSES = 40, 24, 3
RED, GREEN, BLUE = range(3)
PLAIN = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def colour_network(
    stride: int = 1,
    *,
    head: str = "logits",
    dims: tuple[Any, ...] = (1, 3, HEIGHT, WIDTH),
    dtype: int = TensorProto.FLOAT,
    opset: int = 18,
    gain: float = 10.0,
    auxiliary: bool = False,
    weights_as_inputs: bool = False,
) -> onnx.ModelProto:
    """Class c where channel c is the strongest, of every stride-th pixel; the tensors have the contract's own names."""
    numpy_type = np.float16 if dtype == TensorProto.FLOAT16 else np.float32
    weights = (gain * np.eye(CLASSES)).reshape(CLASSES, 3, 1, 1).astype(numpy_type)
    last = dims[1] != 3 and dims[3] == 3
    source = "planes" if last else "image"
    nodes = [helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])] if last else []
    nodes.append(helper.make_node("Conv", [source, "weights"], ["features"], strides=[stride, stride]))
    kind = dtype
    if head == "labels":
        nodes.append(helper.make_node("ArgMax", ["features"], ["mask"], axis=1, keepdims=0))
        kind = TensorProto.INT64
    elif head == "label_plane":
        nodes.append(helper.make_node("ArgMax", ["features"], ["ids"], axis=1, keepdims=1))
        nodes.append(helper.make_node("Cast", ["ids"], ["mask"], to=TensorProto.INT32))
        kind = TensorProto.INT32
    elif head == "sigmoid":
        nodes.append(helper.make_node("Sigmoid", ["features"], ["mask"]))
    elif head == "softmax":
        nodes.append(helper.make_node("Softmax", ["features"], ["mask"], axis=1))
    elif last:
        nodes.append(helper.make_node("Transpose", ["features"], ["mask"], perm=[0, 2, 3, 1]))
    else:
        nodes.append(helper.make_node("Identity", ["features"], ["mask"]))
    outputs = [helper.make_tensor_value_info("mask", kind, None)]
    if auxiliary:
        nodes.append(helper.make_node("Relu", ["features"], ["confidence"]))
        outputs.append(helper.make_tensor_value_info("confidence", dtype, None))
    inputs = [helper.make_tensor_value_info("image", dtype, dims)]
    if weights_as_inputs:
        inputs.append(helper.make_tensor_value_info("weights", dtype, weights.shape))
    graph = helper.make_graph(nodes, "colours", inputs, outputs, [numpy_helper.from_array(weights, "weights")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def wrapped_engine(network: Network, preprocessing: Preprocessing = PLAIN, runtime: str = "cpu") -> OnnxRuntimeEngine:
    graph = wrap(network, preprocessing, CLASSES)
    verify(network, graph, preprocessing, CLASSES, [IMAGE])
    return OnnxRuntimeEngine(graph, InputSpec(network.width, network.height), Runtime(runtime))


def strongest() -> np.ndarray:
    """What the network says about IMAGE, by itself: RGB, the first of equals."""
    return np.argmax(IMAGE[..., ::-1], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dims": (1, HEIGHT, WIDTH, 3)},
        {"opset": 11},
        {"opset": 13},
        {"weights_as_inputs": True},
        {"head": "labels"},
        {"head": "label_plane"},
    ],
    ids=str,
)
def test_masks_are_those_of_the_network(options: dict[str, Any]) -> None:
    result = wrapped_engine(Network(colour_network(**options), None)).infer(IMAGE)
    np.testing.assert_array_equal(result.mask, strongest())


def test_float16_networks_get_float16() -> None:
    network = Network(colour_network(dtype=TensorProto.FLOAT16), None)
    assert np.mean(wrapped_engine(network).infer(IMAGE).mask == strongest()) > 0.99


def test_channels_of_bgr_networks_are_not_swapped() -> None:
    preprocessing = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bgr")
    result = wrapped_engine(Network(colour_network(), None), preprocessing).infer(IMAGE)
    np.testing.assert_array_equal(result.mask, np.argmax(IMAGE, axis=2))


def test_normalisation_comes_before_the_network() -> None:
    dim_red = Preprocessing((0.0, 0.0, 0.0), (1e6, 1.0, 1.0))
    assert RED not in wrapped_engine(Network(colour_network(), None), dim_red).infer(np.maximum(IMAGE, 1)).mask
    without_green = Preprocessing((0.0, 1.0, 0.0), (1.0, 1.0, 1.0))
    dark = np.minimum(IMAGE, 200)
    dark[..., 0] = 1
    assert GREEN not in wrapped_engine(Network(colour_network(), None), without_green).infer(dark).mask


def test_confidence_is_the_softmax_of_the_winner() -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 2] = 51  # red, 0.2 of 1
    confidence = wrapped_engine(Network(colour_network(gain=5.0), None)).infer(image).confidence
    assert np.unique(confidence).tolist() == [round(255 * np.e / (np.e + 2))]


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_confidence_of_a_network_that_ends_in_softmax_is_its_own_probability(dtype: int) -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 2] = 51
    result, sure = (
        wrapped_engine(Network(colour_network(gain=gain, head="softmax", dtype=dtype), None)).infer(image)
        for gain in (5.0, 40.0)
    )
    assert np.unique(result.mask).tolist() == [RED]
    np.testing.assert_allclose(result.confidence, 255 * np.e / (np.e + 2), atol=1.0)
    np.testing.assert_allclose(sure.confidence, 255 * np.e**8 / (np.e**8 + 2), atol=1.0)


@settings(max_examples=15)
@given(
    stride=st.integers(1, 9),
    head=st.sampled_from(["logits", "softmax", "labels", "label_plane"]),
    seed=st.integers(0, 99),
)
def test_coarse_outputs_are_enlarged_as_the_original_would_be(stride: int, head: str, seed: int) -> None:
    network = Network(colour_network(stride, head=head), None)
    images = [np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)]
    # Between whole numbers, channels may be equally strong, and rounding would choose.
    uneven = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0137, 1.0291))
    graph = wrap(network, uneven, CLASSES)
    verify(network, graph, uneven, CLASSES, images)


def test_labels_are_sure_and_those_of_no_class_unlabelled() -> None:
    network = Network(colour_network(head="labels"), None)
    graph = wrap(network, PLAIN, 2)
    result = OnnxRuntimeEngine(graph, InputSpec(WIDTH, HEIGHT), Runtime("cpu")).infer(IMAGE)
    foreign = strongest() == BLUE
    assert (result.mask[foreign] == 255).all() and (result.confidence[foreign] == 0).all()
    assert (result.mask[~foreign] == strongest()[~foreign]).all() and (result.confidence[~foreign] == 255).all()


def test_open_dimensions_are_fixed() -> None:
    network = Network(colour_network(2, dims=("n", 3, "h", "w")), (WIDTH, HEIGHT))
    assert wrapped_engine(network).infer(IMAGE).mask.shape == (HEIGHT, WIDTH)


def test_one_of_several_outputs_is_chosen_and_the_others_cost_nothing() -> None:
    model = colour_network(auxiliary=True)
    with pytest.raises(ModelImportError, match=r"several outputs \(mask, confidence\); choose one with --output"):
        Network(model, None)
    network = Network(model, None, "mask")
    assert "Relu" not in {node.op_type for node in onnx.load_from_string(wrap(network, PLAIN, 3)).graph.node}
    np.testing.assert_array_equal(wrapped_engine(network).infer(IMAGE).mask, strongest())


def test_graph_of_another_network_is_refused() -> None:
    other = wrap(Network(colour_network(gain=-10.0), None), PLAIN, CLASSES)
    with pytest.raises(ModelImportError, match=r"agrees with it on \d+.\d+% of the pixels"):
        verify(Network(colour_network(), None), other, PLAIN, CLASSES, [IMAGE])


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        ({"dims": (1, 3, "h", "w")}, None, "leaves the size open; give --size"),
        ({}, (64, 64), "its input is 40x24, fixed; --size is 64x64"),
        ({"dims": (1, 3, HEIGHT)}, None, "expected one image"),
    ],
)
def test_what_cannot_be_wrapped_is_told(options: dict[str, Any], size: Any, message: str) -> None:
    with pytest.raises(ModelImportError, match=f"^theirs.onnx: .*{message}"):
        Network(colour_network(**options), size, name="theirs.onnx")


def test_opset_too_old_to_be_converted_is_told() -> None:
    model = colour_network(opset=5)
    model.graph.node[-1].op_type = "ImageScaler"  # was taken out of ONNX later
    with pytest.raises(ModelImportError, match="^old.onnx: opset 5 is too old and cannot be converted .*with opset 18"):
        Network(model, None, name="old.onnx")


def test_wrong_number_of_classes_is_told() -> None:
    with pytest.raises(ModelImportError, match="gives 3 classes .output 1x3x24x40., the class table has 19"):
        wrap(Network(colour_network(), None), PLAIN, 19)


def test_sigmoids_are_told() -> None:
    with pytest.raises(ModelImportError, match="seems to end in sigmoids"):
        Network(colour_network(head="sigmoid"), None)


def test_unknown_output_is_told_with_those_there_are() -> None:
    with pytest.raises(ModelImportError, match="no output 'scores'; its outputs are mask, confidence"):
        Network(colour_network(auxiliary=True), None, "scores")


def test_output_that_is_no_segmentation_is_told() -> None:
    model = colour_network()
    model.graph.node.append(helper.make_node("GlobalAveragePool", ["features"], ["pooled"]))
    model.graph.node.append(helper.make_node("Flatten", ["pooled"], ["scores"]))
    model.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, None))
    with pytest.raises(ModelImportError, match=r"output scores is float32 \(1, 3\); expected logits"):
        Network(model, None, "scores")


def test_missing_external_data_is_told(tmp_path: Path) -> None:
    model = colour_network()
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, size_threshold=0, location="big.bin")
    network = Network(read_onnx(tmp_path / "big.onnx"), None)
    np.testing.assert_array_equal(wrapped_engine(network).infer(IMAGE).mask, strongest())
    (tmp_path / "big.bin").unlink()
    with pytest.raises(ModelImportError, match="big.onnx: the file of its external data is missing"):
        read_onnx(tmp_path / "big.onnx")


def test_files_that_are_no_model_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelImportError, match="none.onnx: no such file"):
        read_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a model at all")
    with pytest.raises(ModelImportError, match="text.onnx: not an ONNX model"):
        read_onnx(tmp_path / "text.onnx")
