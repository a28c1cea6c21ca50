"""A training that goes on from another one or from a bundle: its whole network, with the classes that it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from box_scenes import CLASSES, HEIGHT, WIDTH

from seg_perception.cli import main
from seg_perception.core.classes import ClassTable
from seg_perception.models.build import PixelClassifier
from seg_perception.training import checkpoint
from seg_perception.training.config import TrainingConfig
from seg_perception.training.start import network_from
from seg_perception.training.trained import Trained

KERB = {"id": 1, "name": "kerb", "color": [1, 2, 3], "cost": 50, "kind": "ground"}
OTHER_CLASSES = [CLASSES[0], KERB, {**CLASSES[2], "id": 2}, {**CLASSES[1], "id": 3}]
"""One more than before, in another order."""


@pytest.fixture(scope="module")
def bundle(training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `training` of an exported bundle needs here: not to be written to."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "bundle.yaml").touch()
    (folder / checkpoint.WEIGHTS).write_bytes(checkpoint.slim(checkpoint.load(training / checkpoint.BEST)))
    return folder


def _logits(network: PixelClassifier) -> torch.Tensor:
    image = torch.rand((1, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return network.eval()(image)[0]


def test_a_bundle_holds_the_network_and_no_path_of_the_machine(training: Path, bundle: Path, scenes: Path) -> None:
    wanted = _logits(Trained.load(training).network)
    torch.testing.assert_close(
        _logits(Trained.load(bundle).network), wanted, atol=0.01 * float(wanted.std()), rtol=0.01
    )
    content = (bundle / checkpoint.WEIGHTS).read_bytes()
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
    bundle: Path, document: dict[str, Any], scenes: Path, tmp_path: Path, classes: list[dict[str, Any]]
) -> None:
    pytest.importorskip("torch_pruning", reason="pruning needs torch-pruning: pip install -r requirements/train.txt")
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": classes}))
    config, pruned, out = tmp_path / "mine.yaml", tmp_path / "pruned", tmp_path / "out"
    config.write_text(yaml.safe_dump(document))
    run = ["prune", "--training", str(bundle), "--config", str(config), "--out", str(pruned), "--steps", "2"]
    assert main([*run, "--ratio", "0.3"]) == 0
    document["classes"] = str(tmp_path / "classes.yaml")
    document["model"] = {**document["model"], "weights": str(pruned)}
    for steps, more in ((2, []), (4, ["--resume"])):
        document["schedule"].update(steps=steps, validate_every=2)
        config.write_text(yaml.safe_dump(document))
        assert main(["train", "--config", str(config), "--out", str(out), *more]) == 0
    shapes = [
        {name: tensor.shape[1:] for name, tensor in Trained.load(folder).network.state_dict().items()}
        for folder in (pruned, out)
    ]
    assert shapes[0] == shapes[1]
    assert Trained.load(out).state["step"] in (2, 4)


def test_another_model_is_refused(
    bundle: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document["model"] = {"architecture": "unet", "encoder": "tu-resnet10t", "weights": str(bundle)}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    assert main(["train", "--config", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "are of the model unet, tu-resnet18" in capsys.readouterr().err
