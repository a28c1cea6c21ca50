"""The engine on torch: the same contract as ONNX Runtime's, and nothing that a program could smuggle in."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch engine needs torch: pip install -r requirements/train.txt")

from seg_perception.core.errors import BundleError, EngineError, ImageError
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.engines.manifest import Accepted, InputSpec, Runtime
from seg_perception.engines.torch import TorchEngine
from seg_perception.engines.torch_program import load_program, save_program

WIDTH, HEIGHT = 32, 24
SPEC = InputSpec(WIDTH, HEIGHT)
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


class GreenThreshold(torch.nn.Module):
    """mask = 1 where a convolution finds more than 127 of green; confidence = green."""

    def __init__(self) -> None:
        super().__init__()
        self.green = torch.nn.Conv2d(3, 1, 1, bias=False)
        self.green.weight = torch.nn.Parameter(torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        plane = self.green(image.permute(0, 3, 1, 2).float())[:, 0]
        return (plane > 127).to(torch.uint8), plane.to(torch.uint8)


@pytest.fixture(scope="module")
def program() -> bytes:
    return save_program(GreenThreshold(), torch.zeros((1, HEIGHT, WIDTH, 3), dtype=torch.uint8))


@pytest.fixture
def bundle(program: bytes, make_bundle: Callable[..., Path]) -> Bundle:
    """A bundle with the variant `torch` alone."""
    accepted = tuple(Accepted(Runtime(p, "bf16"), {"miou": 1.0}, 1.0) for p in ("torch-cpu", "torch-cuda"))
    return Bundle.load(make_bundle(model=program, accepted={"torch": accepted}, format="pt2"))


@pytest.mark.parametrize("hint", ["f32", "bf16"])
def test_engine_gives_mask_and_confidence(program: bytes, hint: str, image: np.ndarray, mask: np.ndarray) -> None:
    engine = TorchEngine(program, SPEC, Runtime("torch-cpu", hint), threads=1, label="halves")
    result = engine.infer(image)
    np.testing.assert_array_equal(result.mask, mask)
    np.testing.assert_array_equal(result.confidence, 200 * mask)
    assert engine.description == f"halves, torch-cpu {hint}, 1 thread"
    assert not engine.degraded


def test_outside_a_letterboxed_image_nothing_is_labelled(program: bytes) -> None:
    engine = TorchEngine(program, InputSpec(WIDTH, HEIGHT, "letterbox"), Runtime("torch-cpu", "f32"))
    result = engine.infer(np.full((HEIGHT, WIDTH // 2, 3), 200, np.uint8))
    assert (result.mask[:, :8] == 255).all() and (result.confidence[:, :8] == 0).all()
    assert (result.mask[:, 8:-8] == 1).all()


def test_bad_images_are_refused(program: bytes) -> None:
    with pytest.raises(ImageError, match="image is float64"):
        TorchEngine(program, SPEC, Runtime("torch-cpu", "f32")).infer(np.zeros((4, 4, 3)))


def test_a_bundle_brings_its_program(bundle: Bundle, image: np.ndarray, mask: np.ndarray) -> None:
    assert (bundle.root / "model.torch.pt2").is_file()
    engine = load_engine(bundle, threads=1)
    np.testing.assert_array_equal(engine.infer(image).mask, mask)
    assert engine.description == "halves 1.0.0 torch, torch-cpu bf16, 1 thread"


@needs_no_gpu
def test_without_a_gpu_a_program_for_one_says_so(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=f"torch {torch.__version__.partition('+')[0]}.* finds no GPU"):
        load_engine(bundle, "cuda:0")


class FullGpu:
    """What runs the network on a GPU, with memory for the golden image and one more."""

    def __init__(self, network: Callable[..., tuple[torch.Tensor, torch.Tensor]], *_: object) -> None:
        self._network, self._left = network, 2

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self._left:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")
        self._left -= 1
        planes = self._network(torch.from_numpy(pixels)[None])
        return planes[0][0].numpy(), planes[1][0].numpy()


def test_a_gpu_out_of_memory_is_replaced_by_the_cpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, image: np.ndarray, mask: np.ndarray
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("seg_perception.engines.torch._OnGpu", FullGpu)
    engine = load_engine(bundle, "cuda:0", threads=1)
    for expected in ("torch-cuda bf16, GPU 0", "torch-cpu bf16, 1 thread"):
        np.testing.assert_array_equal(engine.infer(image).mask, mask)
        assert engine.description == f"halves 1.0.0 torch, {expected}"
    assert "torch-cuda bf16, GPU 0: the GPU failed (CUDA out of memory. Tried" in engine.degraded


@needs_gpu
@pytest.mark.parametrize("hint", ["f32", "bf16", "f16"])
def test_on_a_gpu_every_frame_is_a_new_one(program: bytes, hint: str, image: np.ndarray, mask: np.ndarray) -> None:
    engine = TorchEngine(program, SPEC, Runtime("torch-cuda", hint))
    first, second = engine.infer(image), engine.infer(np.ascontiguousarray(image[:, ::-1]))
    np.testing.assert_array_equal(first.mask, mask)
    np.testing.assert_array_equal(second.mask, mask[:, ::-1])


def test_a_program_of_another_size_is_refused(program: bytes) -> None:
    with pytest.raises(BundleError, match=r"does not take uint8 \(1, 24, 64, 3\)"):
        TorchEngine(program, InputSpec(64, HEIGHT), Runtime("torch-cpu", "f32"))


def test_a_program_with_other_outputs_is_refused() -> None:
    class Floats(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return image[..., 0].float(), image[..., 1] + 0

    content = save_program(Floats(), torch.zeros((1, HEIGHT, WIDTH, 3), dtype=torch.uint8))
    with pytest.raises(BundleError, match="the program gives .*float32"):
        TorchEngine(content, SPEC, Runtime("torch-cpu", "f32"))


def test_torch_is_not_imported_for_a_bundle_without_a_program(make_bundle: Callable[..., Path]) -> None:
    code = f"""
