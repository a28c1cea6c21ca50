"""How a node of the pipeline is doing: counters, latencies and reasons, as PipelineStatus and /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Header

from seg_perception.msg import PipelineStatus, StageLatency

TOTAL = "total"
"""The stage from the stamp of an input to publishing its result."""

COUNTERS = ("received", "processed", "replaced", "stale", "failed")
"""The counters of every node; they are fields of PipelineStatus."""

_LEVELS = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
_LATENCY_SAMPLES = 512
_RATE_WINDOW_S = 3.0
_RECENT_S, _LEAST_SAMPLES = 10.0, 20  # of a judgement: one slow image, or what was long ago, is none


class Level(IntEnum):
    """Levels of PipelineStatus; those of DiagnosticStatus are their bytes."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """One thing to say about a node's health, with the reason in one line. part: of the node; empty for all of it."""

    level: Level
    reason: str
    part: str = ""


@dataclass(frozen=True)
class Percentiles:
    """Latency of a stage over its recent samples, ms."""

    p50: float
    p95: float
    p99: float
    samples: int


def stages_ms(names: Sequence[str], times: Sequence[float], stamp_ns: int, now_ns: int) -> dict[str, float]:
    """What each stage took, ms: between times of time.perf_counter(), s, one more than names; and TOTAL, from the stamp
    of the input to now, unless nothing is on /clock yet: that is 0.
    """
    stages = {name: (end - begin) * 1e3 for name, begin, end in zip(names, times[:-1], times[1:], strict=True)}
    return {**stages, TOTAL: (now_ns - stamp_ns) / 1e6} if now_ns else stages


class PipelineMonitor:
    """Counts and times what a pipeline does. Safe to use from several threads."""

    def __init__(self, whole: PipelineMonitor | None = None) -> None:
        self._whole = whole
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start again from zero: at activation."""
        with self._lock:
            self._counters = dict.fromkeys(COUNTERS, 0)
            self._latencies: dict[str, deque[float]] = {}
            self._results: deque[float] = deque(maxlen=_LATENCY_SAMPLES)
            self._parts: dict[str, PipelineMonitor] = {}

    def part(self, name: str) -> PipelineMonitor:
        """A new monitor of a part of the pipeline, until `reset`; what it notes is noted for the whole as well."""
        with self._lock:
            self._parts[name] = PipelineMonitor(self)
            return self._parts[name]

    def parts(self) -> dict[str, PipelineMonitor]:
        """A copy of all parts, by name."""
        with self._lock:
            return dict(self._parts)

    def count(self, counter: str, number: int = 1) -> None:
        """Add to a counter: one of COUNTERS, or a further one that appears in /diagnostics only."""
        with self._lock:
            self._counters[counter] = self._counters.get(counter, 0) + number
        if self._whole:
            self._whole.count(counter, number)

    def processed(self, stages_ms: Mapping[str, float]) -> None:
        """Note a published result and how long its stages took, ms."""
        with self._lock:
            self._counters["processed"] += 1
            self._results.append(time.monotonic())
            for stage, duration in stages_ms.items():
                self._latencies.setdefault(stage, deque(maxlen=_LATENCY_SAMPLES)).append(duration)
        if self._whole:
            self._whole.processed(stages_ms)

    def counters(self) -> dict[str, int]:
        """A copy of all counters."""
        with self._lock:
            return dict(self._counters)

    def rate(self) -> float:
        """Results per second over the last seconds."""
        since = time.monotonic() - _RATE_WINDOW_S
        with self._lock:
            recent = [t for t in self._results if t >= since]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

    def recent_p95(self, stage: str) -> float | None:
        """That of the last seconds, ms; None with too few samples, or when there was none of late."""
        now = time.monotonic()
        with self._lock:
            ages = now - np.array(self._results)
            samples = np.array(self._latencies.get(stage, ()))[-len(ages) :]
        recent = max(_LEAST_SAMPLES, int((ages < _RECENT_S).sum()))
        if len(samples) < _LEAST_SAMPLES or len(samples) != len(ages) or ages[-1] > _RECENT_S:
            return None
        return float(np.percentile(samples[-recent:], 95))

    def latencies(self) -> dict[str, Percentiles]:
        """Percentiles of every stage that has samples, in the order the stages were first seen."""
        with self._lock:
            samples = {stage: np.array(values) for stage, values in self._latencies.items()}
        return {stage: _percentiles(values) for stage, values in samples.items()}


class HealthPublisher:
    """Publishes `~/status` and `/diagnostics` of a node from its monitor and the findings of the moment."""

    def __init__(self, node: Node, monitor: PipelineMonitor) -> None:
        self._node = node
        self._monitor = monitor
        self._status = node.create_publisher(PipelineStatus, "~/status", 10)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def publish(self, findings: Iterable[Finding], engine: str = "") -> None:
        """The worst finding gives the level; its reason comes first, the others follow. No finding means OK.

        /diagnostics has a further entry for each part, from what was found there and of the whole node.
        """
        found = list(findings)
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._status.publish(_status(header, found, engine, self._monitor))
        name = self._node.get_fully_qualified_name().lstrip("/")
        entries = [_diagnostic(f"{name}: pipeline", found, engine, self._monitor)]
        for part, monitor in self._monitor.parts().items():
            concerned = [finding for finding in found if finding.part in ("", part)]
            entries.append(_diagnostic(f"{name}: {part}", concerned, engine, monitor))
        self._diagnostics.publish(DiagnosticArray(header=header, status=entries))


def _summary(findings: Iterable[Finding]) -> tuple[Level, str]:
    ordered = sorted(findings, key=lambda finding: -finding.level)
    return ordered[0].level if ordered else Level.OK, "; ".join(finding.reason for finding in ordered) or "OK"


def _status(header: Header, findings: Iterable[Finding], engine: str, monitor: PipelineMonitor) -> PipelineStatus:
    level, message = _summary(findings)
    counters = monitor.counters()
    return PipelineStatus(
        header=header,
        level=int(level),
        message=message,
        engine=engine,
        rate=monitor.rate(),
        latency=[
            StageLatency(stage=s, p50=p.p50, p95=p.p95, p99=p.p99, samples=p.samples)
            for s, p in monitor.latencies().items()
        ],
        **{name: counters[name] for name in COUNTERS},
    )


def _diagnostic(name: str, findings: Iterable[Finding], engine: str, monitor: PipelineMonitor) -> DiagnosticStatus:
    level, message = _summary(findings)
    values = {"engine": engine, "rate_hz": f"{monitor.rate():.1f}"}
    values |= {counter: str(n) for counter, n in monitor.counters().items()}
    for stage, p in monitor.latencies().items():
        values[f"{stage}_ms p50 p95 p99"] = f"{p.p50:.1f} {p.p95:.1f} {p.p99:.1f}"
    return DiagnosticStatus(
        level=_LEVELS[level],
        name=name,
        message=message,
        hardware_id=engine,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _percentiles(values: NDArray[np.float64]) -> Percentiles:
    p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
    return Percentiles(p50, p95, p99, len(values))
