"""`seg-perception qat`: fine-tune a trained network so that int8 costs it less."""

from __future__ import annotations

import argparse
import logging

from seg_perception.core.memory import keep_freed_memory
from seg_perception.training import finetune
from seg_perception.training.data import load_sources
from seg_perception.training.qat import observe, round_convolutions
from seg_perception.training.samples import spread
from seg_perception.training.trained import Trained

DEFAULT_STEPS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    finetune.add_arguments(parser, DEFAULT_STEPS)


def run(args: argparse.Namespace) -> int:
    """Fine-tune; 0 when the steps were completed, 130 when a signal ended it. Raises TrainingError."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    finetune.require_fresh(args)
    trained = Trained.load(args.training, args.config)
    config = trained.config
    round_convolutions(trained.network)
    images = spread(load_sources(config, config.train, trained.table)[0].samples, config.export.calibration_images)
    observe(trained.network, [image for image, _ in images])
    return finetune.finetune(args, trained, trained.network)
