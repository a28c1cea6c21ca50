"""What a training begins with when it goes on from another: its whole network, for other classes, too."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import TrainingError
from seg_perception.engines.bundle import WEIGHTS_FILE
from seg_perception.models.build import InstanceClassifier, PixelClassifier, build
from seg_perception.models.pretrained import IMAGENET
from seg_perception.models.weights import load_weights
from seg_perception.training.checkpoint import BEST
from seg_perception.training.config import ModelConfig, TrainingConfig
from seg_perception.training.trained import Trained

log = logging.getLogger(__name__)


def whole_network(config: TrainingConfig, table: ClassTable) -> PixelClassifier | None:
    """The network of the training or bundle that `model.weights` names.

    None where it names the weights of an encoder, or nothing. Raises TrainingError.
    """
    start = _start_of(config)
    if start is None:
        return None
    torch.manual_seed(config.seed)
    return network_from(start, config.model, table)


def network_from(start: Path, model: ModelConfig, table: ClassTable) -> PixelClassifier:
    """The network of a training or bundle, with the classes of `table`; those of the same name keep what they learned.

    Raises TrainingError, where its model is not `model`, too.
    """
    given = Trained.load(start)
    log.info("weights %s: those of %s", start, given.path)
    if not given.config.model.builds_the_same(model):
        theirs = given.config.model
        raise TrainingError(
            f"weights {start}: are of the model {theirs.architecture}, {theirs.encoder}, {theirs.options}; "
            "the configuration has another; give it the same"
        )
    before, after = ([entry.name for entry in t.classes] for t in (given.table, table))
    if before == after:
        return given.network
    if isinstance(given.network, InstanceClassifier):
        raise TrainingError(f"weights {start}: mask_rcnn cannot go on with other classes than {', '.join(before)}")
    network = build(model.architecture, model.encoder, model.options, len(after))
    learned, fresh = given.network.state_dict(), network.state_dict()
    heads = {name: _rows(fresh[name], learned[name], before, after) for name in _of_classes(model, len(after))}
    load_weights(network, {**learned, **heads}, str(start))
    return network


def _start_of(config: TrainingConfig) -> Path | None:
    weights = config.model.weights
    if not weights or weights == IMAGENET:
        return None
    path = config.resolve(weights)
    if path.is_file():
        return path.parent if path.name in (BEST, WEIGHTS_FILE) else None
    if path.is_dir():
        return path
    is_name = Path(weights).name == weights and not Path(weights).suffix and ":" not in weights
    return Path(weights) if is_name else None


def _of_classes(model: ModelConfig, n_classes: int) -> list[str]:
    """Names of the tensors that have a row for every class: those that grow when one is added."""
    fewer, more = (
        build(model.architecture, model.encoder, model.options, n).state_dict() for n in (n_classes, n_classes + 1)
    )
    return [name for name, tensor in fewer.items() if tensor.shape != more[name].shape]


def _rows(fresh: Tensor, learned: Tensor, before: Sequence[str], after: Sequence[str]) -> Tensor:
    """(classes, …) of `after`: as learned for classes that were there `before`; the others fresh, narrowed alike."""
    narrowed = fresh[tuple(slice(0, size) for size in (None, *learned.shape[1:]))]
    rows = [learned[before.index(name)] if name in before else row for name, row in zip(after, narrowed, strict=True)]
    return torch.stack(rows)
