"""A node that does not come to its end: a process of its own for `test_end.py`."""

from __future__ import annotations

import sys
import threading

from seg_perception.nodes import lifecycle


class Blocked(lifecycle.PipelineNode[lifecycle.PipelineParameters]):
    def __init__(self) -> None:
        super().__init__("blocked", lifecycle.PipelineParameters)

    def configure(self) -> None:
        pass

    def activate(self) -> None:
        self.get_logger().info("active")

    def deactivate(self) -> None:
        threading.Event().wait()

    def cleanup(self) -> None:
        pass


lifecycle._LONGEST_END_S = 0.5
sys.exit(lifecycle.run(Blocked))