import sys
from seg_perception.engines.factory import load_engine
load_engine({str(make_bundle())!r})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def _rewritten(content: bytes, change: Callable[[str, bytes], bytes], extra: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        root = source.namelist()[0].partition("/")[0]
        for name in source.namelist():
            archive.writestr(name, change(name, source.read(name)))
        for name, data in extra.items():
            archive.writestr(f"{root}/{name}", data)
    return target.getvalue()


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (Path("exploded"),)


def _bomb() -> bytes:
    buffer = io.BytesIO()
    torch.save(((_Bomb(),), {}), buffer)
    return buffer.getvalue()


def _pickled_samples(name: str, data: bytes) -> bytes:
    return _bomb() if name.endswith("sample_inputs/model.pt") else data


def _pickled_weight(name: str, data: bytes) -> bytes:
    if name.endswith("weight_0"):
        return _bomb()
    return data.replace(b'"use_pickle": false', b'"use_pickle": true') if name.endswith("_config.json") else data


def _foreign_call(name: str, data: bytes) -> bytes:
    return data.replace(b"torch.ops.aten.gt.Scalar", b"torch.hub.load") if name.endswith("model.json") else data


def _expression(name: str, data: bytes) -> bytes:
    if not name.endswith("model.json"):
        return data
    document = json.loads(data)
    document["graph_module"]["graph"]["sym_int_values"] = {"s": {"as_expr": {"expr_str": "__import__('os')"}}}
    return json.dumps(document).encode()


def _nothing(name: str, data: bytes) -> bytes:
    return data


@pytest.mark.parametrize(
    ("change", "extra", "message"),
    [
        (_pickled_samples, {}, "holds pickled data"),
        (_pickled_weight, {}, "holds pickled data"),
        (_nothing, {"data/weights/model.pt": b"legacy"}, "holds pickled data"),
        (_foreign_call, {}, r"calls more than tensor operators \(torch.hub.load\)"),
        (_expression, {}, "calls more than tensor operators"),
    ],
)
def test_programs_that_could_run_code_are_not_loaded(
    program: bytes,
    change: Callable[[str, bytes], bytes],
    extra: dict[str, bytes],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    content = _rewritten(program, change, extra)
    assert content != program
    with pytest.raises(BundleError, match=message):
        load_program(content)
    assert not (tmp_path / "exploded").exists()


def test_a_rewritten_program_that_is_plain_still_loads(program: bytes) -> None:
    load_program(_rewritten(program, _nothing, {}))


def test_a_damaged_program_is_told(program: bytes) -> None:
    with pytest.raises(BundleError, match=r"not a program that torch .* can read"):
        load_program(program[: len(program) // 2])


def test_programs_tell_nothing_of_the_machine(program: bytes) -> None:
    assert str(Path(__file__).resolve().parents[2]).encode() not in program
