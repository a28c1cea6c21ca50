"""The log of a training: one CSV row per validation, and its curves as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from seg_perception.core.errors import TrainingError, one_line
from seg_perception.core.writable import write_whole
from seg_perception.training.confusion_picture import plain


class History:
    """Rows of numbers by name; rows may gain columns when a resumed training has more sources."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, float]] = []

    def load(self, up_to: int) -> None:
        """Read the rows up to a step: later ones belong to work that an interruption undid. Raises TrainingError."""
        if not self._path.exists():
            return
        try:
            with open(self._path, newline="", encoding="utf-8") as file:
                rows = [{key: _number(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
            self._rows = [row for row in rows if row["step"] <= up_to]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            raise TrainingError(
                f"{self._path}: is not the table that the training wrote ({one_line(error)}); restore it, or remove it "
                "and go on without its rows"
            ) from error

    def has(self, step: int) -> bool:
        """Whether there is a row of this step."""
        return any(row["step"] == step for row in self._rows)

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row with at least the key step."""
        self._rows.append(dict(row))

    def write(self, curves: Path) -> None:
        """Replace the CSV, then the picture. Raises TrainingError."""
        columns = list(dict.fromkeys(key for row in self._rows for key in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_whole(self._path, text.getvalue().encode(), TrainingError)
        write_whole(curves, self._picture([key for key in columns if key.startswith("miou ")]), TrainingError)

    def _picture(self, scores: list[str]) -> bytes:
        figure = Figure(figsize=(14, 4))
        left, middle, right = figure.subplots(1, 3)
        left.plot(*self._column("loss"))
        left.set(xlabel="step", title="training loss")
        middle.plot(*self._column("learning_rate"))
        middle.set(xlabel="step", title="learning rate")
        middle.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        for name in scores:
            right.plot(*self._column(name), label=plain(name.removeprefix("miou ")))
        right.set(xlabel="step", title="mIoU (averaged weights)", ylim=(0, 1))
        if scores:
            right.legend(loc="lower right")
        figure.subplots_adjust(left=0.05, right=0.99, bottom=0.13, top=0.92, wspace=0.17)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
        return buffer.getvalue()

    def _column(self, name: str) -> tuple[list[float], list[float]]:
        rows = [row for row in self._rows if name in row]
        return [row["step"] for row in rows], [row[name] for row in rows]


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)
