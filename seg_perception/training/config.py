"""The training configuration: dataclasses read from YAML, every wrong value refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from seg_perception.core.errors import TrainingError
from seg_perception.core.yaml_file import load_yaml
from seg_perception.training.layouts import LAYOUTS

LOSSES = ("cross_entropy", "dice", "focal", "lovasz")
POLICIES = ("cosine", "one_cycle", "plateau")


@dataclass(frozen=True)
class ModelConfig:
    """A network by name; `options` go to its library unchanged.

    weights: what the encoder starts from: a file of its weights (.pth, .safetensors), `<Python package>:<file in it>`,
    `imagenet` (downloaded by timm), or nothing for random ones; or what the whole network goes on from: the folder of a
    training, or a bundle by folder or name. They are used in `train` and `distil` alone.
    """

    architecture: str
    encoder: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = ""

    def builds_the_same(self, other: ModelConfig) -> bool:
        """Whether both are one network, whatever it starts from."""
        return dataclasses.replace(self, weights=other.weights) == other


@dataclass(frozen=True)
class FolderConfig:
    """A data set on disk in one of the layouts of `layouts.py`; plain: `images/<name>.*` and `labels/<name>.png`.

    split: which part of it, for layouts that have parts. void: label ids that become 255. remap: id or name of a label
    in the data set → id of the class table, or 255; labels not listed go to the class of the same id or name.
    region: what of every image is used, as [left, top, right, bottom] shares of its width and height.
    """

    path: str
    share: float = 1.0
    void: list[int] = field(default_factory=list)
    layout: str = "ids"
    split: str = ""
    remap: dict[int | str, int] = field(default_factory=dict)
    region: list[float] = field(default_factory=lambda: [0.0, 0.0, 1.0, 1.0])

    def __post_init__(self) -> None:
        _check_source(self.share, self.region)
        _require(self.layout in LAYOUTS, "layout", self.layout, ", ".join(LAYOUTS))
        needed = LAYOUTS[self.layout].has_splits
        _require(bool(self.split) == needed, "split", self.split, f"{'a' if needed else 'no'} name, for {self.layout}")


@dataclass(frozen=True)
class BagConfig:
    """Frames of a rosbag2, extracted once into `cache`: an image topic, and either a label topic or a label folder.

    label_topic: mono8 class ids with the stamps of the images. labels: a folder of `<stamp in ns>.png` in one of the
    forms of `LabelFolder`. Images without labels are left out. The other keys are those of FolderConfig.
    """

    path: str
    image_topic: str
    cache: str
    label_topic: str = ""
    labels: str = ""
    form: str = "ids"
    share: float = 1.0
    void: list[int] = field(default_factory=list)
    remap: dict[int | str, int] = field(default_factory=dict)
    region: list[float] = field(default_factory=lambda: [0.0, 0.0, 1.0, 1.0])

    def __post_init__(self) -> None:
        _check_source(self.share, self.region)
        if bool(self.label_topic) == bool(self.labels):
            raise TrainingError("give either label_topic or labels, one of the two")


@dataclass(frozen=True)
class SimulationConfig:
    """Frames `first_seed` … `first_seed + frames - 1` of the simulator, rendered once into `cache`.

    remap: id or name of CamVid's classes, which the simulator has → id of the class table, or 255.
    """

    cache: str
    frames: int
    share: float = 1.0
    first_seed: int = 0
    size: list[int] = field(default_factory=lambda: [640, 360])
    remap: dict[int | str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.frames > 0, "frames", self.frames, "at least 1")
        _require(self.share > 0, "share", self.share, "more than 0")
        _require(len(self.size) == 2 and min(self.size) >= 32, "size", self.size, "[width, height], each at least 32")


@dataclass(frozen=True)
class SourcesConfig:
    """Where samples come from; at least one source."""

    folders: list[FolderConfig] = field(default_factory=list)
    simulation: list[SimulationConfig] = field(default_factory=list)
    bags: list[BagConfig] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.folders and not self.simulation and not self.bags:
            raise TrainingError("no source; list at least one under folders, bags or simulation")


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes; 0 (or [1, 1]) switches one off.

    crop: width and height, pixels. scale: of the picture before it is cropped. aspect: share by which its width may
    differ from its height. rotation_deg: either way. colour: how far gamma, contrast, brightness, saturation and
    balance may differ. blur: share of the crops that are blurred. noise: largest standard deviation, grey levels.
    rare_class: share of the crops that are laid around a pixel of a class drawn among those in the image.
    """

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
    """Length of the training: a number of steps, or of minutes (interruptions not counted); exactly one of them.

    learning_rate: the highest. warmup: share of the training in which it is reached. weight_decay: of AdamW.
    ema_decay: per step, of the averaged weights, which are what is scored and kept. gradient_clip: largest norm.
    label_smoothing: of the cross-entropy. validate_every: steps. threads: of the CPU. workers: processes that load
    images.
    batch: images per step, however many parts (`accumulate`) and processes they are computed in.
    policy: how the learning rate goes after its linear warm-up: `cosine` falls to a hundredth, `one_cycle` climbs for
    30 % of the training and falls to a ten-thousandth, `plateau` halves after `patience` validations without a gain.
    cross_entropy, dice, focal, lovasz: weights of the losses in their sum. class_balance: exponent of the class weights
    of the cross-entropy, (median / frequency) ** class_balance. bf16: compute in bfloat16 where that is safe.
    memory_gb: up to this much of the samples is decoded ahead, the rest when it is needed.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.03
    ema_decay: float = 0.998
    accumulate: int = 1
    policy: str = "cosine"
    patience: int = 5
    cross_entropy: float = 1.0
    dice: float = 0.5
    focal: float = 0.0
    lovasz: float = 0.0
    label_smoothing: float = 0.0
    class_balance: float = 0.5
    validate_every: int = 250
    gradient_clip: float = 5.0
    bf16: bool = True
    threads: int = 2
    workers: int = 1
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise TrainingError("give either steps or minutes, one of the two")
        for name in ("steps", "minutes"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "more than 0")
        for name in ("batch", "validate_every", "threads", "accumulate", "patience"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("learning_rate", "gradient_clip"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("warmup", "ema_decay", "class_balance", "label_smoothing"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 … 1")
        for name in ("weight_decay", "workers", "memory_gb", *LOSSES):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(any(self.losses.values()), ", ".join(LOSSES), 0, "at least one of them more than 0")
        _require(self.policy in POLICIES, "policy", self.policy, ", ".join(POLICIES))
        _require(self.batch % self.accumulate == 0, "accumulate", self.accumulate, f"a divisor of batch {self.batch}")

    @property
    def losses(self) -> dict[str, float]:
        """Weight of every loss by name."""
        return {name: getattr(self, name) for name in LOSSES}


@dataclass(frozen=True)
class ExportConfig:
    """How the trained network becomes a bundle. `licence` is that of the weights, which follows that of the `data`.

    A variant may lose `max_miou_drop` (0..1) on every held-out source and `max_class_drop` in a class of it, must agree
    with the float reference on `min_agreement` of all pixels, may newly call `max_obstacle_to_ground` of the obstacles'
    pixels ground, and be `max_calibration_error` less honest in its confidence than its logits in float. To pass, up to
    `max_float_layers` of the layers are left out of the quantization.
    calibration: how the ranges of activations are found, minmax, entropy or percentile.
    """

    licence: str = "unknown"
    data: str = "not stated"
    calibration: str = "minmax"
    calibration_images: int = 64
    max_miou_drop: float = 0.005
    max_class_drop: float = 0.015
    min_agreement: float = 0.98
    max_obstacle_to_ground: float = 0.001
    max_calibration_error: float = 0.02
    max_float_layers: int = 8

    def __post_init__(self) -> None:
        _require(bool(self.licence.strip()), "licence", self.licence, "a text, e.g. unknown")
        methods = ("minmax", "entropy", "percentile")
        _require(self.calibration in methods, "calibration", self.calibration, ", ".join(methods))
        _require(self.calibration_images >= 1, "calibration_images", self.calibration_images, "at least 1")
        _require(self.max_float_layers >= 0, "max_float_layers", self.max_float_layers, "at least 0")
        for name in (
            "max_miou_drop",
            "max_class_drop",
            "min_agreement",
            "max_obstacle_to_ground",
            "max_calibration_error",
        ):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 … 1")


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
    """Folder of the file; empty in a bundle, which does not know where its data was."""

    def __post_init__(self) -> None:
        good = len(self.input_size) == 2 and min(self.input_size) >= 32
        _require(good, "input_size", self.input_size, "[width, height], each at least 32")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")

    def resolve(self, path: str) -> Path:
        """A path of this configuration, relative ones from the configuration's folder. Raises TrainingError."""
        if not self.base and not Path(path).expanduser().is_absolute():
            raise TrainingError(
                f"{path}: a bundle does not know where its data was; give a configuration with --config"
            )
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
            document = load_yaml(path)
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: cannot read the training configuration ({error})") from error
        if not isinstance(document, Mapping):
            raise TrainingError(f"{path}: must be a mapping with name, classes, model, train, …")
        return cls.from_dict({"base": str(path.resolve().parent), **document}, str(path))


def _check_source(share: float, region: list[float]) -> None:
    _require(share > 0, "share", share, "more than 0")
    good = len(region) == 4 and 0 <= region[0] < region[2] <= 1 and 0 <= region[1] < region[3] <= 1
    _require(good, "region", region, "[left, top, right, bottom], each 0 … 1, left < right, top < bottom")


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
    if kind is Any:
        return value
    if origin is list:
        if not isinstance(value, list):
            raise TrainingError(f"{where}: is {value!r}; must be a list")
        return [_parse(get_args(kind)[0], item, f"{where}[{index}]") for index, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise TrainingError(f"{where}: is {value!r}; must be a mapping")
        key_kind, value_kind = get_args(kind)
        keys = [_parse(key_kind, key, f"{where}: key {key!r}") for key in value]
        return {key: _parse(value_kind, value[key], f"{where}: {key}") for key in keys}
    allowed = get_args(kind) or (kind,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join("null" if a is type(None) else a.__name__ for a in allowed)
        raise TrainingError(f"{where}: is {value!r}; must be {names}")
    return value
