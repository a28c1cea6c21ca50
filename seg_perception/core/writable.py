"""Results on disk: whether they find their place, told in one line before the work is done; whole, or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seg_perception.core.errors import SegPerceptionError


@contextmanager
def writing(
    path: Path, kind: type[SegPerceptionError], advice: str = "make room, or choose another place"
) -> Iterator[None]:
    """Raises an error of this kind, which names the path, for what the disk refuses meanwhile."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise kind(f"{path}: cannot be written ({reason}); {advice}") from error


def require_writable(folder: Path) -> None:
    """Raises OSError unless files can be written in the folder, or in that above it where it can be made.

    Tried and not looked up: permissions do not tell of every file system. Nothing is left behind.
    """
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    with tempfile.TemporaryFile(dir=nearest):
        pass


def make_folder(path: Path, kind: type[SegPerceptionError]) -> None:
    """A folder for results, and those above it. Raises an error of this kind where the disk refuses files in it."""
    with writing(path, kind):
        path.mkdir(parents=True, exist_ok=True)
        require_writable(path)


def write_whole(path: Path, content: str | bytes | memoryview, kind: type[SegPerceptionError]) -> None:
    """Write beside (text as UTF-8), flush to disk, then rename over: an interruption leaves the old file or the new.

    Raises an error of this kind where the disk refuses, e.g. as it is full; the old file is intact then.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    with writing(path, kind):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(unfinished, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):  # the first error is the one to tell
                unfinished.unlink()
            raise
