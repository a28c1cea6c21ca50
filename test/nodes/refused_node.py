"""A node whose constructor fails: a process of its own for `test_end.py`."""

from __future__ import annotations

import sys
import weakref

from seg_perception.core.errors import SegPerceptionError
from seg_perception.nodes import lifecycle

_made: list[weakref.ref[Refused]] = []


class Refused(lifecycle.PipelineNode[lifecycle.PipelineParameters]):
    def __init__(self) -> None:
        super().__init__("refused", lifecycle.PipelineParameters)
        self.itself = self  # as its callbacks do: no count of references comes to zero
        _made.append(weakref.ref(self))
        raise SegPerceptionError("it cannot be made") if sys.argv[1] == "refused" else TypeError("a fault of ours")


code = lifecycle.run(Refused)
(node,) = _made
print("still there" if node() else "destroyed")
sys.exit(code)
