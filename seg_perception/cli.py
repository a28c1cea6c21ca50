"""`seg-perception`: the commands of this package."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from numpy.lib import NumpyVersion

from seg_perception.core.errors import SegPerceptionError

COMMANDS = {
    "demo": ("seg_perception.evaluation.demo_command", "drive through a simulated street, or over your own material"),
    "doctor": ("seg_perception.evaluation.doctor_command", "show what is installed and whether the bundles are good"),
    "benchmark": ("seg_perception.evaluation.benchmark_command", "measure speed and memory on this machine"),
    "evaluate": ("seg_perception.evaluation.evaluate_command", "replay bags or images, score masks and grids"),
    "compare": ("seg_perception.evaluation.compare_command", "two evaluations of the same frames, with intervals"),
    "evaluate-grid": ("seg_perception.evaluation.evaluate_grid_command", "how far the grid can be trusted"),
    "train": ("seg_perception.training.train_command", "train a model on labelled images"),
    "distil": ("seg_perception.training.distil_command", "train a small model on the labels and a larger model"),
    "prune": ("seg_perception.training.prune_command", "take channels out of a trained model, then fine-tune it"),
    "qat": ("seg_perception.training.qat_command", "fine-tune a trained model so that int8 costs it less"),
    "export": ("seg_perception.training.export_command", "export a training as a bundle, int8 where it passes"),
    "import": ("seg_perception.training.import_command", "make a bundle of a network that was trained elsewhere"),
}
"""Name → (module with `add_arguments(parser)` and `run(args) -> exit code`, one line of help)."""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 good, 2 an error the message explains, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parse(arguments)
        code: int = args.run(args)
        return code
    except SegPerceptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except ModuleNotFoundError as error:  # of a part that only some inputs need: the simulator, bags
        if (error.name or "").startswith("seg_perception"):
            raise
        print(f"error: {_missing(arguments[0], error, 'cpu,sim,evaluate,train')}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001 (Python's own exit code would be 1, which `evaluate` has for a missed threshold)
        traceback.print_exc()
        return EXIT_ERROR


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Imports the chosen command only: `doctor` must work where torch or ROS are missing."""
    parser = argparse.ArgumentParser(prog="seg-perception", description="Semantic segmentation and occupancy grids.")
    subparsers = parser.add_subparsers(metavar="command", required=True)
    chosen = next((argument for argument in arguments if argument in COMMANDS), None)
    for name, (module_name, text) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=text, description=text)
        if name == chosen:
            module = _import(name, module_name)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser.parse_args(arguments)


def _import(command: str, module_name: str):  # type: ignore[no-untyped-def]
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("seg_perception"):
            raise
        extra = "cpu,sim,evaluate,train" if module_name.startswith("seg_perception.training") else "cpu,sim,evaluate"
        raise SegPerceptionError(_missing(command, error, extra)) from error


def _missing(command: str, error: ModuleNotFoundError, extra: str) -> str:
    # Newer ones break what Ubuntu's ROS was built for; nor does a second ONNX Runtime belong beside the one for a GPU.
    numpy = ' "numpy<1.25"' if NumpyVersion(np.__version__) < "1.25.0" else ""
    extra = extra.removeprefix("cpu,") if find_spec("onnxruntime") else extra
    return f"{command} needs the Python package {error.name}; install it with: pip install -e '.[{extra}]'{numpy}"


if __name__ == "__main__":
    sys.exit(main())
