"""A short training that goes on from a trained network."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from seg_perception.core.errors import TrainingError
from seg_perception.models.build import PixelClassifier
from seg_perception.training import checkpoint
from seg_perception.training.completion import complete
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import load_held_out, load_sources
from seg_perception.training.devices import fabric_of
from seg_perception.training.distil import Distillation, load_teacher
from seg_perception.training.objective import Supervised
from seg_perception.training.trained import Trained
from seg_perception.training.trainer import Trainer

LEARNING_RATE_SHARE = 0.2
"""Of the training's learning rate: the network is good already, and only has to adapt."""


def add_arguments(parser: argparse.ArgumentParser, steps: int) -> None:
    """Options that all fine-tuning commands share; `steps` is their default."""
    parser.add_argument(
        "--training", type=Path, required=True, help="folder of a training, or a bundle that came from one"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the fine-tuning; export it like a training")
    parser.add_argument(
        "--config",
        type=Path,
        help="another configuration than the training's, e.g. as the data moved; a bundle needs one",
    )
    parser.add_argument("--steps", type=int, default=steps, help="length of the fine-tuning (default: %(default)s)")
    parser.add_argument(
        "--learning-rate", type=float, help=f"highest one (default: {LEARNING_RATE_SHARE} of the training's)"
    )
    parser.add_argument("--teacher", type=Path, help="a training or bundle to learn from, too; may be --training")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --out")


def require_fresh(args: argparse.Namespace) -> None:
    """Raises TrainingError where `--out` cannot be written, or would overwrite a training."""
    if args.out.resolve() == args.training.resolve():
        raise TrainingError(f"{args.out}: is the training itself; give another --out")
    checkpoint.require_usable(args.out, args.resume)


def finetune(args: argparse.Namespace, trained: Trained, network: PixelClassifier) -> int:
    """Train `network` into `args.out`; 0 when the steps were completed, 130 when a signal ended it (resume then)."""
    config = shortened(trained.config, args.steps, args.learning_rate)
    train = load_sources(config, config.train, trained.table)
    validation = load_held_out(config, trained.table)
    fabric = fabric_of(args.device, bf16=config.schedule.bf16)
    fabric.launch()
    objective = None
    if args.teacher:
        torch.manual_seed(config.seed)
        n = len(trained.table.classes)
        teacher = load_teacher(args.teacher, trained.table)
        objective = Distillation(Supervised(config, train, n).loss, network, teacher, n, config.augment.crop)
    trainer = Trainer(config, trained.table, train, validation, args.out, objective, network, fabric)
    if args.resume:
        trainer.resume()
    return complete(trainer, fabric, args.out)


def shortened(config: TrainingConfig, steps: int, learning_rate: float | None) -> TrainingConfig:
    """The same training with fewer steps and a lower learning rate."""
    schedule = dataclasses.replace(
        config.schedule,
        steps=steps,
        minutes=None,
        learning_rate=LEARNING_RATE_SHARE * config.schedule.learning_rate if learning_rate is None else learning_rate,
        validate_every=min(config.schedule.validate_every, steps),
    )
    return dataclasses.replace(config, schedule=schedule)
