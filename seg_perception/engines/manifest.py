"""What a bundle's manifest says: the model's interface, its variants, and where each of them may run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import BundleError, ClassTableError
from seg_perception.engines.resize import RESIZE_RULES, STRETCH

SCHEMA = 1
PRECISION_HINTS = {
    "openvino": ("f32", "bf16", "f16"),
    "tensorrt": ("f32", "f16"),
    "cuda": (),
    "cpu": (),
    "torch-cpu": ("f32", "bf16"),
    "torch-cuda": ("f32", "bf16", "f16"),
}
"""Providers a manifest may name, and what `Runtime.precision_hint` may ask of each."""
CHANNEL_ORDERS = ("bgr", "rgb")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SIDE = 8192


@dataclass(frozen=True)
class InputSpec:
    """The graph's input `image`: uint8 (1, height, width, 3) in `channel_order`, made by `resize`."""

    width: int
    height: int
    resize: str = STRETCH
    channel_order: str = "bgr"


@dataclass(frozen=True)
class FileRef:
    """A file beside the manifest and its SHA-256 in lower-case hex."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Runtime:
    """What runs a variant, and the precision it may compute in.

    provider: an execution provider of ONNX Runtime (openvino | tensorrt | cuda | cpu), which reads .onnx, or torch on
    a device (torch-cpu | torch-cuda), which reads .pt2.

    A provider follows the hint where the processor can, else it computes in f32; None where it takes no hint.
    """

    provider: str
    precision_hint: str | None = None

    def __str__(self) -> str:
        return f"{self.provider} {self.precision_hint}" if self.precision_hint else self.provider


@dataclass(frozen=True)
class Accepted:
    """A runtime on which a variant passed the quality gate, with its scores there.

    latency_ms: median time of one inference as measured by the exporter; None where it was not measured.
    """

    runtime: Runtime
    scores: Mapping[str, float]
    latency_ms: float | None = None


@dataclass(frozen=True)
class Variant:
    """The graph in one precision, the mask it gives for the golden image, and where it was accepted."""

    name: str
    model: FileRef
    golden_mask: FileRef
    accepted: tuple[Accepted, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything in bundle.yaml.

    provenance: plain YAML, for people (data, commit, command). scores: of the float model, by name.
    golden_agreement: share of pixels, 0..1, at which a runtime must reproduce a variant's golden mask. weights: what a
    training can go on from, None in bundles that did not come from one.
    """

    name: str
    version: str
    licence: str
    provenance: Mapping[str, Any]
    scores: Mapping[str, float]
    table: ClassTable
    input: InputSpec
    golden_image: FileRef
    golden_agreement: float
    variants: Mapping[str, Variant] = field(default_factory=dict)
    weights: FileRef | None = None

    @classmethod
    def from_dict(cls, document: Any, source: str) -> Manifest:
        """Parse plain YAML data; raises BundleError that names `source` and the field."""
        fields = _Fields(document, source)
        schema = fields.value("schema")
        if schema != SCHEMA:
            raise BundleError(
                f"{source}: schema is {schema!r}; this version reads {SCHEMA}. Export the bundle again, or update"
            )
        golden = fields.section("golden")
        variants = fields.section("variants")
        if not variants.mapping:
            raise BundleError(f"{source}: variants is empty; export at least one model into the bundle")
        return cls(
            name=fields.plain_name("name"),
            version=fields.text("version"),
            licence=fields.text("licence"),
            provenance=fields.section("provenance").mapping,
            scores=fields.scores("scores"),
            table=_parse_table(fields, source),
            input=_parse_input(fields.section("input")),
            golden_image=_parse_file(golden.section("image")),
            golden_agreement=golden.number("agreement", 0.0, 1.0),
            variants={name: _parse_variant(name, variants.section(name), source) for name in variants.mapping},
            weights=_parse_file(fields.section("weights")) if "weights" in fields.mapping else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Inverse of `from_dict`, of plain YAML types."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "licence": self.licence,
            "provenance": dict(self.provenance),
            "scores": _plain(self.scores),
            "input": vars(self.input).copy(),
            "golden": {"image": vars(self.golden_image).copy(), "agreement": self.golden_agreement},
            **({"weights": vars(self.weights).copy()} if self.weights else {}),
            "variants": {name: _variant_to_dict(variant) for name, variant in self.variants.items()},
            "classes": self.table.to_dicts(),
        }


def require_plain_name(name: str, where: str) -> str:
    """`name` itself if it cannot lead out of a folder; else a BundleError that starts with `where`."""
    if not _PLAIN_NAME.fullmatch(name):
        raise BundleError(f"{where} is {name!r}; expected letters, digits, '.', '_', '-', and no folders")
    return name


