"""What a comparison found, as a table for the terminal and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seg_perception.evaluation.compare import LEVEL, Difference
from seg_perception.evaluation.compare_frames import Pairs
from seg_perception.evaluation.page import render

_TITLES = {"mask": "Masks", "grid": "Occupancy grid", "flicker": "Flicker", "latency_ms": "Latency, ms"}
_DIGITS = {"mask": 4, "grid": 4, "flicker": 5, "latency_ms": 2}


def table(names: Sequence[str], pairs: Pairs, found: Sequence[Difference], notes: Sequence[str]) -> str:
    """What was found, for a terminal. notes: what must be known of it."""
    width = max((len(d.figure) for d in found), default=0)
    lines = [f"A: {names[0]}", f"B: {names[1]}", _frames(pairs), *notes, _summary(found), ""]
    lines.append(f"{'':{width}}  {'A':>9}  {'B':>9}  {'B - A':>10}  {f'{LEVEL:.0%} interval':>23}")
    for d in found:
        interval = (
            "too few frames" if d.low is None or d.high is None else f"{_signed(d.low, d)} .. {_signed(d.high, d)}"
        )
        better = f"  {d.better} is better" if d.better else ""
        values = f"{_value(d.a, d):>9}  {_value(d.b, d):>9}  {_signed(d.b - d.a, d):>10}"
        lines.append(f"{d.figure:{width}}  {values}  {interval:>23}{better}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Row:
    """Percentages across the picture of an interval; zero is at 50."""

    figure: str
    a: str
    b: str
    difference: str
    interval: str
    better: str | None
    left: float
    width: float
    middle: float


def page(names: Sequence[str], pairs: Pairs, found: Sequence[Difference], notes: Sequence[str]) -> str:
    """What was found, as a self-contained page. notes: what must be known of it."""
    groups: dict[str, list[Difference]] = {}
    for difference in found:
        groups.setdefault(_group(difference), []).append(difference)
    return render(
        "compare.html",
        names=names,
        frames=_frames(pairs),
        notes=notes,
        summary=_summary(found),
        level=f"{LEVEL:.0%}",
        groups=[(_TITLES[name], _rows(group)) for name, group in groups.items()],
    )


def _rows(group: Sequence[Difference]) -> list[_Row]:
    reach = max((abs(x) for d in group for x in (d.low, d.high, d.b - d.a) if x is not None), default=0.0) or 1.0
    rows = []
    for d in group:
        low, high = (d.b - d.a, d.b - d.a) if d.low is None or d.high is None else (d.low, d.high)
        rows.append(
            _Row(
                d.figure,
                _value(d.a, d),
                _value(d.b, d),
                _signed(d.b - d.a, d),
                "too few frames" if d.low is None else f"{_signed(low, d)} … {_signed(high, d)}",
                d.better,
                50 + 50 * low / reach,
                50 * (high - low) / reach,
                50 + 50 * (d.b - d.a) / reach,
            )
        )
    return rows


def _frames(pairs: Pairs) -> str:
    alone = [f"{count} only in {name}" for name, count in (("A", pairs.only_a), ("B", pairs.only_b)) if count]
    return f"{pairs.count} frames in both" + (f" ({', '.join(alone)}, left out)" if alone else "")


def _summary(found: Sequence[Difference]) -> str:
    votes = [d.better for d in found]
    alike = votes.count(None)
    return f"B is better in {votes.count('B')} figures, A in {votes.count('A')}; no significant difference in {alike}"


def _value(value: float, difference: Difference) -> str:
    return f"{value:.{_DIGITS[_group(difference)]}f}"


def _signed(value: float, difference: Difference) -> str:
    return f"{value:+.{_DIGITS[_group(difference)]}f}"


def _group(difference: Difference) -> str:
    return difference.figure.partition(".")[0]
