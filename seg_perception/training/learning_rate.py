"""How the learning rate goes over a training whose length may be minutes: by the share of it that is done."""

from __future__ import annotations

import math
from typing import Any

from seg_perception.training.config import ScheduleConfig

ONE_CYCLE_CLIMB, ONE_CYCLE_START, ONE_CYCLE_END = 0.3, 1 / 25, 1e-4
"""Smith and Topin, Super-Convergence (2018), with the shares that are usual since fastai."""


class LearningRate:
    """The rate at a progress of 0 … 1; `plateau` also listens to the scores of validations."""

    def __init__(self, schedule: ScheduleConfig) -> None:
        self._schedule = schedule
        self._state: dict[str, Any] = {"factor": 1.0}
        self.forget_scores()

    def at(self, progress: float) -> float:
        """The rate of the step that begins there."""
        schedule = self._schedule
        if schedule.policy == "one_cycle":
            return schedule.learning_rate * _one_cycle(progress)
        if progress < schedule.warmup:
            return schedule.learning_rate * max(progress / schedule.warmup, 0.01)
        if schedule.policy == "plateau":
            return schedule.learning_rate * float(self._state["factor"])
        return schedule.learning_rate * _cosine(1.0, 0.01, (progress - schedule.warmup) / (1 - schedule.warmup + 1e-9))

    def scored(self, score: float) -> None:
        """After a validation: `patience` of them without a better score halve the rate of a plateau."""
        state = self._state
        if score > state["best"]:
            state.update(best=score, waited=0)
            return
        state["waited"] += 1
        if state["waited"] >= self._schedule.patience:
            state.update(waited=0, factor=state["factor"] / 2)

    def forget_scores(self) -> None:
        """The scores to come are of something else."""
        self._state.update(best=-math.inf, waited=0)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._state.update(state)


def _one_cycle(progress: float) -> float:
    if progress < ONE_CYCLE_CLIMB:
        return _cosine(ONE_CYCLE_START, 1.0, progress / ONE_CYCLE_CLIMB)
    return _cosine(1.0, ONE_CYCLE_END, (progress - ONE_CYCLE_CLIMB) / (1 - ONE_CYCLE_CLIMB))


def _cosine(begin: float, end: float, share: float) -> float:
    """Half a cosine from `begin` to `end`."""
    return end + (begin - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
