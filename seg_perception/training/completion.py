"""How the commands that train come to their end."""

from __future__ import annotations

from pathlib import Path

from lightning_fabric import Fabric

from seg_perception.training import checkpoint
from seg_perception.training.trainer import Trainer

EXIT_INTERRUPTED = 130


def complete(trainer: Trainer, fabric: Fabric, out: Path) -> int:
    """Train to the end; 0 when the schedule was completed, 130 when a signal ended it (resume then)."""
    completed = trainer.fit()
    if fabric.is_global_zero:
        done = f"trained {trainer.step} steps; weights in {out / checkpoint.BEST}"
        print(done if completed else f"stopped at step {trainer.step}; go on with --resume")
    return 0 if completed else EXIT_INTERRUPTED
