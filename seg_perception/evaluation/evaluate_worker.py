"""One evaluation in a process of its own: the request as JSON on stdin, progress on stdout, errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from seg_perception.core.errors import SegPerceptionError
from seg_perception.evaluation.evaluate_run import Request, evaluate

COUNT, FRAMES = "count", "frames"


def request_from(document: Mapping[str, Any]) -> Request:
    """Inverse of dataclasses.asdict, also after JSON, which knows no tuples."""
    remap = tuple((source, target) for source, target in document["label_remap"])
    return Request(**{**document, "topics": tuple(document["topics"]), "label_remap": remap})


def main() -> int:
    """0, or 2 with the reason on stderr."""
    request = request_from(json.load(sys.stdin))
    try:
        evaluate(
            request,
            lambda count: print(COUNT, count, flush=True),
            lambda frames: print(FRAMES, frames, flush=True),
        )
    except SegPerceptionError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
