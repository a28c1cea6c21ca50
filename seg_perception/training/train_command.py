"""`seg-perception train`: from a configuration to a trained network."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from seg_perception.core.classes import ClassTable
from seg_perception.core.memory import keep_freed_memory
from seg_perception.training import checkpoint
from seg_perception.training.completion import complete
from seg_perception.training.config import TrainingConfig
from seg_perception.training.data import load_held_out, load_sources
from seg_perception.training.devices import fabric_of
from seg_perception.training.start import whole_network
from seg_perception.training.trained import Trained
from seg_perception.training.trainer import Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--config", type=Path, required=True, help="training configuration, e.g. config/training/road_accurate.yaml"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of this training: checkpoints, log, curves")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --out")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="how many, one GPU each (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when the schedule was completed, 130 when a signal ended it (resume then)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    config = TrainingConfig.load(args.config)
    classes = config.resolve(config.classes)
    table = ClassTable.load(classes).for_network(classes)
    checkpoint.require_usable(args.out, args.resume)
    fabric = fabric_of(args.device, args.processes, config.schedule.bf16)
    fabric.launch()
    with fabric.rank_zero_first():  # the first process renders and extracts what the others only read
        train = load_sources(config, config.train, table)
        validation = load_held_out(config, table)
    resumed = Trained.load(args.out, file=checkpoint.LAST).network if args.resume else None
    network = resumed or whole_network(config, table)
    trainer = Trainer(config, table, train, validation, args.out, network=network, fabric=fabric)
    if args.resume:
        trainer.resume()
    elif config.model.weights and not network:
        trainer.start_from_weights()
    return complete(trainer, fabric, args.out)
