"""Whether results find their place: asked before the work is done, and told in one line where they do not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seg_perception.core.errors import SegPerceptionError


@contextmanager
def writing(path: Path, kind: type[SegPerceptionError]) -> Iterator[None]:
    """Raises an error of this kind, which names the path, for what the disk refuses meanwhile."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise kind(f"{path}: cannot be written ({reason}); make room, or choose another place") from error


def require_writable(folder: Path) -> None:
    """Raises OSError unless files can be written in the folder, or in that above it where it can be made.

    Tried and not looked up: permissions do not tell of every file system. Nothing is left behind.
    """
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    with tempfile.TemporaryFile(dir=nearest):
        pass
