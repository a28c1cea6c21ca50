"""`seg-perception compare`: two models or two versions on the same frames, figure by figure."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from seg_perception.core.errors import DataError
from seg_perception.core.writable import write_whole
from seg_perception.evaluation.compare import differences
from seg_perception.evaluation.compare_frames import pair
from seg_perception.evaluation.compare_output import page, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("a", type=Path, metavar="A/metrics.json", help="of one evaluation, frames.jsonl beside it")
    parser.add_argument("b", type=Path, metavar="B/metrics.json", help="of the other one")
    parser.add_argument("--out", type=Path, metavar="PAGE.html", help="write a page, too")


def run(args: argparse.Namespace) -> int:
    """Compare, print the table, write the page."""
    metrics = [_metrics(path) for path in (args.a, args.b)]
    pairs = pair(args.a.parent, args.b.parent)
    ids = [{c["name"]: c["id"] for c in entry.get("classes") or ()} for entry in metrics]
    found = differences(pairs, ids[0] if ids[0] == ids[1] else {})
    names = [_name(path, entry) for path, entry in zip((args.a, args.b), metrics, strict=True)]
    print(table(names, pairs, found))
    if args.out:
        write_whole(args.out, page(names, pairs, found), DataError)
        print(f"\n{args.out}")
    return 0


def _metrics(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); name the metrics.json of an evaluation") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: is not the metrics.json of an evaluation; name one")
    return document


def _name(path: Path, metrics: dict[str, Any]) -> str:
    model = metrics.get("model") or {}
    what = ", ".join(str(part) for part in (model.get("engine") or model.get("bundle"), metrics.get("device")) if part)
    return f"{path.parent} ({what})" if what else str(path.parent)
