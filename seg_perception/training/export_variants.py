"""The precisions of a model: each tried on every runtime here, and through the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import EngineError, one_line
from seg_perception.engines.base import Engine
from seg_perception.engines.bundle import GOLDEN_AGREEMENT
from seg_perception.engines.manifest import Accepted, InputSpec, Runtime
from seg_perception.engines.onnxruntime import OnnxRuntimeEngine, installed_providers
from seg_perception.engines.torch import TorchEngine
from seg_perception.engines.torch import installed_providers as torch_providers
from seg_perception.training.calibration import Calibration, calibrate
from seg_perception.training.compact import compact
from seg_perception.training.config import ExportConfig
from seg_perception.training.data import Source
from seg_perception.training.export import halve_weights
from seg_perception.training.gate import Measured, Verdict, judge, latencies_ms, measure, table_of
from seg_perception.training.logits import GraphLogits, set_temperature
from seg_perception.training.quantize import Quantizer, Ranges, dynamic_share, quantize_weights
from seg_perception.training.sensitivity import Sensitivity, rank_layers
from seg_perception.training.sensitivity import table_of as sensitivity_table

RUNTIMES = (
    Runtime("openvino", "bf16"),
    Runtime("openvino", "f32"),
    Runtime("cpu"),
    Runtime("tensorrt", "f16"),
    Runtime("cuda"),
)
"""Where a variant is tried; those that are not installed here are left out."""

TORCH_RUNTIMES = (Runtime("torch-cuda", "f16"), Runtime("torch-cuda", "bf16"), Runtime("torch-cpu", "f32"))
"""The same for the torch engine."""

FLOAT, INT8, DYNAMIC, TORCH = "fp32", "int8", "int8_dynamic", "torch"
SENSITIVITY_IMAGES = 2
BLAMED = 10
"""So many layers are named when int8 is refused."""


@dataclass(frozen=True)
class Tried:
    """A variant after the gate. accepted: where it may drive; empty where it was refused everywhere.

    overruled: limits it is over, by runtime, where that was accepted nevertheless. float_layers: not quantized.
    format: of the model.
    """

    name: str
    model: bytes
    golden_mask: NDArray[np.uint8]
    accepted: tuple[Accepted, ...]
    verdicts: tuple[Verdict, ...]
    class_iou: Mapping[str, Mapping[str, float]]
    confidence: Calibration | None
    overruled: Mapping[str, tuple[str, ...]]
    float_layers: tuple[str, ...] = ()
    format: str = "onnx"


@dataclass(frozen=True)
class Trial:
    """What stays the same for all variants of a model.

    graph: the float graph. golden: (H, W, 3) uint8. reference: what the float graph does on the provider `cpu`.
    calibrated: whether the confidence is fitted to the held-out labels; False: it stays as it is in the graph.
    """

    limits: ExportConfig
    threads: int
    table: ClassTable
    spec: InputSpec
    held_out: Sequence[Source]
    golden: NDArray[np.uint8]
    graph: bytes
    reference: Measured
    calibrated: bool = True

    def all(self, images: Sequence[NDArray[np.uint8]], learned: Ranges, accept: bool) -> list[Tried]:
        """Float, int8 and, where it does something, dynamically quantized; the gate's tables are printed.

        images: for the ranges of activations; without any there is no int8. accept: keep a variant that no runtime runs
        within the limits.
        """
        variants = [self._float(accept)]
        for name, attempt in (
            (INT8, lambda: [self._static(images, learned, accept)] if images else []),
            (DYNAMIC, lambda: self._dynamic(accept)),
        ):
            try:
                variants += attempt()
            except Exception as error:  # noqa: BLE001 (ONNX Runtime's quantizer fails however it comes; float remains)
                print(f"{name} is refused: {one_line(error)}")
        return variants

    def torch(self, program: bytes, confidence: Calibration | None, accept: bool) -> Tried:
        """A program of torch.export in which the `confidence` of the float graph is fixed; for the torch engine."""
        here = [runtime for runtime in TORCH_RUNTIMES if runtime.provider in torch_providers()]
        engines = {runtime: TorchEngine(program, self.spec, runtime, threads=self.threads) for runtime in here}
        tried = self._through_gate(TORCH, program, engines, confidence, accept=accept)
        return replace(tried, format="pt2")

    def _float(self, accept: bool) -> Tried:
        """Weights stored in half precision; in full, where a network that chooses among boxes chooses others then."""
        tried = self._attempt(FLOAT, halve_weights(self.graph), accept=False)
        if tried.accepted:
            return tried
        print("refused with weights stored in half precision; once more in full")
        return self._attempt(FLOAT, self.graph, accept=accept)

    def _static(self, images: Sequence[NDArray[np.uint8]], learned: Ranges, accept: bool) -> Tried:
        """The int8 variant with the fewest layers left in float that passes the gate somewhere; else the last one."""
        print(f"quantize to int8: ranges by {self.limits.calibration} on {len(images)} images, {len(learned)} learned")
        quantizer = Quantizer(self.graph, images, self.limits.calibration, learned)
        ranked: list[Sensitivity] = []
        limit = min(self.limits.max_float_layers, len(quantizer.layers) - 1)
        for count in _counts(limit):
            kept = tuple(entry.layer for entry in ranked[:count])
            if kept:
                print(f"quantize again, with {count} layers in float: {', '.join(kept)}")
            tried = self._attempt(INT8, compact(quantizer.quantize(kept)), kept, accept=accept and count == limit)
            if tried.accepted:
                return tried
            if not ranked:
                ranked = rank_layers(self.graph, quantizer, images[:SENSITIVITY_IMAGES])
        print(f"{INT8} is refused. Signal to noise of the layers that cost most:\n{sensitivity_table(ranked[:BLAMED])}")
        return tried

    def _dynamic(self, accept: bool) -> list[Tried]:
        model = quantize_weights(self.graph)
        if model is None:
            share = dynamic_share(self.graph)
            print(f"dynamic quantization: only {share:.1%} of the weights are in matrix products; nothing to gain")
            return []
        return [self._attempt(DYNAMIC, model, accept=accept)]

    def _attempt(self, name: str, model: bytes, float_layers: tuple[str, ...] = (), *, accept: bool) -> Tried:
        """Calibrate the confidence, measure on every runtime here and print the gate's table."""
        confidence = None
        if self.calibrated:
            confidence = calibrate(GraphLogits(model, self.threads), self.held_out)
            model = set_temperature(model, confidence.temperature)
        return self._through_gate(name, model, self._engines(name, model), confidence, float_layers, accept=accept)

    def _through_gate(
        self,
        name: str,
        model: bytes,
        engines: Mapping[Runtime, Engine],
        confidence: Calibration | None,
        float_layers: tuple[str, ...] = (),
        *,
        accept: bool,
    ) -> Tried:
        measured = {r: measure(engine, self.held_out, len(self.table.classes)) for r, engine in engines.items()}
        expected = confidence.ece_after if confidence else None
        masks = {r: engine.infer(self.golden).mask for r, engine in engines.items()}
        judged = {r: self._judge(f"{name} on {r}", m, expected) for r, m in measured.items()}
        stored = next((r for r, verdict in judged.items() if verdict.passed), next(iter(engines)))
        shares = {r: float(np.mean(mask == masks[stored])) for r, mask in masks.items()}
        verdicts = {r: verdict.and_golden(shares[r], str(stored)) for r, verdict in judged.items()}
        print(table_of(verdicts.values()))
        passed = [r for r, verdict in verdicts.items() if verdict.passed]
        # A bundle has one golden mask, and a runtime that gives another would be refused where it is to drive.
        taken = passed or ([r for r in engines if shares[r] >= GOLDEN_AGREEMENT] if accept else [])
        latencies = latencies_ms({str(r): engines[r] for r in taken}, self.golden)
        best = next(iter(taken or engines))
        return Tried(
            name,
            model,
            masks[best],
            tuple(Accepted(r, verdicts[r].scores, latencies[str(r)]) for r in taken),
            tuple(verdicts.values()),
            measured[best].class_iou(self.table),
            confidence,
            {str(r): verdicts[r].failures for r in taken if not verdicts[r].passed},
            float_layers,
        )

    def _engines(self, name: str, model: bytes) -> dict[Runtime, Engine]:
        engines: dict[Runtime, Engine] = {}
        for runtime in RUNTIMES:
            if runtime.provider in installed_providers():
                try:
                    engines[runtime] = OnnxRuntimeEngine(model, self.spec, runtime, threads=self.threads)
                except EngineError as error:
                    print(f"{name} on {runtime}: REFUSED: {error}")
        return engines

    def _judge(self, name: str, candidate: Measured, expected_ece: float | None) -> Verdict:
        return judge(name, candidate, self.reference, self.held_out, self.table, self.limits, expected_ece)


def provenance_of(variants: Sequence[Tried]) -> dict[str, Any]:
    """What the manifest says about the variants beside their scores; plain YAML types."""
    document: dict[str, Any] = {
        "confidence": {
            v.name: {
                "temperature": round(v.confidence.temperature, 3),
                "expected_calibration_error": round(v.confidence.ece_after, 4),
                "expected_calibration_error_uncalibrated": round(v.confidence.ece_before, 4),
            }
            for v in variants
            if v.confidence
        },
        "layers_kept_in_float": {v.name: list(v.float_layers) for v in variants if v.name == INT8},
    }
    overruled = {v.name: {r: list(f) for r, f in v.overruled.items()} for v in variants if v.overruled}
    return document | ({"accepted_over_the_limits": overruled} if overruled else {})


def _counts(limit: int) -> list[int]:
    """0, 1, 2, 4, … and `limit` itself."""
    counts = [0]
    while counts[-1] < limit:
        counts.append(min(limit, 2 * counts[-1] or 1))
    return counts
