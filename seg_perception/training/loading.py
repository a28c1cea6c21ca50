"""Batches of samples from processes that load them, which end with the training and only then."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.synchronize import Event

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from seg_perception.core.errors import DataError
from seg_perception.training.data import Mixture


def loaded(
    samples: Mixture, batch: int, sampler: Iterable[int], workers: int, *, pinned: bool
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Images and labels of the sampler's indices, `batch` of them at a time, loaded ahead by `workers` processes.

    Close it to let them end. pinned: into memory that a GPU copies from. Raises DataError for samples that cannot be
    read.
    """
    ending = multiprocessing.Event()
    loader = DataLoader(
        samples,
        batch,
        sampler=sampler,
        num_workers=workers,
        worker_init_fn=partial(_start_worker, ending),
        prefetch_factor=4 if workers else None,
        pin_memory=pinned,
        generator=torch.Generator(),  # else it draws from the network's own random numbers, a resumed one anew
    )
    try:
        yield from loader
    except DataError as error:  # from a worker it comes with the worker's traceback
        raise DataError(str(error).strip().splitlines()[-1].rpartition(f"{DataError.__name__}: ")[2]) from error
    finally:
        ending.set()


@contextmanager
def watched(failure: Callable[[str], Exception]) -> Iterator[None]:
    """Raise the failure of that reason where a loading process dies.

    Torch notices in a handler of a signal, so that whatever the trainer does just then raises its error.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        # Where the signal came while torch waited for samples, the error that tells of the kill is behind its own.
        reason = error.__cause__ if isinstance(error.__cause__, RuntimeError) else error
        raise failure(f"{str(reason).strip().rstrip('.')}; it loaded images") from error


def _start_worker(ending: Event, worker: int) -> None:
    cv2.setNumThreads(0)
    os.setpgrp()  # signals to the process group are for the trainer, which ends its workers itself

    def end(number: int, frame: object) -> None:
        if ending.is_set():
            os._exit(1)

    signal.signal(signal.SIGTERM, end)  # systemd and Slurm send it to every process, Python to those left at its end
