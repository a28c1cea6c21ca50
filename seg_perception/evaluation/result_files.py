"""The files that an evaluation leaves in its folder, and what reads its frames."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seg_perception.core.errors import DataError
from seg_perception.core.writable import write_whole

METRICS_FILE = "metrics.json"
FRAMES_FILE = "frames.jsonl"
PICTURES_FILE, PICTURES_FOLDER = "pictures.json", "pictures"
JUNIT_FILE = "junit.xml"
REPORT_FILE = "report.html"
BAGS_FOLDER = "bags"
"""Those of each recording, where there are many."""


def read_object(path: Path, advice: str = "evaluate again, or name another") -> dict[str, Any]:
    """A JSON file that an evaluation has written. Raises DataError, which ends in the advice."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {advice}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: is not the {path.name} of an evaluation; {advice}")
    return document


def write_json(path: Path, document: Any) -> None:
    """Raises DataError."""
    write_whole(path, json.dumps(document, indent=1) + "\n", DataError)


def rounded(value: float | int) -> float | int | None:
    """As it is written: JSON has no NaN, which is None."""
    if isinstance(value, int):
        return value
    return None if math.isnan(value) else round(value, 6)


def read_frames(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a frames.jsonl, one for each frame; a last line that was cut off is left out.

    Raises DataError with the line that cannot be read.
    """
    where = str(path)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith("\n"):
                    return
                where = f"{path}:{number}"
                frame = json.loads(line)
                if not isinstance(frame, dict):
                    raise ValueError("no JSON object")
                yield frame
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: cannot be read ({error}); evaluate again") from error
