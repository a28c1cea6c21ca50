"""The folder of a training, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import BundleError, TrainingError
from seg_perception.engines.bundle import MANIFEST_FILE, WEIGHTS_FILE, Bundle
from seg_perception.models.build import PixelClassifier, build
from seg_perception.models.weights import load_weights
from seg_perception.training import checkpoint
from seg_perception.training.config import TrainingConfig
from seg_perception.training.qat import split_ranges
from seg_perception.training.quantize import Ranges


@dataclass(frozen=True)
class Trained:
    """A trained network, in evaluation mode, and what its checkpoint says about it.

    path: of the checkpoint. ranges: of activations, learned by quantization-aware training; empty without. state: the
    checkpoint's plain values.
    """

    path: Path
    config: TrainingConfig
    table: ClassTable
    network: PixelClassifier
    ranges: Ranges
    state: Mapping[str, Any]

    @classmethod
    def load(cls, training: Path, config_path: Path | None = None, file: str = checkpoint.BEST) -> Trained:
        """The best averaged weights of a training; pruned ones as they are.

        training: its folder, or the folder or name of a bundle that came from it. config_path: another configuration
        than the training's, e.g. as the data moved; its classes have the same names, and its colours, costs and kinds
        count. Raises TrainingError, or ClassTableError where the classes are not in the order of the network's outputs.
        """
        path, state = _read(training, file)
        config = TrainingConfig.load(config_path) if config_path else TrainingConfig.from_dict(state["config"])
        table = ClassTable.from_dicts(state["classes"]).for_network(path)
        if config_path:
            table = _described_anew(table, config, config_path)
        model = config.model
        network = build(model.architecture, model.encoder, model.options, len(table.classes))
        weights, ranges = split_ranges(state["average"])
        load_weights(network, weights, str(path))
        return cls(path, config, table, network.eval(), ranges, state)


def _described_anew(table: ClassTable, config: TrainingConfig, config_path: Path) -> ClassTable:
    """The configuration's own table. Raises TrainingError where its classes are others."""
    classes = config.resolve(config.classes)
    own = ClassTable.load(classes).for_network(classes)
    trained, given = (", ".join(entry.name for entry in t.classes) for t in (table, own))
    if trained != given:
        raise TrainingError(f"{config_path}: its classes are {given}; the network was trained with {trained}")
    return own


def _read(training: Path, file: str) -> tuple[Path, dict[str, Any]]:
    """A checkpoint of a training, or the weights of a bundle given by folder or name. Raises TrainingError."""
    is_name = training.name == str(training) and not training.exists()
    is_bundle = is_name or (training / MANIFEST_FILE).is_file()
    if file != checkpoint.BEST or not is_bundle:
        return training / file, checkpoint.load(training / file)
    try:
        bundle = Bundle.load(training if is_name else training.absolute())
        path = bundle.root / WEIGHTS_FILE
        return path, checkpoint.parse(bundle.read_weights(), path)
    except BundleError as error:
        raise TrainingError(f"no training {training} here, and {error}" if is_name else str(error)) from error
