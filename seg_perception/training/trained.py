"""The folder of a training, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import BundleError, TrainingError
from seg_perception.engines.bundle import MANIFEST_FILE, find_bundle
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.weights import load_weights
from seg_perception.training import checkpoint
from seg_perception.training.config import TrainingConfig
from seg_perception.training.qat import split_ranges
from seg_perception.training.quantize import Ranges


@dataclass(frozen=True)
class Trained:
    """A trained network, in evaluation mode, and what its checkpoint says about it.

    ranges: of activations, learned by quantization-aware training; empty without. state: the checkpoint's plain values.
    """

    config: TrainingConfig
    table: ClassTable
    network: PixelClassifier
    ranges: Ranges
    state: Mapping[str, Any]

    @classmethod
    def load(cls, training: Path, config_path: Path | None = None, file: str = checkpoint.BEST) -> Trained:
        """The best averaged weights of a training; pruned ones as they are.

        training: its folder, or the folder or name of a bundle that came from it. config_path: another configuration
        than the training's, e.g. as the data moved. Raises TrainingError, or ClassTableError where the classes are not
        in the order of the network's outputs.
        """
        path = training / file if (training / file).exists() else _of_bundle(training) or training / file
        state = checkpoint.load(path)
        config = TrainingConfig.load(config_path) if config_path else TrainingConfig.from_dict(state["config"])
        table = ClassTable.from_dicts(state["classes"]).for_network(path)
        model = config.model
        network = build(model.architecture, model.encoder, model.options, len(table.classes))
        weights, ranges = split_ranges(state["average"])
        load_weights(network, weights, str(path))
        return cls(config, table, network.eval(), ranges, state)


def _of_bundle(folder_or_name: Path) -> Path | None:
    """The weights in a bundle, None where there is no bundle. Raises TrainingError for a bundle without."""
    try:
        bundle = find_bundle(folder_or_name)
    except BundleError:
        return None
    if not (bundle / MANIFEST_FILE).is_file():
        return None
    weights = bundle / checkpoint.WEIGHTS
    if not weights.is_file():
        raise TrainingError(f"{bundle}: a bundle without {checkpoint.WEIGHTS}; give the training that it came from")
    return weights
