"""From a bundle to an engine: the fastest accepted runtime that is here, or a reason."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from seg_perception.core.errors import BundleError, EngineError
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.engines.manifest import Accepted, Runtime
from seg_perception.engines.onnxruntime import installed_providers

needs_openvino = pytest.mark.skipif("openvino" not in installed_providers(), reason="no onnxruntime-openvino here")
needs_no_cuda = pytest.mark.skipif("cuda" in installed_providers(), reason="CUDA is installed here")


def accepted(provider: str, hint: str | None = None, latency_ms: float | None = None) -> Accepted:
    return Accepted(Runtime(provider, hint), {"miou": 1.0}, latency_ms)


def test_an_engine_runs_the_bundle(make_bundle, image, mask):
    engine = load_engine(make_bundle(), threads=1)
    np.testing.assert_array_equal(engine.infer(image).mask, mask)
    assert engine.description == "halves 1.0.0 fp32, cpu, 1 thread"


def test_an_open_bundle_is_taken_too(make_bundle, image, mask):
    engine = load_engine(Bundle.load(make_bundle()))
    np.testing.assert_array_equal(engine.infer(image).mask, mask)


@needs_openvino
def test_auto_takes_what_the_exporter_measured_fastest(make_bundle):
    root = make_bundle(
        accepted={
            "fp32": (accepted("cpu"), accepted("openvino", "f32", 9.0)),
            "int8": (accepted("cpu", None, 3.0), accepted("openvino", "bf16", 5.0)),
        }
    )
    assert load_engine(root).description.startswith("halves 1.0.0 int8, cpu,")
    assert load_engine(root, precision="fp32").description.startswith("halves 1.0.0 fp32, openvino f32,")


@needs_no_cuda
def test_runtimes_of_other_machines_are_passed_over(make_bundle):
    root = make_bundle(accepted={"fp32": (accepted("cuda", None, 0.1), accepted("cpu", None, 9.0))})
    assert load_engine(root).description.startswith("halves 1.0.0 fp32, cpu,")


@needs_openvino
def test_a_runtime_that_does_not_start_is_logged_and_the_next_one_taken(make_bundle, make_model, caplog):
    root = make_bundle(
        model=make_model(openvino_lacks_an_op=True),
        accepted={"fp32": (accepted("openvino", "f32", 1.0), accepted("cpu", None, 2.0))},
    )
    with caplog.at_level(logging.WARNING):
        assert load_engine(root).description.startswith("halves 1.0.0 fp32, cpu,")
    assert "halves fp32: openvino f32: onnxruntime" in caplog.text


@needs_openvino
def test_when_nothing_starts_every_reason_is_given(make_bundle, make_model):
    root = make_bundle(
        model=make_model(openvino_lacks_an_op=True),
        accepted={"fp32": (accepted("openvino", "f32"), accepted("openvino", "bf16"))},
    )
    with pytest.raises(EngineError, match=r"nothing runs on device 'cpu': openvino f32: .*; openvino bf16: "):
        load_engine(root)


@needs_no_cuda
def test_a_gpu_that_cannot_be_used_is_named_with_what_to_install(make_bundle):
    root = make_bundle(accepted={"fp32": (accepted("tensorrt", "f16"), accepted("cuda"))})
    with pytest.raises(EngineError, match="offers .*cpu, not tensorrt or cuda; install onnxruntime-gpu"):
        load_engine(root, device="cuda:0")


def test_a_device_the_bundle_was_not_accepted_on_is_named(make_bundle):
    root = make_bundle(accepted={"fp32": (accepted("cuda"),)})
    with pytest.raises(EngineError, match=r"nowhere on device 'cpu' \(passed: fp32 on cuda\)"):
        load_engine(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device is 'tpu'; allowed are cpu, cuda, cuda:N"),
        ({"device": "cuda:first"}, "device is 'cuda:first'"),
        ({"precision": "int4"}, "precision is 'int4'; .*halves has fp32; or auto"),
        ({"threads": 0}, "threads is 0; give at least 1"),
    ],
)
def test_wrong_arguments_are_named(make_bundle, options, message):
    with pytest.raises(EngineError, match=message):
        load_engine(make_bundle(), **options)


def test_a_model_that_does_not_give_its_golden_mask_is_refused(make_bundle, mask):
    root = make_bundle(golden_mask=1 - mask)
    with pytest.raises(BundleError, match=rf"{re.escape(str(root))}: golden test failed: .* gives 0.0% .* 98.0%"):
        load_engine(root)


def test_a_few_different_golden_pixels_are_allowed(make_bundle, mask):
    mask[0, :7] = 1
    assert load_engine(make_bundle(golden_mask=mask)).input_size == (32, 24)


def test_ids_that_the_class_table_lacks_are_named(make_bundle, make_model):
    root = make_bundle(model=make_model(high=7))
    with pytest.raises(BundleError, match=r"model.fp32.onnx has ids \[7\] that the class table lacks"):
        load_engine(root)


@pytest.mark.parametrize(
    ("model_options", "message"),
    [({"width": 64}, "input image of the model is"), ({"mask_name": "labels"}, "output labels")],
)
def test_a_graph_that_disagrees_with_the_manifest_is_named_by_file(make_bundle, make_model, model_options, message):
    root = make_bundle(model=make_model(**model_options))
    with pytest.raises(BundleError, match=rf"{re.escape(str(root))}/model.fp32.onnx: .*{message}"):
        load_engine(root)


def test_a_truncated_graph_is_named_by_file(make_bundle, make_model):
    root = make_bundle(model=make_model()[:100])
    with pytest.raises(BundleError, match="model.fp32.onnx: not a model that ONNX Runtime can read"):
        load_engine(root)


def test_a_changed_graph_is_refused_before_it_runs(make_bundle):
    root = make_bundle()
    (root / "model.fp32.onnx").write_bytes(b"something else")
    with pytest.raises(BundleError, match="model.fp32.onnx: SHA-256 is"):
        load_engine(root)


def test_the_same_bundle_loads_again_after_it_was_repaired(make_bundle):
    root = make_bundle()
    path = root / "model.fp32.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(BundleError):
        load_engine(root)
    path.write_bytes(content)
    assert load_engine(root).input_size == (32, 24)
