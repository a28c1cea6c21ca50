"""What a training leaves for people: `log.csv`, `curves.png`, confusion matrices as pictures, TensorBoard events."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import TrainingError
from seg_perception.core.metrics import iou, mean_dice, mean_iou, pixel_accuracy
from seg_perception.core.writable import write_whole
from seg_perception.training.confusion_picture import confusion_picture
from seg_perception.training.history import History

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """(n, n) confusions [truth, predicted] by source, and what follows from them."""

    confusions: Mapping[str, NDArray[np.int64]]

    @property
    def miou(self) -> dict[str, float]:
        """Mean IoU by source."""
        return {name: mean_iou(matrix) for name, matrix in self.confusions.items()}

    @property
    def overall(self) -> float:
        """Mean of the sources' mean IoU."""
        return sum(self.miou.values()) / len(self.miou)

    def row(self, table: ClassTable) -> dict[str, float]:
        """mIoU, mean Dice, pixel accuracy and the IoU of every class that occurs, by source."""
        result: dict[str, float] = {f"miou {name}": value for name, value in self.miou.items()}
        for name, matrix in self.confusions.items():
            result[f"dice {name}"] = mean_dice(matrix)
            result[f"accuracy {name}"] = pixel_accuracy(matrix)
            pairs = zip(table.classes, iou(matrix), strict=True)
            result |= {f"iou {name} {c.name}": float(value) for c, value in pairs if np.isfinite(value)}
        return result


class Records:
    """The records in one folder; everything in it is written whole or not at all. Raises TrainingError."""

    def __init__(self, out: Path, table: ClassTable) -> None:
        self._out = out
        self._table = table
        self._history = History(out / "log.csv")
        self._from_step = 0

    def resume(self, step: int) -> None:
        """Go on after this step: later records belong to work that an interruption undid."""
        self._history.load(up_to=step)
        self._from_step = step + 1

    def has(self, step: int) -> bool:
        """Whether there is a validation of this step."""
        return self._history.has(step)

    def add(self, scores: Scores, *, step: int, elapsed_s: float, learning_rate: float, loss: float | None) -> None:
        """Of a validation. loss: the mean since the last one, None without a step since then."""
        row = {"step": step, "elapsed_s": elapsed_s, "learning_rate": learning_rate}
        row |= {} if loss is None else {"loss": loss}
        log.info(" ".join(f"{key} {value:.4g}" for key, value in {**row, **_short(scores)}.items()))
        row |= scores.row(self._table)
        self._history.add(row)
        self._history.write(self._out / "curves.png")
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(name.replace(" ", "/", 1), value, step)
        self._events.flush()

    def draw_confusions(self, scores: Scores) -> None:
        """One picture per source: confusion_<source>.png."""
        for name, matrix in scores.confusions.items():
            path = self._out / f"confusion_{name.replace('/', '_')}.png"
            write_whole(path, confusion_picture(matrix, [c.name for c in self._table.classes], name), TrainingError)

    @cached_property
    def _events(self):  # type: ignore[no-untyped-def]  # tensorboard takes a second to import, and has no types
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self._out / "tensorboard"), purge_step=self._from_step)


def _short(scores: Scores) -> dict[str, float]:
    return {f"miou {name}": value for name, value in scores.miou.items()}
