"""From a bundle and a device to an engine that has shown its golden mask."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import BundleError, DeviceLostError, EngineError
from seg_perception.engines.base import Engine
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.fallback import FallbackEngine
from seg_perception.engines.manifest import Accepted, Variant

_DEVICE = re.compile(r"(cpu)|cuda(?::(\d+))?")
_PROVIDERS = {"cpu": ("openvino", "cpu", "torch-cpu"), "cuda": ("tensorrt", "cuda", "torch-cuda")}
_PACKAGES = {"onnxruntime": "onnxruntime-openvino or onnxruntime", "torch": "torch"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Device:
    """A device as the user names it; kind: cpu or cuda."""

    name: str
    kind: str
    index: int

    @property
    def providers(self) -> tuple[str, ...]:
        return _PROVIDERS[self.kind]


def load_engine(bundle: Bundle | Path | str, device: str = "cpu", precision: str = "auto", threads: int = 2) -> Engine:
    """An engine for a bundle (opened, a folder, or an installed name). Raises BundleError, EngineError.

    device: cpu | cuda | cuda:N. precision: a variant of the bundle, or auto for all of them. threads: of a CPU engine.
    Of the runtimes on which the bundle passed its gate, the fastest by the exporter's measurements is taken; one that
    cannot start here is logged and the next one tried. No engine is returned that does not reproduce its golden mask.
    When a GPU is lost or out of memory, the engine goes on with the fastest variant on the CPU, and says so.
    """
    chosen = _parse_device(device)
    if threads < 1:
        raise EngineError(f"threads is {threads}; give at least 1")
    opened = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    if chosen.kind == "cpu":
        return _load(opened, chosen, precision, threads)
    return FallbackEngine(
        lambda: _load(opened, chosen, precision, threads), lambda: _load(opened, _parse_device("cpu"), "auto", threads)
    )


def _load(bundle: Bundle, device: _Device, precision: str, threads: int) -> Engine:
    candidates = _candidates(bundle, device, precision)
    failures: list[EngineError] = []
    for variant, accepted in candidates:
        try:
            if accepted.runtime.provider in _library(accepted).installed_providers():
                return _start(bundle, variant, accepted, device.index, threads)
        except EngineError as error:
            _log.warning("%s %s: %s", bundle.manifest.name, variant.name, error)
            failures.append(error)
    if not failures:
        library = _library(candidates[0][1])
        library.require_installed(*dict.fromkeys(a.runtime.provider for _, a in candidates if _library(a) is library))
    lost = any(isinstance(failure, DeviceLostError) for failure in failures)
    kind = DeviceLostError if lost else EngineError
    raise kind(f"{bundle.root}: nothing runs on device {device.name!r}: {'; '.join(map(str, failures))}")


def _parse_device(device: str) -> _Device:
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise EngineError(f"device is {device!r}; allowed are cpu, cuda, cuda:N")
    return _Device(device, match[1] or "cuda", int(match[2] or 0))


def _candidates(bundle: Bundle, device: _Device, precision: str) -> Sequence[tuple[Variant, Accepted]]:
    """What the bundle was accepted on, the fastest first; at least one."""
    if precision != "auto" and precision not in bundle.variants:
        raise EngineError(f"precision is {precision!r}; {bundle.root} has {', '.join(bundle.variants)}; or auto")
    variants = [variant for variant in bundle.variants.values() if precision in ("auto", variant.name)]
    accepted = [(variant, entry) for variant in variants for entry in variant.accepted]
    fitting = [pair for pair in accepted if pair[1].runtime.provider in device.providers]
    if not fitting:
        passed = ", ".join(f"{variant.name} on {entry.runtime}" for variant, entry in accepted) or "none"
        raise EngineError(
            f"{bundle.root}: precision {precision} has passed the quality gate nowhere on device {device.name!r} "
            f"(passed: {passed}); choose another device or precision, or export it on a machine with that device"
        )
    return sorted(fitting, key=lambda pair: math.inf if pair[1].latency_ms is None else pair[1].latency_ms)


def _library(accepted: Accepted) -> ModuleType:
    """The module of the engine; torch is imported only for a variant that needs it."""
    name = "torch" if accepted.runtime.provider.startswith("torch") else "onnxruntime"
    try:
        return import_module(f"seg_perception.engines.{name}")
    except ImportError as error:
        raise EngineError(f"{name} cannot be imported ({error}); install {_PACKAGES[name]}") from error


def _start(bundle: Bundle, variant: Variant, accepted: Accepted, device_index: int, threads: int) -> Engine:
    manifest = bundle.manifest
    try:
        engine: Engine = _library(accepted).load(
            bundle.read_model(variant),
            manifest.input,
            accepted.runtime,
            device_index=device_index,
            threads=threads,
            label=f"{manifest.name} {manifest.version} {variant.name}",
        )
    except BundleError as error:
        raise BundleError(f"{bundle.root / variant.model.file}: {error}") from error
    _check_golden(engine, bundle, variant)
    return engine


def _check_golden(engine: Engine, bundle: Bundle, variant: Variant) -> None:
    image, expected = bundle.read_golden(variant)
    mask = engine.infer(image).mask
    unknown = set(np.unique(mask).tolist()) - {entry.id for entry in bundle.table.classes} - {UNLABELLED}
    if unknown:
        raise BundleError(
            f"{bundle.root}: the mask of {variant.model.file} has ids {sorted(unknown)} that the class table lacks; "
            "export it with the classes it was trained on"
        )
    agreement = float(np.mean(mask == expected))
    if agreement < bundle.manifest.golden_agreement:
        raise BundleError(
            f"{bundle.root}: golden test failed: {engine.description} gives {agreement:.1%} of the pixels of "
            f"{variant.golden_mask.file}, needed are {bundle.manifest.golden_agreement:.1%}; "
            "choose another precision, or export the bundle on this machine"
        )
