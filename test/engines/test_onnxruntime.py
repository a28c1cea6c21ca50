"""The engine does what the graph says, on the provider it names."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from seg_perception.core.errors import BundleError, EngineError, ImageError
from seg_perception.engines.manifest import InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine, installed_providers

CPU_RUNTIMES = [
    Runtime("cpu"),
    *([Runtime("openvino", "f32"), Runtime("openvino", "bf16")] if "openvino" in installed_providers() else []),
]
needs_openvino = pytest.mark.skipif("openvino" not in installed_providers(), reason="no onnxruntime-openvino here")


def engine_of(model: bytes, runtime: Runtime = CPU_RUNTIMES[0], spec: InputSpec | None = None) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(model, spec or InputSpec(32, 24), runtime, threads=1)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES, ids=str)
def test_mask_and_confidence_are_the_graphs(make_model, image, mask, runtime):
    engine = engine_of(make_model(), runtime)
    result = engine.infer(image)
    np.testing.assert_array_equal(result.mask, mask)
    np.testing.assert_array_equal(result.confidence, mask * 200)
    assert engine.input_size == (32, 24)
    assert str(runtime) in engine.description


@pytest.mark.parametrize("runtime", CPU_RUNTIMES, ids=str)
def test_results_stay_as_they_are_when_the_next_image_comes(make_model, image, mask, runtime):
    engine = engine_of(make_model(), runtime)
    first = engine.infer(image)
    engine.infer(255 - image)
    np.testing.assert_array_equal(first.mask, mask)


@pytest.mark.parametrize("size", [(1, 2), (24, 32), (25, 31), (480, 640), (1000, 30)])
def test_images_of_any_size_are_taken(make_model, size):  # OpenCV 4.5.4 refuses a single pixel
    result = engine_of(make_model()).infer(np.full((*size, 3), 200, np.uint8))
    assert result.mask.shape == result.confidence.shape == (24, 32)
    assert np.all(result.mask == 1)


def test_views_with_gaps_between_rows_are_taken(make_model, mask):
    padded = np.zeros((24, 40, 3), np.uint8)
    padded[:, 16:, 1] = 200
    np.testing.assert_array_equal(engine_of(make_model()).infer(padded[:, :32]).mask, mask)


def test_channels_arrive_in_the_manifests_order(make_model):
    blue = np.zeros((24, 32, 3), np.uint8)
    blue[..., 0] = 200
    model = make_model(channel=0)
    assert np.all(engine_of(model, spec=InputSpec(32, 24, channel_order="bgr")).infer(blue).mask == 1)
    assert np.all(engine_of(model, spec=InputSpec(32, 24, channel_order="rgb")).infer(blue).mask == 0)


def test_nothing_is_claimed_outside_a_letterboxed_image(make_model):
    engine = engine_of(make_model(), spec=InputSpec(32, 24, "letterbox"))
    result = engine.infer(np.full((8, 32, 3), 200, np.uint8))
    assert np.all(result.mask[8:16] == 1) and np.all(result.confidence[8:16] == 200)
    for frame in (slice(0, 8), slice(16, 24)):
        assert np.all(result.mask[frame] == 255) and np.all(result.confidence[frame] == 0)


def test_only_the_middle_of_an_image_is_looked_at_where_the_rule_is_crop(make_model):
    engine = engine_of(make_model(), spec=InputSpec(32, 24, "crop"))
    image = np.zeros((24, 96, 3), np.uint8)
    image[:, 32:64] = 200
    result = engine.infer(image)
    assert np.all(result.mask == 1) and np.all(result.confidence == 200)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 32, 3), np.uint8),
        np.zeros((24, 32), np.uint8),
        np.zeros((24, 32, 4), np.uint8),
        np.zeros((24, 32, 3), np.float32),
    ],
    ids=lambda image: f"{image.dtype}{image.shape}",
)
def test_images_it_cannot_take_are_refused_and_the_next_one_works(make_model, image, mask):
    engine = engine_of(make_model())
    with pytest.raises(ImageError, match=rf"image is {image.dtype} \({image.shape[0]}, {image.shape[1]}"):
        engine.infer(image)
    assert engine.infer(np.zeros((24, 32, 3), np.uint8)).mask.shape == (24, 32)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES, ids=str)
@pytest.mark.parametrize(
    "damage", [lambda m: m[: len(m) // 2], lambda m: b"", lambda m: b"no model" * 50], ids=["half", "empty", "garbage"]
)
def test_broken_graphs_are_refused(make_model, runtime, damage):
    with pytest.raises(BundleError, match="not a model that ONNX Runtime can read"):
        engine_of(damage(make_model()), runtime)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 64}, r"input image of the model is tensor\(uint8\) \(1, 24, 64, 3\), by the manifest"),
        ({"mask_type": "INT64"}, r"output mask of the model is tensor\(int64\)"),
        ({"mask_name": "labels"}, "the model has input image, output labels, output confidence; the contract is"),
    ],
)
def test_graphs_that_break_the_contract_are_refused(make_model, options, message):
    with pytest.raises(BundleError, match=message):
        engine_of(make_model(**options))


@pytest.mark.parametrize("runtime", CPU_RUNTIMES, ids=str)
def test_weights_outside_the_hashed_file_are_refused(make_model, tmp_path, monkeypatch, runtime):
    onnx = pytest.importorskip("onnx", reason="onnx makes the models of these tests")
    (tmp_path / "weights.bin").write_bytes(bytes(8))
    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(make_model())
    channel = next(tensor for tensor in model.graph.initializer if tensor.name == "channel")
    channel.ClearField("int64_data")
    channel.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": "0", "length": "8"}.items():
        channel.external_data.add(key=key, value=value)
    with pytest.raises(EngineError, match="cannot run the model there"):
        engine_of(model.SerializeToString(), runtime)


@needs_openvino
def test_a_graph_that_openvino_cannot_run_whole_is_not_reported_as_openvino(make_model, image, mask):
    model = make_model(openvino_lacks_an_op=True)
    with pytest.raises(EngineError, match="openvino f32: onnxruntime .* cannot run the model there"):
        engine_of(model, Runtime("openvino", "f32"))
    np.testing.assert_array_equal(engine_of(model).infer(image).mask, mask)


@pytest.mark.skipif("cuda" in installed_providers(), reason="CUDA is installed here")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_installed_is_named_with_what_is_and_what_to_install(make_model, provider):
    with pytest.raises(EngineError) as caught:
        engine_of(make_model(), Runtime(provider, "f32" if provider == "tensorrt" else None))
    for word in (provider, "cpu", ort.__version__, "install onnxruntime-gpu"):
        assert word in str(caught.value)
