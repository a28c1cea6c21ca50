"""`seg-perception compare`: two models or two versions on the same frames, figure by figure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seg_perception.core.errors import DataError
from seg_perception.core.writable import write_whole
from seg_perception.evaluation.compare import differences
from seg_perception.evaluation.compare_frames import Pairs, otherwise_labelled, pair
from seg_perception.evaluation.compare_output import page, table
from seg_perception.evaluation.evaluate_resume import REQUEST_FILE
from seg_perception.evaluation.result_files import read_object


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("a", type=Path, metavar="A/metrics.json", help="of one evaluation, frames.jsonl beside it")
    parser.add_argument("b", type=Path, metavar="B/metrics.json", help="of the other one")
    parser.add_argument("--out", type=Path, metavar="PAGE.html", help="write a page, too")


def run(args: argparse.Namespace) -> int:
    """Compare, print the table, write the page."""
    metrics = [read_object(path) for path in (args.a, args.b)]
    pairs, notes = _comparable(pair(args.a.parent, args.b.parent), [entry.get("grid_truth") for entry in metrics])
    notes += _otherwise_asked([path.parent / REQUEST_FILE for path in (args.a, args.b)])
    ids = [{c["name"]: c["id"] for c in entry.get("classes") or ()} for entry in metrics]
    if ids[0] != ids[1]:
        notes.append("the models have other classes: figures of masks that depend on them are left out")
    found = differences(pairs, ids[0] if ids[0] == ids[1] else {})
    names = [_name(path, entry) for path, entry in zip((args.a, args.b), metrics, strict=True)]
    print(table(names, pairs, found, notes))
    if args.out:
        write_whole(args.out, page(names, pairs, found, notes), DataError)
        print(f"\n{args.out}")
    return 0


def _comparable(pairs: Pairs, truths: Sequence[str | None]) -> tuple[Pairs, list[str]]:
    """Without figures that differ because the truth does; and what must be known of the others."""
    notes = []
    if None not in truths and truths[0] != truths[1]:
        notes.append(f"figures of the grid are left out: the truth of A is {truths[0]}, that of B {truths[1]}")
        pairs = replace(pairs, a=replace(pairs.a, grid={}), b=replace(pairs.b, grid={}))
    other, labelled = otherwise_labelled(pairs)
    if other:
        which = f"in {other} of {labelled} labelled frames, the runs score other pixels (labels, or a model that crops)"
        notes.append(f"{which}; figures of the masks differ by that, too")
    return pairs, notes


def _otherwise_asked(requests: Sequence[Path]) -> list[str]:
    """What the evaluations were asked otherwise that changes what their figures mean."""
    if not all(path.is_file() for path in requests):
        return []
    a, b = (read_object(path) for path in requests)
    differ = [name for name in ("truth_grid", "truth_lidar", "robot") if a.get(name) != b.get(name)]
    return [f"the runs differ in {name}; figures of the grid differ by that, too" for name in differ]


def _name(path: Path, metrics: dict[str, Any]) -> str:
    model = metrics.get("model") or {}
    what = ", ".join(str(part) for part in (model.get("engine") or model.get("bundle"), metrics.get("device")) if part)
    return f"{path.parent} ({what})" if what else str(path.parent)
