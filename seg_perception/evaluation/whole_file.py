"""Results on disk are whole or not there."""

from __future__ import annotations

from pathlib import Path

from seg_perception.core.errors import DataError


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 file beside `path`, then put it in its place. Raises DataError where that is impossible."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error}); choose another place") from error
