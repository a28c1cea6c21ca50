"""From a bundle and a device to an engine that has shown its golden mask."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from types import ModuleType

import numpy as np

from seg_perception.core.classes import UNLABELLED
from seg_perception.core.errors import BundleError, EngineError
from seg_perception.engines.base import Engine
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.manifest import Accepted, Variant

_DEVICE = re.compile(r"(cpu)|cuda(?::(\d+))?")
_CPU_PROVIDERS = ("openvino", "cpu")
_CUDA_PROVIDERS = ("tensorrt", "cuda")
_log = logging.getLogger(__name__)


def load_engine(bundle: Bundle | Path | str, device: str = "cpu", precision: str = "auto", threads: int = 2) -> Engine:
    """An engine for a bundle (opened, a folder, or an installed name). Raises BundleError, EngineError.

    device: cpu | cuda | cuda:N. precision: a variant of the bundle, or auto for all of them. threads: of a CPU engine.
    Of the runtimes on which the bundle passed its gate, the fastest by the exporter's measurements is taken; one that
    cannot start here is logged and the next one tried. No engine is returned that does not reproduce its golden mask.
    """
    providers, device_index = _parse_device(device)
    if threads < 1:
        raise EngineError(f"threads is {threads}; give at least 1")
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    candidates = _candidates(bundle, providers, precision, device)
    failures: list[EngineError] = []
    for variant, accepted in candidates:
        try:
            return _start(bundle, variant, accepted, device_index, threads)
        except EngineError as error:
            _log.warning("%s %s: %s", bundle.manifest.name, variant.name, error)
            failures.append(error)
    raise EngineError(f"{bundle.root}: nothing runs on device {device!r}: {'; '.join(map(str, failures))}")


def _parse_device(device: str) -> tuple[tuple[str, ...], int]:
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise EngineError(f"device is {device!r}; allowed are cpu, cuda, cuda:N")
    return (_CPU_PROVIDERS, 0) if match[1] else (_CUDA_PROVIDERS, int(match[2] or 0))


def _candidates(
    bundle: Bundle, providers: tuple[str, ...], precision: str, device: str
) -> list[tuple[Variant, Accepted]]:
    """What the bundle was accepted on and this machine has, the fastest first."""
    onnxruntime = _import_onnxruntime()
    onnxruntime.require_installed(*providers)
    fitting = _accepted(bundle, providers, precision, device)
    installed = [pair for pair in fitting if pair[1].runtime.provider in onnxruntime.installed_providers()]
    if not installed:
        onnxruntime.require_installed(*dict.fromkeys(entry.runtime.provider for _, entry in fitting))
    return sorted(installed, key=lambda pair: math.inf if pair[1].latency_ms is None else pair[1].latency_ms)


def _accepted(
    bundle: Bundle, providers: tuple[str, ...], precision: str, device: str
) -> list[tuple[Variant, Accepted]]:
    if precision != "auto" and precision not in bundle.variants:
        raise EngineError(f"precision is {precision!r}; {bundle.root} has {', '.join(bundle.variants)}; or auto")
    variants = [variant for variant in bundle.variants.values() if precision in ("auto", variant.name)]
    accepted = [(variant, entry) for variant in variants for entry in variant.accepted]
    fitting = [pair for pair in accepted if pair[1].runtime.provider in providers]
    if not fitting:
        passed = ", ".join(f"{variant.name} on {entry.runtime}" for variant, entry in accepted) or "none"
        raise EngineError(
            f"{bundle.root}: precision {precision} has passed the quality gate nowhere on device {device!r} (passed: "
            f"{passed}); choose another device or precision, or export the bundle on a machine with that device"
        )
    return fitting


def _import_onnxruntime() -> ModuleType:
    try:
        from seg_perception.engines import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime cannot be imported ({error}); install onnxruntime-openvino or onnxruntime"
        ) from error
    return onnxruntime


def _start(bundle: Bundle, variant: Variant, accepted: Accepted, device_index: int, threads: int) -> Engine:
    manifest = bundle.manifest
    try:
        engine: Engine = _import_onnxruntime().OnnxRuntimeEngine(
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
