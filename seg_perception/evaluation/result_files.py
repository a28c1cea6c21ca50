"""The files that an evaluation leaves in its folder, and what reads its frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seg_perception.core.errors import DataError

METRICS_FILE = "metrics.json"
FRAMES_FILE = "frames.jsonl"
PICTURES_FILE, PICTURES_FOLDER = "pictures.json", "pictures"
JUNIT_FILE = "junit.xml"
REPORT_FILE = "report.html"
BAGS_FOLDER = "bags"
"""Those of each recording, where there are many."""


def read_metrics(path: Path) -> dict[str, Any]:
    """What is in a metrics.json. Raises DataError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); evaluate again, or name another") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: is not the metrics.json of an evaluation; evaluate again, or name another")
    return document


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
