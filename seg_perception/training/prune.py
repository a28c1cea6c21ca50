"""Structured pruning: whole channels are taken out, so that less is computed."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch_pruning
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seg_perception.core.errors import TrainingError
from seg_perception.models.build import PixelClassifier

STEPS = 100
"""Channels are taken out in so many portions at most, until few enough multiplications are left."""

ROUND_TO = 8
"""Channels stay a multiple of this where there were more: what processors compute at once."""

MAX_LAYER_RATIO = 0.75
"""No layer loses more than this of its channels."""

TIMED = 15


@dataclass(frozen=True)
class Cost:
    """Of one image: multiplications (and additions), parameters, and the median time of a forward in torch, ms."""

    operations: int
    parameters: int
    forward_ms: float


def prune(network: PixelClassifier, ratio: float, size: tuple[int, int], n_classes: int) -> None:
    """Take out the channels of least weight, in place, until `ratio` (0..1) of the multiplications are gone.

    Which channels hang together is found by torch-pruning's dependency graph (Fang et al. 2023, DepGraph); a group
    counts as much as the L2 norm of all its weights, compared over the whole network.
    size: (width, height) of the images. The classes' own channels stay.
    Raises TrainingError when the ratio cannot be reached.
    """
    if not 0 < ratio < 1:
        raise TrainingError(f"--ratio is {ratio}; give the share of the multiplications to save, between 0 and 1")
    example = _example(size)
    goal = (1 - ratio) * _operations(network, example)
    pruner = _pruner(network, example, n_classes)
    for _ in range(STEPS):
        pruner.step()
        if _operations(network, example) <= goal:
            return
    left = _operations(network, example) / goal * (1 - ratio)
    raise TrainingError(f"--ratio {ratio}: at most {1 - left:.2f} can be pruned from this network; give a lower ratio")


def cost(network: PixelClassifier, size: tuple[int, int]) -> Cost:
    """What a forward of an image of (width, height) takes on this machine."""
    example = _example(size)
    times = []
    with torch.inference_mode():
        for _ in range(TIMED):
            began = time.perf_counter()
            network(example)
            times.append(1000 * (time.perf_counter() - began))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(_operations(network, example), parameters, float(np.median(times)))


def _pruner(network: PixelClassifier, example: torch.Tensor, n_classes: int) -> torch_pruning.BasePruner:
    heads = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and _outputs(m) == n_classes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters outside layers, which stay as they are
        return torch_pruning.BasePruner(
            network.eval(),
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            global_pruning=True,
            pruning_ratio=MAX_LAYER_RATIO,
            max_pruning_ratio=MAX_LAYER_RATIO,
            iterative_steps=STEPS,
            ignored_layers=heads,
            round_to=ROUND_TO,
        )


def _outputs(layer: nn.Conv2d | nn.Linear) -> int:
    return layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features


def _example(size: tuple[int, int]) -> torch.Tensor:
    width, height = size
    return torch.zeros((1, 3, height, width)).to(memory_format=torch.channels_last)


def _operations(network: PixelClassifier, example: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(example)
    return int(counter.get_total_flops())
