"""Structured pruning: whole channels are taken out, so that less is computed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch_pruning
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seg_perception.core.errors import TrainingError, one_line
from seg_perception.models.build import InstanceClassifier, PixelClassifier

STEPS = 50
"""Channels are taken out in so many portions at most, until few enough multiplications are left."""

ROUND_TO = 8
"""Channels stay a multiple of this where there were more: what processors compute at once."""

MAX_LAYER_RATIO = 0.75
"""No layer loses more than this of its channels."""

TIMED = 9


@dataclass(frozen=True)
class Cost:
    """Of one image: multiplications (and additions), parameters, and the median time of a forward in torch, ms."""

    operations: int
    parameters: int
    forward_ms: float


def prune(network: PixelClassifier, ratio: float, n_classes: int) -> None:
    """Take out the channels of least weight, in place, until `ratio` (0..1) of the multiplications are gone.

    Which channels hang together is found by torch-pruning's dependency graph (Fang et al. 2023, DepGraph); of such a
    group counts the L2 norm of all its weights. Every layer loses the same share: ranked over the whole network, the
    deep layers would go, which have most of the channels and few of the multiplications.
    The classes' own channels stay.
    Raises TrainingError when the ratio cannot be reached, or for a network that cannot be pruned.
    """
    if not 0 < ratio < 1:
        raise TrainingError(f"--ratio is {ratio}; give the share of the multiplications to save, between 0 and 1")
    if isinstance(network, InstanceClassifier):
        raise TrainingError("mask_rcnn cannot be pruned: torch-pruning does not follow boxes; prune e.g. a unet")
    example = _example((2 * max(32, network.multiple),) * 2)  # shares of operations are those of any size
    unused = _unused(network, example)
    goal = (1 - ratio) * _operations(network, example, unused)
    try:
        pruner = _pruner(network, example, n_classes, unused)
        for _ in range(STEPS):
            pruner.step()
            if _operations(network, example, unused) <= goal:
                return
    except Exception as error:  # torch-pruning, or the network after it, fails however it comes
        reason = one_line(error)
        raise TrainingError(f"torch-pruning cannot follow this network ({reason}); choose another encoder") from error
    left = _operations(network, example, unused) / goal * (1 - ratio)
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
    unused = _unused(network, example)
    idle = sum(parameter.numel() for layer in unused.values() for parameter in layer.parameters())
    parameters = sum(parameter.numel() for parameter in network.parameters()) - idle
    return Cost(_operations(network, example, unused), parameters, float(np.median(times)))


def _pruner(
    network: PixelClassifier, example: torch.Tensor, n_classes: int, unused: Mapping[str, nn.Module]
) -> torch_pruning.BasePruner:
    heads = [layer for layer in _layers(network) if _outputs(layer) == n_classes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about parameters outside layers, which stay as they are
        return torch_pruning.BasePruner(
            network.eval(),
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=MAX_LAYER_RATIO,
            iterative_steps=STEPS,
            ignored_layers=[*heads, *unused.values()],
            round_to=ROUND_TO,
            forward_fn=_all_outputs,
        )


def _layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def _unused(network: nn.Module, example: torch.Tensor) -> dict[str, nn.Module]:
    """Layers that never run or whose results go nowhere: an encoder's stages beyond the decoder's depth. By name.

    Exporters leave them out, so they count neither as operations nor as channels to take.
    """
    network.zero_grad()
    network(example).sum().backward()
    names = {module: name for name, module in network.named_modules()}
    unused = {names[layer]: layer for layer in _layers(network) if layer.weight.grad is None}
    network.zero_grad()
    return unused


def _all_outputs(network: nn.Module, example: torch.Tensor) -> list[torch.Tensor]:
    """Also of layers whose results go nowhere: their inputs lose channels like those of any other."""
    found: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: found.append(output)) for layer in _layers(network)
    ]
    try:
        return [network(example), *found]
    finally:
        for hook in hooks:
            hook.remove()


def _outputs(layer: nn.Conv2d | nn.Linear) -> int:
    return layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features


def _example(size: tuple[int, int]) -> torch.Tensor:
    width, height = size
    return torch.zeros((1, 3, height, width)).to(memory_format=torch.channels_last)


def _operations(network: PixelClassifier, example: torch.Tensor, unused: Mapping[str, nn.Module]) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(example)
    counts = counter.get_flop_counts()
    idle = sum(sum(counts.get(f"{type(network).__name__}.{name}", {}).values()) for name in unused)
    return int(counter.get_total_flops() - idle)
