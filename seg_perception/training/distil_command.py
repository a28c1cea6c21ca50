"""`seg-perception distil`: train a small network on the labels and on what a larger one says."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from seg_perception.core.classes import ClassTable
from seg_perception.core.memory import keep_freed_memory
from seg_perception.models.build import build
from seg_perception.training import checkpoint
from seg_perception.training.completion import complete
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import load_held_out, load_sources
from seg_perception.training.devices import fabric_of
from seg_perception.training.distil import Distillation, inherit, load_teacher
from seg_perception.training.objective import Supervised
from seg_perception.training.start import whole_network
from seg_perception.training.trained import Trained
from seg_perception.training.trainer import Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--config", type=Path, required=True, help="training configuration of the small network")
    parser.add_argument("--teacher", type=Path, required=True, help="a training or bundle with the same classes")
    parser.add_argument("--out", type=Path, required=True, help="folder of this training; export it like any other")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --out")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when the schedule was completed, 130 when a signal ended it (resume then). Raises TrainingError."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    config = TrainingConfig.load(args.config)
    classes = config.resolve(config.classes)
    table = ClassTable.load(classes).for_network(classes)
    checkpoint.require_usable(args.out, args.resume)
    teacher = load_teacher(args.teacher, table)
    train = load_sources(config, config.train, table)
    validation = load_held_out(config, table)
    torch.manual_seed(config.seed)
    model, n = config.model, len(table.classes)
    resumed = Trained.load(args.out, file=checkpoint.LAST).network if args.resume else None
    learned = resumed or whole_network(config, table)
    student = learned or build(model.architecture, model.encoder, model.options, n)
    inherited = 0 if learned else inherit(student, teacher)
    objective = Distillation(Supervised(config, train, n).loss, student, teacher, n, config.augment.crop)
    fabric = fabric_of(args.device, bf16=config.schedule.bf16)
    fabric.launch()
    trainer = Trainer(config, table, train, validation, args.out, objective, student, fabric)
    if args.resume:
        trainer.resume()
    elif inherited:
        print(f"the encoders are the same: {inherited} tensors start as the teacher's")
    elif model.weights and not learned:
        trainer.start_from_weights()
    return complete(trainer, fabric, args.out)