def _parse_table(fields: _Fields, source: str) -> ClassTable:
    entries = fields.value("classes")
    if not isinstance(entries, list):
        raise fields.wrong("classes", "a list of classes")
    try:
        return ClassTable.from_dicts(entries).for_network(source)
    except ClassTableError as error:
        raise BundleError(f"{source}: {error}") from error


def _parse_input(fields: _Fields) -> InputSpec:
    return InputSpec(
        fields.integer("width", 1, _MAX_SIDE),
        fields.integer("height", 1, _MAX_SIDE),
        fields.choice("resize", RESIZE_RULES),
        fields.choice("channel_order", CHANNEL_ORDERS),
    )


def _parse_file(fields: _Fields) -> FileRef:
    digest = fields.text("sha256")
    if not _SHA256.fullmatch(digest):
        raise fields.wrong("sha256", "64 lower-case hex digits")
    return FileRef(fields.plain_name("file"), digest)


def _parse_variant(name: str, fields: _Fields, source: str) -> Variant:
    require_plain_name(name, f"{source}: the name of a variant")
    accepted = tuple(_parse_accepted(entry) for entry in fields.sections("accepts"))
    return Variant(name, _parse_file(fields.section("model")), _parse_file(fields.section("golden_mask")), accepted)


def _parse_accepted(fields: _Fields) -> Accepted:
    provider = fields.choice("provider", tuple(PRECISION_HINTS))
    hint = fields.choice("precision_hint", PRECISION_HINTS[provider]) if PRECISION_HINTS[provider] else None
    if hint is None and "precision_hint" in fields.mapping:
        raise fields.wrong("precision_hint", f"no such key: {provider} takes no hint")
    latency = fields.number("latency_ms", 0.0, math.inf) if fields.mapping.get("latency_ms") is not None else None
    return Accepted(Runtime(provider, hint), fields.scores("scores"), latency)


def _variant_to_dict(variant: Variant) -> dict[str, Any]:
    return {
        "model": vars(variant.model).copy(),
        "golden_mask": vars(variant.golden_mask).copy(),
        "accepts": [_accepted_to_dict(entry) for entry in variant.accepted],
    }


def _accepted_to_dict(entry: Accepted) -> dict[str, Any]:
    plain: dict[str, Any] = {"provider": entry.runtime.provider}
    if entry.runtime.precision_hint is not None:
        plain["precision_hint"] = entry.runtime.precision_hint
    if entry.latency_ms is not None:
        plain["latency_ms"] = float(entry.latency_ms)
    return {**plain, "scores": _plain(entry.scores)}


def _plain(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: float(score) for name, score in scores.items()}  # YAML cannot write NumPy's floats.


class _Fields:
    """Typed access to one mapping of the manifest; every complaint names the file and the full key."""

    def __init__(self, mapping: Any, source: str, prefix: str = "") -> None:
        if not isinstance(mapping, dict) or not all(isinstance(key, str) for key in mapping):
            raise BundleError(f"{source}: {prefix.rstrip('.') or 'the document'} is not a mapping of names to values")
        self.mapping: dict[str, Any] = mapping
        self._source = source
        self._prefix = prefix

    def wrong(self, key: str, expected: str) -> BundleError:
        shown = repr(self.mapping.get(key))
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return BundleError(f"{self._source}: {self._prefix}{key} is {shown}; expected {expected}")

    def value(self, key: str) -> Any:
        if key not in self.mapping:
            raise BundleError(f"{self._source}: {self._prefix}{key} is missing; export the bundle again")
        return self.mapping[key]

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a text in quotes")
        return value

    def plain_name(self, key: str) -> str:
        return require_plain_name(self.text(key), f"{self._source}: {self._prefix}{key}")

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.value(key)
        if value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return str(value)

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, f"an integer {low}..{high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.value(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, f"a number {low}..{high}")
        return float(value)

    def scores(self, key: str) -> dict[str, float]:
        section = self.section(key)
        return {name: section.number(name, -math.inf, math.inf) for name in section.mapping}

    def section(self, key: str) -> _Fields:
        return _Fields(self.value(key), self._source, f"{self._prefix}{key}.")

    def sections(self, key: str) -> list[_Fields]:
        entries = self.value(key)
        if not isinstance(entries, list):
            raise self.wrong(key, "a list")
        return [_Fields(entry, self._source, f"{self._prefix}{key}[{i}].") for i, entry in enumerate(entries)]
