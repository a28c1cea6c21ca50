"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from seg_perception.core.errors import TrainingError


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write beside, flush to disk, then rename over: an interruption leaves the old file or the new one.

    Raises TrainingError where the disk does not take it, e.g. as it is full; the old file is intact then.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink()
        raise TrainingError(
            f"{path}: cannot be written ({error.strerror or error}); what was there is unchanged; make room and resume"
        ) from error
