"""Other formats than bundles decide as the network does, or are not written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch: pip install -r requirements/train.txt")
pytest.importorskip("onnxruntime", reason="export needs ONNX Runtime: pip install -r requirements/runtime.txt")

from box_scenes import HEIGHT, MODEL, WIDTH

from seg_perception.core.errors import ExportError
from seg_perception.engines.manifest import InputSpec
from seg_perception.models.build import build
from seg_perception.models.deploy import Deployed
from seg_perception.training import export_formats
from seg_perception.training.export import export_onnx
from seg_perception.training.export_formats import require_library, require_place, write_format


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    torch.manual_seed(0)
    return Deployed(build(MODEL["architecture"], MODEL["encoder"], MODEL["options"], 3).eval())


@pytest.fixture(scope="module")
def graph(deployed: Deployed) -> bytes:
    return export_onnx(deployed, InputSpec(WIDTH, HEIGHT))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(2)]


def _mask(deployed: Deployed, image: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return deployed(torch.from_numpy(image)[None])[0][0].numpy()


@pytest.mark.parametrize("name", ["pt2", "torchscript"])
def test_written_program_decides_as_the_network(
    name: str, deployed: Deployed, graph: bytes, images: list[np.ndarray], tmp_path: Path
) -> None:
    (path,) = write_format(name, deployed, graph, images, tmp_path / "boxes")
    program = torch.export.load(path).module() if name == "pt2" else torch.jit.load(str(path))
    mask = program(torch.from_numpy(images[1])[None])[0][0].numpy()
    assert np.mean(mask == _mask(deployed, images[1])) > 0.999
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO: pip install openvino")
def test_openvino_decides_as_the_network(
    deployed: Deployed, graph: bytes, images: list[np.ndarray], tmp_path: Path
) -> None:
    written = write_format("openvino", deployed, graph, images, tmp_path / "boxes")
    assert [path.name for path in written] == ["boxes.xml", "boxes.bin"]
    import openvino

    compiled = openvino.Core().compile_model(written[0], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    mask = compiled({"image": images[1][None]})["mask"][0]
    assert np.mean(mask == _mask(deployed, images[1])) > 0.999


@pytest.mark.parametrize("name", [name for name in ("openvino", "tensorrt") if find_spec(name) is None])
def test_missing_library_is_named(
    name: str, deployed: Deployed, graph: bytes, images: list[np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=f"{name}: not installed here .* pip install {name}"):
        write_format(name, deployed, graph, images, tmp_path / "boxes")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ExportError, match=f"{name}: not installed here"):
        require_library(name)


def test_format_that_decides_otherwise_is_not_kept(
    deployed: Deployed, graph: bytes, images: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(deployed: Deployed, graph: bytes, images: list[np.ndarray], path: Path):
        path.write_bytes(b"wrong")
        return lambda image: 1 - np.minimum(_mask(deployed, image), 1)

    monkeypatch.setitem(export_formats.FORMATS, "pt2", ((".pt2",), write))
    with pytest.raises(ExportError, match="pt2: masks agree with the network's on"):
        write_format("pt2", deployed, graph, images, tmp_path / "boxes")
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_taken_is_named(
    deployed: Deployed, graph: bytes, images: list[np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / "boxes.pt2").mkdir()
    with pytest.raises(ExportError, match=r"boxes: cannot be written \(Is a directory\)"):
        write_format("pt2", deployed, graph, images, tmp_path / "boxes")
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.pt2"]


@pytest.mark.parametrize("name", [".", "network"])
def test_the_place_of_the_files_is_named_after_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "network").mkdir()
    monkeypatch.chdir(tmp_path / ("network" if name == "." else "."))
    assert require_place(Path(name)) == tmp_path / "network"
