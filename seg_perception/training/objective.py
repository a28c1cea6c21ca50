"""What a training step minimises: the loss against the labels, or anything else of a network and a batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from seg_perception.models.build import InstanceClassifier
from seg_perception.models.deploy import normalise
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import Source, class_frequencies
from seg_perception.training.instances import instances_of
from seg_perception.training.losses import SegmentationLoss, class_weights


class Objective(nn.Module):
    """`forward(network, images, labels)` → scalar loss.

    network: to be called (not its parts: a call is what synchronises several processes). images: (N, H, W, 3) uint8
    BGR. labels: (N, H, W) uint8, 255 where unlabelled. It runs under autocast. Parameters of the objective that
    require a gradient are trained and kept in checkpoints together with the network's; frozen ones are neither.
    """

    def forward(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss to minimise."""
        raise NotImplementedError


class Supervised(Objective):
    """The configured loss of the logits against the labels."""

    def __init__(self, config: TrainingConfig, train: Sequence[Source], n_classes: int) -> None:
        super().__init__()
        schedule = config.schedule
        weights = class_weights(class_frequencies(train, n_classes), schedule.class_balance)
        self.loss = SegmentationLoss(weights, schedule.losses, schedule.label_smoothing)

    def forward(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Of the logits of `network` for the images."""
        loss: Tensor = self.loss(network(normalise(images)), labels.long())
        return loss


class OfInstances(Objective):
    """The network's own losses of the instances that the labels consist of; the configured loss has no say."""

    def forward(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """network: an InstanceClassifier, or what wraps it."""
        found = [instances_of(image.cpu().numpy()) for image in labels]
        on_device = [{name: tensor.to(images.device) for name, tensor in each.items()} for each in found]
        loss: Tensor = network(normalise(images), instances=on_device)
        return loss


def objective_of(network: nn.Module, config: TrainingConfig, train: Sequence[Source], n_classes: int) -> Objective:
    """What a network of this kind learns by."""
    return OfInstances() if isinstance(network, InstanceClassifier) else Supervised(config, train, n_classes)
