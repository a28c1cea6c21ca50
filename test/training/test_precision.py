"""Depthwise convolutions in float32: faster to train, the same to everything else."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from torch import nn

from seg_perception.training.precision import keep_depthwise_in_float32


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1, groups=2))


def test_only_depthwise_layers_leave_bfloat16_and_only_under_autocast():
    layers, x = network(), torch.randn(1, 3, 16, 16)
    plain = layers(x)
    keep_depthwise_in_float32(layers)
    assert torch.equal(layers(x), plain)
    with torch.autocast("cpu", torch.bfloat16):
        first = layers[0](x)
        second = layers[1](first)
        assert [t.dtype for t in (first, second, layers[2](second))] == [torch.bfloat16, torch.float32, torch.bfloat16]


def test_state_and_copies_are_those_of_the_network():
    layers = network()
    names = list(layers.state_dict())
    keep_depthwise_in_float32(layers)
    assert list(layers.state_dict()) == names
    other = copy.deepcopy(layers)
    with torch.no_grad():
        other[1].weight.zero_()
    assert layers[1].weight.abs().sum() > 0
    assert torch.equal(other[1](torch.ones(1, 8, 5, 5)), other[1].bias.view(1, -1, 1, 1).expand(1, 8, 3, 3))
