"""The training loop: mixture in, averaged weights out, every state on disk."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import TrainingError
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.pretrained import load_encoder
from seg_perception.training import checkpoint
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import IndicesFrom, Mixture, Source
from seg_perception.training.devices import fabric_of
from seg_perception.training.ema import WeightAverage
from seg_perception.training.learning_rate import LearningRate
from seg_perception.training.loading import loaded, watched
from seg_perception.training.objective import Objective, objective_of
from seg_perception.training.precision import keep_depthwise_in_float32
from seg_perception.training.records import Records, Scores
from seg_perception.training.validation import validate

log = logging.getLogger(__name__)


class Trainer:
    """One training in a folder: `last.pt` (everything), `best.pt` (averaged weights), and the records of `Records`.

    objective: what to minimise instead of the configured loss. network: what to train instead of a new one.
    fabric: the device or devices to train on, launched; else one process on the CPU.
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
        fabric: Fabric | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.schedule.threads)
        self.config = config
        self._table = table
        self._mixture = Mixture(train, config.augment, config.seed)
        self._validation = validation
        self._out = out
        self._fabric = fabric or fabric_of(bf16=config.schedule.bf16)
        n = len(table.classes)
        model = config.model
        self.network = network or build(model.architecture, model.encoder, model.options, n)
        self._objective = (objective or objective_of(self.network, config, train, n)).to(self._fabric.device)
        self._replica, self._optimizer = self._fabric.setup(self.network, self._new_optimizer())
        self._average = WeightAverage(self.network, config.schedule.ema_decay)
        if self._fabric.device.type == "cpu":
            keep_depthwise_in_float32(self.network)
        self._rate = LearningRate(config.schedule)
        self._records = Records(out, table)
        self._stop = False
        self.step = 0
        self._elapsed_s = 0.0
        self._best = -math.inf
        self._validated_on = {source.name: source.fingerprint() for source in validation}

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

        A training that was resumed at its end, which has its record, is left as it is.
        Raises TrainingError when the loss is not finite, the disk is full or a process that loads images dies,
        DataError for samples that cannot be read; the checkpoints on disk stay those from before.
        """
        if self.progress >= 1 and self._records.has(self.step):
            log.info("%s: finished already, at step %d; lengthen the schedule to go on", self._out, self.step)
            return True
        losses: list[float] = []
        with self._stoppable(), watched(self._died), closing(self._batches()) as batches, self._bar() as bar:
            while self.progress < 1 and not self._stop:
                began = time.monotonic()
                losses.append(self._train_step(batches))
                self._elapsed_s += time.monotonic() - began
                self._agree()
                bar.set_postfix_str(f"step {self.step} loss {losses[-1]:.3f} best {self._best:.3f}", refresh=False)
                bar.update(100 * self.progress - bar.n)
                if self.step % self.config.schedule.validate_every == 0 and self.progress < 1:
                    self._keep(losses)
                    losses = []
        if self.progress >= 1:
            self._keep(losses)
        else:
            self._save_last()
        return self.progress >= 1

    def start_from_weights(self) -> None:
        """Begin with the encoder's weights that the configuration names. Raises TrainingError."""
        model = self.config.model
        load_encoder(self.network, model.encoder, model.weights, Path(self.config.base))
        self._average.network.load_state_dict(self.network.state_dict())

    def resume(self) -> None:
        """Continue from `last.pt`. Schedule and sources may have changed, the network not. Raises TrainingError."""
        path = self._out / checkpoint.LAST
        state = checkpoint.load_to_go_on(path)
        model = TrainingConfig.from_dict(state["config"]).model
        names = [entry["name"] for entry in state["classes"]]
        if not model.builds_the_same(self.config.model) or names != [entry.name for entry in self._table.classes]:
            raise TrainingError(f"{path}: was trained with another model or other classes; use another --out")
        if state.get("objective", {}).keys() != self._extra().keys():
            how = "with" if state.get("objective") else "without"
            raise TrainingError(f"{path}: was trained {how} a --teacher; do so again, or use another --out")
        try:
            self.network.load_state_dict(state["network"])
            self._average.network.load_state_dict(state["average"])
        except RuntimeError as error:
            raise TrainingError(
                f"{path}: holds a network that was changed, as prune and qat do; resume with the command that began it"
            ) from error
        self._objective.load_state_dict(state.get("objective", {}), strict=False)
        decays = [group["weight_decay"] for group in self._optimizer.param_groups]
        self._optimizer.load_state_dict(state["optimizer"])
        for group, decay in zip(self._optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay  # the state has that of the schedule before
        torch.set_rng_state(state["random"])
        self.step, self._elapsed_s = state["step"], state["elapsed_s"]
        self._rate.load_state_dict(state.get("learning_rate", {}))
        if state["validated_on"] == self._validated_on:
            self._best = state["best"]
        else:  # no score of before can be compared with those to come
            self._rate.forget_scores()
        self._records.resume(self.step)

    def _new_optimizer(self) -> torch.optim.AdamW:
        """Weight decay for kernels only: it harms biases and batch-norm scales."""
        schedule = self.config.schedule
        parameters = [*self.network.parameters(), *self._extra().values()]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": schedule.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, schedule.learning_rate)

    def _extra(self) -> dict[str, nn.Parameter]:
        """What the objective trains beside the network, by name."""
        return {name: p for name, p in self._objective.named_parameters() if p.requires_grad}

    def _batches(self) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Parts of batches without end, from the next step on, on the device."""
        schedule, fabric = self.config.schedule, self._fabric
        parts = schedule.accumulate * fabric.world_size
        if schedule.batch % parts:
            raise TrainingError(
                f"schedule.batch {schedule.batch} cannot be cut into {parts} equal parts, one per process and "
                "accumulation; change it"
            )
        sampler = IndicesFrom(self.step, schedule.batch, fabric.global_rank, fabric.world_size)
        pinned = fabric.device.type == "cuda"
        for images, labels in loaded(self._mixture, schedule.batch // parts, sampler, schedule.workers, pinned=pinned):
            yield fabric.to_device(images), fabric.to_device(labels)

    def _train_step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> float:
        schedule = self.config.schedule
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate.at(self.progress)
        self.network.train()
        self._optimizer.zero_grad()
        value = 0.0
        for part in range(schedule.accumulate):
            images, labels = next(batches)
            waits = self._fabric.world_size > 1 and part + 1 < schedule.accumulate
            with self._fabric.no_backward_sync(self._replica, enabled=waits):
                with self._fabric.autocast():
                    loss = self._loss(images, labels) / schedule.accumulate
                self._fabric.backward(loss)
            value += float(loss.detach())
        extra = list(self._extra().values())
        for parameter in extra:
            parameter.grad = self._fabric.all_reduce(parameter.grad)
        norm = nn.utils.clip_grad_norm_([*self.network.parameters(), *extra], schedule.gradient_clip)
        self._require_finite(value, float(norm))
        self._optimizer.step()
        self.step += 1
        self._average.update(self.network, self.step)
        return value

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Raises TrainingError where one image is too little to normalise by: a layer sees it as a single pixel."""
        try:
            return self._objective(self._replica, images, labels)
        except ValueError as error:
            if len(images) > 1:
                raise
            raise TrainingError(
                f"schedule.batch {self.config.schedule.batch} leaves one image per process and accumulation, too few "
                f"for this network ({error}); raise it, or lower schedule.accumulate"
            ) from error

    def _require_finite(self, loss: float, gradient: float) -> None:
        """Checked after the backward pass: the gradient is that of all processes, so all of them end."""
        for what, value in (("loss", loss), ("gradient", gradient)):
            if not math.isfinite(value):
                raise self._failure(f"the {what} is {value}", "lower schedule.learning_rate")

    def _died(self, reason: str) -> TrainingError:
        return self._failure(reason, "where memory ran out, lower schedule.workers or schedule.memory_gb")

    def _failure(self, what: str, remedy: str) -> TrainingError:
        last = self._out / checkpoint.LAST
        state = f"the last good state is {last}" if last.exists() else "no state was saved yet"
        go_on = "go on with --resume" if last.exists() else "start again"
        return TrainingError(f"step {self.step}: {what}; {state}; {remedy} and {go_on}")

    def _agree(self) -> None:
        """All processes stop at the same step: when the slowest has used up the time, or one got a signal."""
        if self._fabric.world_size > 1:
            said = self._fabric.all_reduce(torch.tensor([self._elapsed_s, float(self._stop)]), reduce_op="max")
            self._elapsed_s, self._stop = float(said[0]), bool(said[1])

    def _keep(self, losses: Sequence[float]) -> None:
        """Score the averaged weights; write records and checkpoints."""
        if self._fabric.is_global_zero:
            size = len(self._table.classes)
            scores = Scores({s.name: validate(self._average.network, s.samples, size) for s in self._validation})
            self._rate.scored(scores.overall)
            self._records.add(
                scores,
                step=self.step,
                elapsed_s=round(self._elapsed_s, 1),
                learning_rate=self._optimizer.param_groups[0]["lr"],
                loss=sum(losses) / len(losses) if losses else None,
            )
            if scores.overall > self._best:
                self._best = scores.overall
                checkpoint.save(self._out / checkpoint.BEST, self._weights(scores.miou))
                self._records.draw_confusions(scores)
        self._rate.load_state_dict(self._fabric.broadcast(self._rate.state_dict()))
        self._save_last()

    def _weights(self, scores: dict[str, float]) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "classes": self._table.to_dicts(),
            "average": self._average.network.state_dict(),
            "step": self.step,
            "elapsed_s": self._elapsed_s,
            "scores": scores,
        }

    def _save_last(self) -> None:
        if not self._fabric.is_global_zero:
            return
        state = self._weights({})
        state["network"] = self.network.state_dict()
        state["objective"] = {name: p.detach() for name, p in self._extra().items()}
        state["optimizer"] = self._optimizer.state_dict()
        state["learning_rate"] = self._rate.state_dict()
        state["random"] = torch.get_rng_state()
        state["best"] = self._best
        state["validated_on"] = self._validated_on
        checkpoint.save(self._out / checkpoint.LAST, state)

    def _bar(self) -> tqdm[Any]:
        """Progress in per cent of the schedule, whether that counts steps or minutes."""
        return tqdm(
            total=100.0,
            initial=100 * self.progress,
            desc="train",
            bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}",
            mininterval=1.0,
            disable=not self._fabric.is_global_zero,
        )

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
