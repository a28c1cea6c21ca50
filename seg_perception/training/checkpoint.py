"""Checkpoints that are never half written and never unpickle code."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seg_perception.core.errors import TrainingError
from seg_perception.core.writable import require_writable, write_whole, writing
from seg_perception.engines.bundle import MANIFEST_FILE
from seg_perception.training.config import TrainingConfig

LAST = "last.pt"
BEST = "best.pt"

_NEEDED = {"config", "classes", "average", "step"}
_TO_GO_ON = {"network", "optimizer", "random", "elapsed_s", "best", "validated_on"}


def require_usable(folder: Path, resume: bool) -> None:
    """Raises TrainingError for a folder that cannot be written, of a bundle, or of a training that is not resumed."""
    if (folder / MANIFEST_FILE).exists():
        raise TrainingError(f"{folder}: is a bundle, which the next export would replace; give another --out")
    with writing(folder, TrainingError):
        require_writable(folder)
    if (folder / LAST).exists() and not resume:
        raise TrainingError(f"{folder}: holds a training already; add --resume, or give another --out")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write whole or not at all. Raises TrainingError."""
    buffer = io.BytesIO()  # torch aborts the process when the disk is full while it writes a file itself
    torch.save(state, buffer)
    write_whole(path, buffer.getbuffer(), TrainingError)


def slim(state: Mapping[str, Any], config: TrainingConfig) -> bytes:
    """The content of a checkpoint for a bundle: weights alone, kernels in half precision, `config` without folder."""
    average = {name: _halved(tensor) for name, tensor in state["average"].items()}
    buffer = io.BytesIO()
    kept = {key: state[key] for key in ("classes", "step", "elapsed_s", "scores")}
    document = dataclasses.replace(config, base="").to_dict()
    torch.save({"config": document, "average": average, **kept}, buffer)
    return buffer.getvalue()


def load_to_go_on(path: Path) -> dict[str, Any]:
    """As `load`, of a whole state. Raises TrainingError for weights alone."""
    state = load(path)
    if not state.keys() >= _TO_GO_ON:
        raise TrainingError(f"{path}: holds weights, not the state of a training; restore the file, or train anew")
    return state


def load(path: Path) -> dict[str, Any]:
    """Read tensors and plain values only. Raises TrainingError."""
    try:
        return parse(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: no checkpoint there; train first, or give the folder of a training") from error
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror})") from error


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """The state in the content of a checkpoint; `path` is named where it is none. Raises TrainingError."""
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises anything from EOFError to UnpicklingError on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"{path}: not a checkpoint of this program ({reason}); delete it or restore it") from error
    if not isinstance(state, dict) or not state.keys() >= _NEEDED:
        raise TrainingError(f"{path}: of torch, but not a checkpoint of this program; delete it or restore it")
    state["average"] = {name: _widened(tensor) for name, tensor in state["average"].items()}
    return state


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor
