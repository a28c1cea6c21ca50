"""The training configuration: dataclasses read from YAML, every wrong value refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from seg_perception.core.errors import TrainingError


@dataclass(frozen=True)
class ModelConfig:
    """A network by name; `options` go to its library unchanged.

    weights: what the encoder starts from: a file of its weights (.pth, .safetensors), `<Python package>:<file in it>`,
    `imagenet` (downloaded by timm), or nothing for random ones. They are used in `train` alone.
    """

    architecture: str
    encoder: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = ""


@dataclass(frozen=True)
class FolderConfig:
    """Pairs `images/<name>.*` and `labels/<name>.png`; `void` label ids become 255."""

    path: str
    share: float = 1.0
    void: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        _require(self.share > 0, "share", self.share, "more than 0")


@dataclass(frozen=True)
class SimulationConfig:
    """Frames `first_seed` … `first_seed + frames - 1` of the simulator, rendered once into `cache`."""

    cache: str
    frames: int
    share: float = 1.0
    first_seed: int = 0
    size: list[int] = field(default_factory=lambda: [640, 360])

    def __post_init__(self) -> None:
        _require(self.frames > 0, "frames", self.frames, "at least 1")
        _require(self.share > 0, "share", self.share, "more than 0")
        _require(len(self.size) == 2 and min(self.size) >= 32, "size", self.size, "[width, height], each at least 32")


@dataclass(frozen=True)
class SourcesConfig:
    """Where samples come from; at least one source."""

    folders: list[FolderConfig] = field(default_factory=list)
    simulation: list[SimulationConfig] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.folders and not self.simulation:
            raise TrainingError("no source; list at least one under folders or simulation")


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes; 0 (or [1, 1]) switches one off."""

    crop: list[int]
    scale: list[float] = field(default_factory=lambda: [0.5, 2.0])
    aspect: float = 0.3
    rotation_deg: float = 3.0
    colour: float = 0.3
    blur: float = 0.2
    noise: float = 8.0
    rare_class: float = 0.5

    def __post_init__(self) -> None:
        _require(len(self.crop) == 2 and min(self.crop) >= 32, "crop", self.crop, "[width, height], each at least 32")
        _require(
            len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1], "scale", self.scale, "[low, high], low > 0"
        )
        for name in ("aspect", "colour", "blur", "rare_class"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 … 1")


@dataclass(frozen=True)
class ScheduleConfig:
    """Length of the training: a number of steps, or of minutes (interruptions not counted); exactly one of them."""

    steps: int | None = None
    minutes: float | None = None
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.03
    ema_decay: float = 0.998
    dice: float = 0.5
    label_smoothing: float = 0.0
    class_balance: float = 0.5
    validate_every: int = 250
    gradient_clip: float = 5.0
    bf16: bool = True
    threads: int = 2
    workers: int = 1

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise TrainingError("give either steps or minutes, one of the two")
        for name in ("steps", "minutes"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "more than 0")
        for name in ("batch", "validate_every", "threads"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("learning_rate", "gradient_clip"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("warmup", "ema_decay", "class_balance", "label_smoothing"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 … 1")


@dataclass(frozen=True)
class ExportConfig:
    """How the trained network becomes a bundle. `licence` is that of the weights, which follows that of the `data`.

    A variant may lose `max_miou_drop` (0..1) on every held-out source, must agree with the float reference on
    `min_agreement` of all pixels, and may newly call `max_obstacle_to_ground` of the obstacles' pixels ground.
    """

    licence: str = "unknown"
    data: str = "not stated"
    calibration_images: int = 64
    max_miou_drop: float = 0.005
    min_agreement: float = 0.98
    max_obstacle_to_ground: float = 0.002


@dataclass(frozen=True)
class TrainingConfig:
    """One training. Relative paths are relative to the folder of the file it was read from."""

    name: str
    classes: str
    input_size: list[int]
    model: ModelConfig
    train: SourcesConfig
    validation: SourcesConfig
    augment: AugmentConfig
    schedule: ScheduleConfig
    export: ExportConfig = field(default_factory=ExportConfig)
    seed: int = 1
    base: str = "."

    def __post_init__(self) -> None:
        good = len(self.input_size) == 2 and min(self.input_size) >= 32
        _require(good, "input_size", self.input_size, "[width, height], each at least 32")

    def resolve(self, path: str) -> Path:
        """A path of this configuration, relative ones from the configuration's folder."""
        return (Path(self.base) / Path(path).expanduser()).resolve()

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`, of plain YAML types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], origin: str = "config") -> TrainingConfig:
        """Build and validate. Raises TrainingError that names `origin` and the key."""
        parsed: TrainingConfig = _parse(cls, document, origin)
        return parsed

    @classmethod
    def load(cls, path: Path | str) -> TrainingConfig:
        """Read a YAML file. Raises TrainingError."""
        path = Path(path)
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise TrainingError(f"{path}: cannot read the training configuration ({error})") from error
        if not isinstance(document, Mapping):
            raise TrainingError(f"{path}: must be a mapping with name, classes, model, train, …")
        return cls.from_dict({"base": str(path.resolve().parent), **document}, str(path))


def _require(good: bool, name: str, value: Any, allowed: str) -> None:
    if not good:
        raise TrainingError(f"{name}: is {value!r}; allowed: {allowed}")


def _parse(kind: Any, document: Any, where: str) -> Any:
    """Turn plain YAML values into the dataclass (or field type) `kind`; errors carry the path of the key."""
    if not dataclasses.is_dataclass(kind):
        return _value(kind, document, where)
    if not isinstance(document, Mapping):
        raise TrainingError(f"{where}: is {document!r}; must be a mapping")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(str(key) for key in set(document) - set(fields))
    if unknown:
        raise TrainingError(f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(fields)}")
    missing = [n for n, f in fields.items() if n not in document and _required(f)]
    if missing:
        raise TrainingError(f"{where}: key {', '.join(missing)} is missing")
    hints = get_type_hints(kind)
    values = {name: _parse(hints[name], value, f"{where}: {name}") for name, value in document.items()}
    try:
        return kind(**values)
    except TrainingError as error:
        raise TrainingError(f"{where}: {error}") from error


def _required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _value(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin is list:
        if not isinstance(value, list):
            raise TrainingError(f"{where}: is {value!r}; must be a list")
        return [_parse(get_args(kind)[0], item, f"{where}[{index}]") for index, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise TrainingError(f"{where}: is {value!r}; must be a mapping")
        return dict(value)
    allowed = get_args(kind) or (kind,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join("null" if a is type(None) else a.__name__ for a in allowed)
        raise TrainingError(f"{where}: is {value!r}; must be {names}")
    return value
