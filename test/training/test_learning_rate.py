"""The learning rate starts low, peaks once, ends low; a plateau waits, then halves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning_fabric", reason="training needs more: pip install -r requirements/train.txt")

from seg_perception.core.errors import TrainingError
from seg_perception.training.config import ScheduleConfig
from seg_perception.training.devices import fabric_of
from seg_perception.training.learning_rate import LearningRate


def _rates(**options: Any) -> np.ndarray:
    rate = LearningRate(ScheduleConfig(steps=100, learning_rate=0.1, **options))
    return np.array([rate.at(progress) for progress in np.linspace(0, 1, 101)])


@pytest.mark.parametrize(
    ("policy", "first", "peak_at", "last"), [("cosine", 0.001, 10, 0.001), ("one_cycle", 0.004, 30, 1e-5)]
)
def test_one_peak(policy: str, first: float, peak_at: int, last: float) -> None:
    rates = _rates(policy=policy, warmup=0.1)
    assert rates[0] == pytest.approx(first)
    assert rates.argmax() == peak_at
    assert rates.max() == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(last)
    assert (np.diff(rates[: peak_at + 1]) > 0).all()
    assert (np.diff(rates[peak_at:]) < 0).all()


def test_plateau_halves_after_its_patience_and_survives_a_resume() -> None:
    schedule = ScheduleConfig(steps=100, learning_rate=0.1, policy="plateau", patience=2, warmup=0.0)
    rate = LearningRate(schedule)
    seen = []
    for score in (0.5, 0.6, 0.6, 0.55, 0.7, 0.1, 0.1, 0.1):
        rate.scored(score)
        resumed = LearningRate(schedule)
        resumed.load_state_dict(rate.state_dict())
        rate = resumed
        seen.append(rate.at(0.5))
    assert seen == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025])


@pytest.mark.parametrize(
    ("device", "processes", "message"),
    [
        ("tpu", 1, "device tpu: unknown; choose auto, cpu, cuda or cuda:N"),
        ("cpu:1", 1, "device cpu:1: unknown"),
        ("cuda:99", 1, r"device cuda:99, 1 processes: this machine has \d+ GPUs"),
        ("cuda", 99, r"device cuda, 99 processes: this machine has \d+ GPUs"),
    ],
)
def test_devices_that_are_not_there_are_named(device: str, processes: int, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        fabric_of(device, processes)
