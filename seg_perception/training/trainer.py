"""The training loop: mixture in, averaged weights out, every state on disk."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import TrainingError
from seg_perception.core.metrics import mean_iou
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.pretrained import load_encoder
from seg_perception.training import checkpoint
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import IndicesFrom, Mixture, Source
from seg_perception.training.ema import WeightAverage
from seg_perception.training.history import History
from seg_perception.training.objective import Objective, Supervised
from seg_perception.training.validation import validate

log = logging.getLogger(__name__)


class Trainer:
    """One training in a folder: `last.pt` (everything), `best.pt` (averaged weights), `log.csv`, `curves.png`.

    objective: what to minimise instead of the configured loss. network: what to train instead of a new one.
    """

    def __init__(
        self,
        config: TrainingConfig,
        table: ClassTable,
        train: Sequence[Source],
        validation: Sequence[Source],
        out: Path,
        objective: Objective | None = None,
        network: PixelClassifier | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.schedule.threads)
        self.config = config
        self._table = table
        self._mixture = Mixture(train, config.augment, config.seed)
        self._validation = validation
        self._out = out
        n = len(table.classes)
        model = config.model
        self.network = network or build(model.architecture, model.encoder, model.options, n)
        self._average = WeightAverage(self.network, config.schedule.ema_decay)
        self._objective = objective or Supervised(config, train, n)
        self._optimizer = torch.optim.AdamW(
            _parameter_groups([*self.network.parameters(), *self._extra().values()], config.schedule.weight_decay),
            config.schedule.learning_rate,
        )
        self._history = History(out / "log.csv")
        self._stop = False
        self.step = 0
        self._elapsed_s = 0.0
        self._best = -math.inf

    @property
    def progress(self) -> float:
        """0 at the start … 1 at the end of the schedule."""
        schedule = self.config.schedule
        if schedule.steps is not None:
            return min(1.0, self.step / schedule.steps)
        assert schedule.minutes is not None
        return min(1.0, self._elapsed_s / (60 * schedule.minutes))

    def fit(self) -> bool:
        """Train to the end of the schedule; False when a signal ended it earlier (the state is saved then).

        Raises TrainingError when the loss is not finite; the checkpoints on disk stay those from before.
        """
        self._out.mkdir(parents=True, exist_ok=True)
        losses: list[float] = []
        with self._stoppable(), _Bar(self.progress) as bar:
            batches = self._batches()
            while self.progress < 1 and not self._stop:
                began = time.monotonic()
                images, labels = next(batches)
                losses.append(self._train_step(images, labels))
                self._elapsed_s += time.monotonic() - began
                bar.show(self.progress, f"step {self.step} loss {losses[-1]:.3f} best {self._best:.3f}")
                if self.step % self.config.schedule.validate_every == 0 and self.progress < 1:
                    self._keep(losses)
                    losses = []
        if self.progress >= 1:
            self._keep(losses)
        else:
            self._save_last()
        return not self._stop

    def start_from_weights(self) -> None:
        """Begin with the encoder's weights that the configuration names. Raises TrainingError."""
        model = self.config.model
        load_encoder(self.network, model.encoder, model.weights, Path(self.config.base))
        self._average.network.load_state_dict(self.network.state_dict())

    def resume(self) -> None:
        """Continue from `last.pt`. Schedule and sources may have changed, the network not. Raises TrainingError."""
        path = self._out / checkpoint.LAST
        state = checkpoint.load(path)
        model = TrainingConfig.from_dict(state["config"]).model
        if model != self.config.model or state["classes"] != self._table.to_dicts():
            raise TrainingError(f"{path}: was trained with another model or other classes; use another --out")
        self.network.load_state_dict(state["network"])
        self._average.network.load_state_dict(state["average"])
        self._objective.load_state_dict(state.get("objective", {}), strict=False)
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.step, self._elapsed_s = state["step"], state["elapsed_s"]
        same_scores = state["validated_on"] == [source.name for source in self._validation]
        self._best = state["best"] if same_scores else -math.inf
        self._history.load(up_to=self.step)

    def _extra(self) -> dict[str, nn.Parameter]:
        """What the objective trains beside the network, by name."""
        return {name: p for name, p in self._objective.named_parameters() if p.requires_grad}

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        schedule = self.config.schedule
        loader = DataLoader(
            self._mixture,
            schedule.batch,
            sampler=IndicesFrom(self.step * schedule.batch),
            num_workers=schedule.workers,
            worker_init_fn=_single_threaded,
            prefetch_factor=4 if schedule.workers else None,
        )
        return iter(loader)

    def _train_step(self, images: Tensor, labels: Tensor) -> float:
        schedule = self.config.schedule
        rate = self._learning_rate()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bf16):
            loss = self._objective(self.network, images, labels)
        value = float(loss.detach())
        self._require_finite("loss", value)
        self._optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), schedule.gradient_clip)
        self._require_finite("gradient", float(norm))
        self._optimizer.step()
        self.step += 1
        self._average.update(self.network, self.step)
        return value

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"step {self.step}: the {what} is {value}; the last good state is {self._out / checkpoint.LAST}; "
                "lower schedule.learning_rate and resume"
            )

    def _learning_rate(self) -> float:
        """Linear warm-up, then a half cosine down to a hundredth."""
        schedule, progress = self.config.schedule, self.progress
        if progress < schedule.warmup:
            return schedule.learning_rate * max(progress / schedule.warmup, 0.01)
        cosine = (1 + math.cos(math.pi * (progress - schedule.warmup) / max(1 - schedule.warmup, 1e-9))) / 2
        return schedule.learning_rate * (0.01 + 0.99 * cosine)

    def _keep(self, losses: Sequence[float]) -> None:
        """Score the averaged weights; write log, curves and checkpoints."""
        size = len(self._table.classes)
        scores = {s.name: mean_iou(validate(self._average.network, s.samples, size)) for s in self._validation}
        row = {
            "step": self.step,
            "elapsed_s": round(self._elapsed_s, 1),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "loss": sum(losses) / max(1, len(losses)),
            **{f"miou {name}": score for name, score in scores.items()},
        }
        self._history.add(row)
        self._history.write(self._out / "curves.png")
        log.info(" ".join(f"{key} {value:.4g}" for key, value in row.items()))
        overall = sum(scores.values()) / len(scores)
        if overall > self._best:
            self._best = overall
            checkpoint.save(self._out / checkpoint.BEST, self._weights(scores))
        self._save_last()

    def _weights(self, scores: Mapping[str, float]) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "classes": self._table.to_dicts(),
            "average": self._average.network.state_dict(),
            "step": self.step,
            "elapsed_s": self._elapsed_s,
            "scores": dict(scores),
        }

    def _save_last(self) -> None:
        state = self._weights({})
        state["network"] = self.network.state_dict()
        state["objective"] = {name: p.detach() for name, p in self._extra().items()}
        state["optimizer"] = self._optimizer.state_dict()
        state["random"] = torch.get_rng_state()
        state["best"] = self._best
        state["validated_on"] = [source.name for source in self._validation]
        checkpoint.save(self._out / checkpoint.LAST, state)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the loop after the step under way."""

        def stop(number: int, frame: object) -> None:
            self._stop = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Bar:
    """Progress in per cent of the schedule, whether that counts steps or minutes."""

    def __init__(self, progress: float) -> None:
        form = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
        self._bar = tqdm(total=100.0, initial=100 * progress, desc="train", bar_format=form, mininterval=1.0)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, progress: float, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(100 * progress - self._bar.n)


def _parameter_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for kernels only: it harms biases and batch-norm scales."""
    kernels = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _single_threaded(worker: int) -> None:
    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the process group: the trainer ends its workers itself
        signal.signal(number, signal.SIG_IGN)
