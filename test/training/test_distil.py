"""Distillation: the student comes closer to the teacher, even where nothing is labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements/train.txt")

from torch import Tensor, nn
from torch.nn import functional

from seg_perception.cli import main
from seg_perception.core.errors import TrainingError
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.deploy import normalise
from seg_perception.training import checkpoint
from seg_perception.training.distil import Distillation, inherit


def _network(width: int, seed: int) -> PixelClassifier:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return PixelClassifier(nn.Sequential(*layers, nn.Conv2d(width, 3, 1)), 32)


class _NoLabels(nn.Module):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return 0.0 * logits.sum()


def test_student_learns_from_the_teacher_alone() -> None:
    student, teacher = _network(8, 1), _network(16, 2)
    images = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    labels = torch.full((1, 32, 32), 255, dtype=torch.uint8)
    objective = Distillation(_NoLabels(), student, teacher, 3, (64, 64))

    def divergence() -> float:
        with torch.no_grad():
            said, wanted = (functional.log_softmax(n(normalise(images)), 1) for n in (student, teacher))
            return float(functional.kl_div(said, wanted, reduction="batchmean", log_target=True))

    before = divergence()
    frozen = [parameter.clone() for parameter in teacher.parameters()]
    trained = [p for p in [*student.parameters(), *objective.parameters()] if p.requires_grad]
    optimizer = torch.optim.Adam(dict.fromkeys(trained), 0.01)
    losses = []
    for _ in range(150):
        loss = objective(student, images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert divergence() < 0.5 * before
    assert all(torch.equal(a, b) for a, b in zip(frozen, teacher.parameters(), strict=True))


class _WithAuxiliaryHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.auxiliary = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1), nn.Conv2d(8, 3, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.body(pixels)
        self.auxiliary(features.detach())
        return self.head(features)


def test_the_features_are_those_of_the_head_that_decides() -> None:
    teacher = PixelClassifier(_WithAuxiliaryHead(), 32)
    objective = Distillation(_NoLabels(), _network(8, 1), teacher, 3, (64, 64))
    assert objective._heads["teacher"] is teacher.network.head


@pytest.fixture()
def student(document: dict[str, Any], tmp_path: Path) -> Path:
    """A configuration of half the teacher's width."""
    document["model"] = {
        "architecture": "unet",
        "encoder": "tu-resnet18",
        "options": {"channels": [8, 8, 8, 8], "decoder_channels": [8, 8, 8, 8, 8]},
    }
    document["schedule"].update(steps=4)
    path = tmp_path / "student.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("instances", ["student", "teacher"])
def test_networks_of_instances_are_refused(instances: str) -> None:
    """Also where one of their layers has as many channels as there are classes."""
    options = {"channels": [8, 8, 16, 16], "pyramid_channels": 8, "proposals": 8, "detections": 4}
    networks = {"student": _network(8, 1), "teacher": _network(16, 2)}
    networks[instances] = build("mask_rcnn", "tu-resnet10t", options, 4)
    with pytest.raises(TrainingError, match="mask_rcnn learns and teaches by instances"):
        Distillation(_NoLabels(), **networks, n_classes=4, size=(64, 64))


def test_command_trains_a_student_that_exports_like_any(student: Path, training: Path, tmp_path: Path) -> None:
    assert main(["distil", "--config", str(student), "--teacher", str(training), "--out", str(tmp_path / "out")]) == 0
    weights = checkpoint.load(tmp_path / "out" / checkpoint.BEST)["average"]
    assert weights["network.encoder.model.conv1.weight"].shape[0] == 64
    assert not [name for name in weights if "adapter" in name or "teacher" in name]


def test_student_begins_as_the_teacher_where_they_are_the_same() -> None:
    options = {"channels": [8, 8, 8, 8], "encoder_depth": 3}
    teacher = build("unet", "tu-resnet10t", {**options, "decoder_channels": [16, 8, 8]}, 3)
    shorter = build("unet", "tu-resnet10t", {**options, "decoder_channels": [16, 8]}, 3)
    other = build("unet", "tu-resnet10t", {**options, "channels": [8, 16, 16, 16], "decoder_channels": [16, 8]}, 3)
    deeper = build("unet", "tu-resnet14t", {**options, "decoder_channels": [16, 8]}, 3)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    wanted, own = teacher.state_dict(), shorter.state_dict()
    assert inherit(shorter, teacher) == sum(wanted[name].shape == own[name].shape for name in own)
    assert all(torch.equal(wanted[n], t) for n, t in shorter.state_dict().items() if t.shape == wanted[n].shape)
    assert inherit(other, teacher) == 0
    assert inherit(shorter, deeper) == 0, "a part of a larger encoder is not that encoder"
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_a_bundle_teaches(student: Path, exported: Path, tmp_path: Path) -> None:
    assert main(["distil", "--config", str(student), "--teacher", str(exported), "--out", str(tmp_path / "o")]) == 0


def test_teacher_of_other_classes_is_refused(
    student: Path, training: Path, document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("all", "rest")
    classes = [{"id": i, "name": n, "color": [1, 2, i], "cost": 0, "kind": "ground"} for i, n in enumerate(names)]
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": classes}))
    student.write_text(student.read_text().replace("classes: classes.yaml", f"classes: {tmp_path / 'classes.yaml'}"))
    assert main(["distil", "--config", str(student), "--teacher", str(training), "--out", str(tmp_path / "o")]) == 2
    assert "knows the classes sky, road, box, the configuration all, rest" in capsys.readouterr().err
