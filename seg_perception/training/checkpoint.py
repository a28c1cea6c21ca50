"""Checkpoints that are never half written and never unpickle code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from seg_perception.core.errors import TrainingError

LAST = "last.pt"
BEST = "best.pt"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside, flush to disk, then rename over: an interruption leaves the old checkpoint or the new one."""
    temporary = path.with_suffix(".partial")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Read tensors and plain values only. Raises TrainingError."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: no checkpoint there; train first, or give the folder of a training") from error
    except Exception as error:  # torch.load raises anything from EOFError to UnpicklingError on a damaged file
        raise TrainingError(f"{path}: not a checkpoint of this program ({error}); delete it or restore it") from error
    return state
