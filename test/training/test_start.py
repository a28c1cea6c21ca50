"""A training that goes on from another one or from a bundle: its whole network, with the classes that it is given."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from box_scenes import CLASSES, HEIGHT, WIDTH

from seg_perception.cli import main
from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import TrainingError
from seg_perception.engines.bundle import WEIGHTS_FILE
from seg_perception.models.build import PixelClassifier
from seg_perception.training import checkpoint
from seg_perception.training.config import TrainingConfig
from seg_perception.training.start import network_from
from seg_perception.training.trained import Trained

ROOT = Path(__file__).resolve().parents[2]
KERB = {"id": 1, "name": "kerb", "color": [1, 2, 3], "cost": 50, "kind": "ground"}
OTHER_CLASSES = [CLASSES[0], KERB, {**CLASSES[2], "id": 2}, {**CLASSES[1], "id": 3}]
"""One more than before, in another order."""


def _logits(network: PixelClassifier) -> torch.Tensor:
    image = torch.rand((1, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return network.eval()(image)[0]


def test_a_bundle_holds_the_network_and_no_path_of_the_machine(training: Path, exported: Path, scenes: Path) -> None:
    wanted = _logits(Trained.load(training).network)
    torch.testing.assert_close(
        _logits(Trained.load(exported).network), wanted, atol=0.01 * float(wanted.std()), rtol=0.01
    )
    content = (exported / WEIGHTS_FILE).read_bytes()
    assert str(scenes).encode() not in content
    assert len(content) < 0.6 * (training / checkpoint.BEST).stat().st_size


def test_classes_of_the_same_name_keep_what_they_learned(training: Path, document: dict[str, Any]) -> None:
    model = TrainingConfig.from_dict(document).model
    wanted = _logits(Trained.load(training).network)
    found = _logits(network_from(training, model, ClassTable.from_dicts(OTHER_CLASSES)))
    assert len(found) == 4
    torch.testing.assert_close(found[[0, 3, 2]], wanted)


@pytest.mark.parametrize("classes", [CLASSES, OTHER_CLASSES], ids=["the same", "other"])
def test_a_pruned_network_goes_on_as_it_is_and_resumes(
    exported: Path, document: dict[str, Any], scenes: Path, tmp_path: Path, classes: list[dict[str, Any]]
) -> None:
    pytest.importorskip("torch_pruning", reason="pruning needs torch-pruning: pip install -r requirements/train.txt")
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": classes}))
    config, pruned, out = tmp_path / "mine.yaml", tmp_path / "pruned", tmp_path / "out"
    config.write_text(yaml.safe_dump(document))
    run = ["prune", "--training", str(exported), "--config", str(config), "--out", str(pruned), "--steps", "2"]
    assert main([*run, "--ratio", "0.3"]) == 0
    document["classes"] = str(tmp_path / "classes.yaml")
    document["model"] = {**document["model"], "weights": str(pruned)}
    for steps, more in ((2, []), (4, ["--resume"])):
        document["schedule"].update(steps=steps, validate_every=2)
        config.write_text(yaml.safe_dump(document))
        assert main(["train", "--config", str(config), "--out", str(out), *more]) == 0
        document["model"]["weights"] = "gone"
    shapes = [
        {name: tensor.shape[1:] for name, tensor in Trained.load(folder).network.state_dict().items()}
        for folder in (pruned, out)
    ]
    assert shapes[0] == shapes[1]
    assert checkpoint.load(out / checkpoint.LAST)["step"] == 4


def test_another_model_is_refused(
    exported: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document["model"] = {"architecture": "unet", "encoder": "tu-resnet10t", "weights": str(exported)}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    assert main(["train", "--config", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "are of the model unet, tu-resnet18" in capsys.readouterr().err


def test_it_is_told_which_file_a_training_starts_from(
    exported: Path, document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        network_from(exported, TrainingConfig.from_dict(document).model, ClassTable.from_dicts(CLASSES))
    assert str(exported / WEIGHTS_FILE) in caplog.text


def test_a_damaged_file_is_not_trained_on(exported: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(exported, tmp_path / "boxes"))
    content = bytearray((bundle / WEIGHTS_FILE).read_bytes())
    content[len(content) // 2] ^= 0x40
    (bundle / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(TrainingError, match="corrupt or was changed"):
        Trained.load(bundle)


def test_a_bundle_is_no_place_for_a_training(
    exported: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    assert main(["train", "--config", str(tmp_path / "mine.yaml"), "--out", str(exported)]) == 2
    assert "is a bundle" in capsys.readouterr().err


def test_a_bundle_has_no_data(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qat", "--training", str(exported), "--out", str(tmp_path / "out")]) == 2
    assert "--config" in capsys.readouterr().err


@pytest.mark.parametrize(("weights", "said"), [("road_liet", "there are: "), ("folder", "no checkpoint there")])
def test_a_start_that_is_not_there_is_named(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    document["model"] = {**document["model"], "weights": str(tmp_path / weights) if weights == "folder" else weights}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    assert main(["train", "--config", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("folder", sorted((ROOT / "config" / "models").iterdir()), ids=lambda folder: folder.name)
def test_the_shipped_bundles_can_be_trained_on(folder: Path) -> None:
    assert Trained.load(folder).config.name == folder.name


def _with_classes(document: dict[str, Any], folder: Path, **changes: Any) -> Path:
    """A configuration whose class `road` is changed."""
    classes = [{**entry, **changes} if entry["name"] == "road" else entry for entry in CLASSES]
    (folder / "classes.yaml").write_text(yaml.safe_dump({"classes": classes}))
    config = folder / "boxes.yaml"
    config.write_text(yaml.safe_dump({**document, "classes": str(folder / "classes.yaml")}))
    return config


def test_costs_of_classes_are_those_of_the_configuration(
    training: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    document["schedule"].update(steps=64, validate_every=4)
    config = _with_classes(document, tmp_path, cost=55)
    costs = {entry.name: entry.cost for entry in Trained.load(training, config).table.classes}
    assert costs["road"] == 55
    out = tmp_path / "out"
    shutil.copytree(training, out)
    assert main(["train", "--config", str(config), "--out", str(out), "--resume"]) == 0
    assert Trained.load(out, None, checkpoint.LAST).table == Trained.load(training, config).table


def test_classes_of_other_names_are_refused(training: Path, document: dict[str, Any], tmp_path: Path) -> None:
    config = _with_classes(document, tmp_path, name="street")
    with pytest.raises(TrainingError, match="its classes are sky, street, box; .* trained with sky, road, box"):
        Trained.load(training, config)
