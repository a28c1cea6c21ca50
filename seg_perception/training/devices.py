"""Where a training runs: one device, or several processes with one device each (DDP), through Lightning Fabric."""

from __future__ import annotations

import logging
import warnings

import torch
from lightning_fabric import Fabric

from seg_perception.core.errors import TrainingError


def fabric_of(device: str = "cpu", processes: int = 1, bf16: bool = False) -> Fabric:
    """auto (a GPU where there is one), cpu, cuda (as many GPUs as processes) or cuda:N.

    bf16: compute in bfloat16 where that is safe, keep weights in float32. Call `launch()` on what is returned before
    anything else: it starts the other processes. Raises TrainingError for a device that is not there.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning_fabric")  # advice to its own users
    if processes < 1:
        raise TrainingError(f"{processes} processes: at least 1 is needed")
    kind, index = _parse(device)
    if kind == "cuda":
        _check_gpus(device, processes, index)
    devices = [index] if index is not None else processes
    try:
        return Fabric(
            accelerator=kind,
            devices=devices,
            # Encoders may have stages below those that the decoder uses, which never get a gradient.
            strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
            precision="bf16-mixed" if bf16 else "32-true",
        )
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"device {device}, {processes} processes: {error}") from error


def _parse(device: str) -> tuple[str, int | None]:
    if device == "auto":
        return ("cuda", None) if torch.cuda.is_available() else ("cpu", None)
    kind, colon, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not index.isdigit()) or (kind == "cpu" and colon):
        raise TrainingError(f"device {device}: unknown; choose auto, cpu, cuda or cuda:N")
    return kind, int(index) if colon else None


def _check_gpus(device: str, processes: int, index: int | None) -> None:
    count = torch.cuda.device_count()
    if (processes if index is None else index + 1) > count:
        raise TrainingError(f"device {device}, {processes} processes: this machine has {count} GPUs that torch can use")
    if index is not None and processes > 1:
        raise TrainingError(f"device {device}: is one GPU for {processes} processes; give --device cuda")
