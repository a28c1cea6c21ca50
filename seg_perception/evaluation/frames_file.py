"""frames.jsonl: what an evaluation found out about every frame, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seg_perception.core.errors import DataError

FRAMES_FILE = "frames.jsonl"


def read_frames(folder: Path) -> Iterator[dict[str, Any]]:
    """The frames of an evaluation in `folder`, in their order. Raises DataError with the line that cannot be read."""
    path = folder / FRAMES_FILE
    where = str(path)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                where = f"{path}:{number}"
                frame = json.loads(line)
                if not isinstance(frame, dict):
                    raise ValueError("no JSON object")
                yield frame
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: cannot be read ({error}); evaluate again") from error
