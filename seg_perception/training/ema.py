"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """`network` follows the trained one; early on faster, so that the random start is forgotten."""

    def __init__(self, trained: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(trained).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, trained: nn.Module, step: int) -> None:
        """Move towards `trained` after its optimiser step number `step`; batch statistics are averaged as well."""
        decay = min(self._decay, (1 + step) / (10 + step))
        pairs = list(zip(self.network.state_dict().values(), trained.state_dict().values(), strict=True))
        floats = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floats], [theirs for _, theirs in floats], 1 - decay)
        for mine, theirs in pairs:
            if not mine.is_floating_point():
                mine.copy_(theirs)
