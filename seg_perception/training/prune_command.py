"""`seg-perception prune`: take channels out of a trained network, then train what is left."""

from __future__ import annotations

import argparse
import logging

import torch

from seg_perception.core.errors import TrainingError, one_line
from seg_perception.core.memory import keep_freed_memory
from seg_perception.models.build import build
from seg_perception.models.weights import load_weights
from seg_perception.training import checkpoint, finetune
from seg_perception.training.prune import Cost, cost, prune
from seg_perception.training.trained import Trained

DEFAULT_STEPS = 4000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    finetune.add_arguments(parser, DEFAULT_STEPS)
    parser.add_argument(
        "--ratio", type=float, default=0.4, help="share of the multiplications to save, 0..1 (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Prune and fine-tune; 0 when the steps were completed, 130 when a signal ended it. Raises TrainingError."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    finetune.require_fresh(args)
    trained = Trained.load(args.training, args.config)
    if args.resume:
        pruned = Trained.load(args.out, args.config, checkpoint.LAST)
        print(f"--ratio is that of the beginning: {_saved(trained, pruned):.0%} of the multiplications are gone")
        return finetune.finetune(args, trained, pruned.network)
    torch.set_num_threads(trained.config.schedule.threads)
    width, height = trained.config.input_size
    before = cost(trained.network, (width, height))
    prune(trained.network, args.ratio, len(trained.table.classes))
    _require_readable(trained)
    print(_comparison(before, cost(trained.network, (width, height))))
    return finetune.finetune(args, trained, trained.network)


def _saved(trained: Trained, pruned: Trained) -> float:
    before, after = (cost(each.network, trained.config.input_size).operations for each in (trained, pruned))
    return 1.0 - after / before


def _require_readable(pruned: Trained) -> None:
    """Raises TrainingError where what is saved could not be built again: better known before the training."""
    model = pruned.config.model
    again = build(model.architecture, model.encoder, model.options, len(pruned.table.classes)).eval()
    width, height = pruned.config.input_size
    try:
        load_weights(again, pruned.network.state_dict(), "the pruned network")
        with torch.inference_mode():
            again(torch.zeros((1, 3, height, width)))
    except (RuntimeError, TrainingError) as error:
        reason = one_line(error)
        raise TrainingError(f"{model.encoder} cannot be pruned: it could not be read back ({reason})") from error


def _comparison(before: Cost, after: Cost) -> str:
    rows = [
        ("operations, G", before.operations / 1e9, after.operations / 1e9),
        ("parameters, M", before.parameters / 1e6, after.parameters / 1e6),
        ("torch forward, ms", before.forward_ms, after.forward_ms),
    ]
    return "\n".join(f"{name:20} {old:9.2f} → {new:9.2f}  ({new / old - 1:+.0%})" for name, old, new in rows)
