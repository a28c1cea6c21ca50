"""Distillation: a network learns from the labels and from what a larger one makes of the same images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import TrainingError
from seg_perception.models.build import InstanceClassifier, PixelClassifier
from seg_perception.models.deploy import normalise
from seg_perception.training.objective import Objective
from seg_perception.training.trained import Trained

TEMPERATURE = 2.0
"""Softens both distributions, so that the teacher's second thoughts count (Hinton et al. 2015)."""

LOGITS_WEIGHT = 1.0
FEATURES_WEIGHT = 1.0


def load_teacher(folder: Path, table: ClassTable) -> PixelClassifier:
    """The best averaged weights of a training, or of a bundle's, with the classes of `table`. Raises TrainingError."""
    teacher = Trained.load(folder)
    names, own = ([entry.name for entry in t.classes] for t in (teacher.table, table))
    if names != own:
        raise TrainingError(f"{folder}: knows the classes {', '.join(names)}, the configuration {', '.join(own)}")
    return teacher.network


def inherit(student: PixelClassifier, teacher: PixelClassifier) -> int:
    """Where both have the same encoder, copy every tensor that agrees in name and shape; returns their number."""
    if _encoder_shapes(student) != _encoder_shapes(teacher):
        return 0
    own, given = student.state_dict(), teacher.state_dict()
    agree = {name: given[name] for name in own if name in given and own[name].shape == given[name].shape}
    student.load_state_dict(agree, strict=False)
    return len(agree)


def _encoder_shapes(network: PixelClassifier) -> dict[str, torch.Size]:
    encoder = {id(parameter) for parameter in network.network.encoder.parameters()}
    return {name: parameter.shape for name, parameter in network.named_parameters() if id(parameter) in encoder}


class Distillation(Objective):
    """The supervised loss, plus divergence of the logits, plus distance of the features that the logits are made of.

    Logits: Kullback-Leibler from teacher to student per pixel at TEMPERATURE, unlabelled pixels included. Features:
    what goes into the last layer, of unit length per pixel; the student's are taken to the teacher's channels by a 1x1
    convolution that is trained along and thrown away (FitNets, Romero et al. 2015).
    """

    def __init__(
        self,
        supervised: nn.Module,
        student: PixelClassifier,
        teacher: PixelClassifier,
        n_classes: int,
        size: Sequence[int],
    ) -> None:
        """supervised: of logits (N, C, H, W) and labels (N, H, W) int64. size: of images that both take, (width,
        height). Raises TrainingError.
        """
        super().__init__()
        if isinstance(student, InstanceClassifier) or isinstance(teacher, InstanceClassifier):
            raise TrainingError("mask_rcnn learns and teaches by instances, not by logits; distil another architecture")
        self.supervised = supervised
        networks = {"student": student, "teacher": teacher}
        self._heads = {name: _last_layer(network, n_classes, size) for name, network in networks.items()}
        self.teacher = teacher.requires_grad_(False).eval()
        self.adapter = nn.Conv2d(self._heads["student"].in_channels, self._heads["teacher"].in_channels, 1)

    def forward(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """network: the student, or what wraps it."""
        pixels = normalise(images)
        with _inputs_of(self._heads) as features:
            with torch.no_grad():
                wanted = self.teacher.eval()(pixels)
            logits = network(pixels)
        loss: Tensor = self.supervised(logits, labels.long())
        loss = loss + LOGITS_WEIGHT * _divergence(logits.float(), wanted.float())
        adapted = self.adapter(features["student"])
        return loss + FEATURES_WEIGHT * _distance(adapted.float(), features["teacher"].float())


def _divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean over the pixels, times the temperature squared: gradients stay as large as those of the labels."""
    soft, target = (functional.log_softmax(values / TEMPERATURE, 1) for values in (logits, wanted))
    per_pixel = functional.kl_div(soft, target, reduction="none", log_target=True).sum(1)
    return TEMPERATURE**2 * per_pixel.mean()


def _distance(features: Tensor, wanted: Tensor) -> Tensor:
    """1 - cosine per pixel, at the teacher's resolution."""
    if features.shape[-2:] != wanted.shape[-2:]:
        features = functional.interpolate(features, size=wanted.shape[-2:], mode="bilinear", align_corners=False)
    return 1 - functional.cosine_similarity(features, wanted, dim=1).mean()


def _last_layer(network: PixelClassifier, n_classes: int, size: Sequence[int]) -> nn.Conv2d:
    """The convolution that makes logits of features; that of an auxiliary head makes others."""
    heads = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.out_channels == n_classes]
    training = network.training
    logits = network.eval()(torch.zeros((1, 3, *size[::-1]), device=heads[0].weight.device)) if heads else None
    network.train(training)
    weights = [head.weight for head in heads]
    gradients = () if logits is None else torch.autograd.grad(logits.sum(), weights, allow_unused=True)
    used = [head for head, gradient in zip(heads, gradients, strict=True) if gradient is not None]
    if not used:
        raise TrainingError(f"the network has no convolution to {n_classes} classes; its features cannot be distilled")
    return used[-1]


@contextmanager
def _inputs_of(layers: dict[str, nn.Conv2d]) -> Iterator[dict[str, Tensor]]:
    """Fills the dictionary with the input of every layer when it runs."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found[name] = inputs[0]

        return hook

    hooks = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
