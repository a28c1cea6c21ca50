"""The verdict for CI: figures of metrics.json against thresholds, as junit.xml."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from seg_perception.core.errors import DataError
from seg_perception.core.writable import write_whole
from seg_perception.core.yaml_file import load_yaml
from seg_perception.evaluation.evaluate_frame import REASONS
from seg_perception.evaluation.result_files import JUNIT_FILE, METRICS_FILE, read_object

_SUITE = "seg_perception.evaluate"
_COUNTED = {f"frames.skipped.{reason}" for reason in REASONS}


@dataclass(frozen=True)
class Threshold:
    """Bounds of the figure with the dotted name `figure`; either may be None."""

    figure: str
    min: float | None
    max: float | None

    def __str__(self) -> str:
        low = "" if self.min is None else f"{self.min:g} <= "
        high = "" if self.max is None else f" <= {self.max:g}"
        return f"{self.figure} >= {self.min:g}" if self.max is None else f"{low}{self.figure}{high}"


@dataclass(frozen=True)
class Outcome:
    """A threshold in words, the figure that was measured (None: missing) and, if it was missed, why."""

    threshold: str
    measured: float | None
    failure: str | None


def check(out: Path, thresholds: Path | None) -> bool:
    """Whether all figures in `out`/metrics.json keep to the thresholds; writes `out`/junit.xml.

    thresholds: a YAML file of dotted names and bounds, as in `mask.miou: {min: 0.6}`. A figure that is missing misses
    its threshold. Without thresholds all is good, and there is no junit.xml. Raises DataError: files that cannot be
    read, or thresholds that are malformed.
    """
    if thresholds is None:
        (out / JUNIT_FILE).unlink(missing_ok=True)  # of an earlier check
        return True
    bounds = load_thresholds(thresholds)
    metrics_file = out / METRICS_FILE
    metrics = read_object(metrics_file)
    measured_at = datetime.fromtimestamp(metrics_file.stat().st_mtime, timezone.utc)
    outcomes = [_judge(threshold, metrics) for threshold in bounds]
    write_whole(out / JUNIT_FILE, _junit(outcomes, measured_at), DataError)
    return not any(outcome.failure for outcome in outcomes)


def load_thresholds(path: Path) -> list[Threshold]:
    """Raises DataError, one line that names the entry, unless every entry is `name: {min: x, max: y}`."""
    try:
        document = load_yaml(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(document, dict) or not document:
        raise DataError(f"{path}: has no thresholds; write lines like mask.miou: {{min: 0.6}}")
    return [_parse(path, str(name), bounds) for name, bounds in document.items()]


def read_outcomes(out: Path) -> list[Outcome] | None:
    """What `check` wrote to `out`/junit.xml; None where there is none. Raises DataError when it is not from `check`."""
    path = out / JUNIT_FILE
    if not path.exists():
        return None
    try:
        suite = ElementTree.parse(path).getroot()
        measured = {p.attrib["name"]: float(p.attrib["value"]) for p in suite.iter("property")}
        return [
            Outcome(name, measured.get(name), None if failure is None else failure.attrib["message"])
            for case in suite.iter("testcase")
            for name, failure in [(case.attrib["name"], case.find("failure"))]
        ]
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise DataError(f"{path}: is not a verdict of this command ({error}); evaluate again") from error


def _parse(path: Path, name: str, bounds: Any) -> Threshold:
    try:
        if not bounds or not set(bounds) <= {"min", "max"}:
            raise ValueError
        limits = {key: _bound(value) for key, value in bounds.items()}
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: {name}: {bounds!r} gives no bounds; write {name}: {{min: 0.6}}, {{max: 0.01}} or both"
        ) from error
    threshold = Threshold(name, limits.get("min"), limits.get("max"))
    if threshold.min is not None and threshold.max is not None and threshold.min > threshold.max:
        raise DataError(f"{path}: {name}: min {threshold.min:g} is above max {threshold.max:g}; swap them")
    return threshold


def _bound(value: Any) -> float:
    """Raises ValueError or TypeError unless it is a number; YAML 1.1 takes 1e-3 for a word."""
    number = float(value) if isinstance(value, str) else value
    if not _is_number(number):
        raise ValueError
    return number


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _judge(threshold: Threshold, metrics: Mapping[str, Any]) -> Outcome:
    value = _figure(metrics, threshold.figure)
    if value is None and threshold.figure in _COUNTED and isinstance(_figure(metrics, "frames.skipped"), dict):
        value = 0  # reasons that did not occur are not listed
    if not _is_number(value):
        return Outcome(str(threshold), None, f"{threshold.figure} is missing: {_why(metrics, threshold.figure, value)}")
    low = threshold.min is not None and value < threshold.min
    high = threshold.max is not None and value > threshold.max
    return Outcome(
        str(threshold), value, f"{threshold.figure} is {value:g}, wanted {threshold}" if low or high else None
    )


def _figure(node: Any, name: str) -> Any:
    """What is at a dotted name, None where there is nothing; keys may have dots of their own."""
    if not isinstance(node, dict) or name in node:
        return node.get(name) if isinstance(node, dict) else None
    dots = (index for index, letter in enumerate(name) if letter == "." and name[:index] in node)
    return next((_figure(node[name[:dot]], name[dot + 1 :]) for dot in dots), None)


def _why(metrics: Mapping[str, Any], name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"it has the parts {', '.join(value)}; name one"
    parent = name.rpartition(".")[0]
    siblings = _figure(metrics, parent) if parent else metrics
    if isinstance(siblings, dict) and name[len(parent) + bool(parent) :] not in siblings:
        return f"{parent or METRICS_FILE} has {', '.join(siblings) or 'nothing'}"
    return "it was not measured"


def _junit(outcomes: Sequence[Outcome], measured_at: datetime) -> str:
    """The JUnit of Ant's schema: what Jenkins, GitLab, GitHub actions and Azure read."""
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=_SUITE,
        id="0",
        package=_SUITE,
        timestamp=measured_at.strftime("%Y-%m-%dT%H:%M:%S"),
        hostname=platform.node() or "localhost",
        tests=str(len(outcomes)),
        failures=str(sum(outcome.failure is not None for outcome in outcomes)),
        errors="0",
        time="0",
    )
    properties = ElementTree.SubElement(suite, "properties")
    for outcome in outcomes:
        if outcome.measured is not None:
            ElementTree.SubElement(properties, "property", name=outcome.threshold, value=repr(outcome.measured))
        case = ElementTree.SubElement(suite, "testcase", classname=_SUITE, name=outcome.threshold, time="0")
        if outcome.failure is not None:
            ElementTree.SubElement(case, "failure", type="threshold", message=outcome.failure).text = outcome.failure
    for name in ("system-out", "system-err"):
        ElementTree.SubElement(suite, name)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'
