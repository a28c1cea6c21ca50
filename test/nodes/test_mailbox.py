from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from seg_perception.nodes.mailbox import LatestWorker


class Gate:
    """Work that stops at a gate and notes what it was given."""

    def __init__(self):
        self.done = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def __call__(self, item):
        self.entered.release()
        assert self.gate.acquire(timeout=10)
        self.done.append(item)


def test_a_new_item_replaces_the_waiting_one_never_the_one_in_work():
    work = Gate()
    worker = LatestWorker(work, "worker")
    assert worker.put(1) is False
    assert work.entered.acquire(timeout=10)
    assert [worker.put(2), worker.put(3), worker.put(4)] == [False, True, True]
    work.gate.release(2)
    assert work.entered.acquire(timeout=10)
    worker.close()
    assert work.done == [1, 4]


def test_close_finishes_the_work_and_drops_what_waits():
    work = Gate()
    worker = LatestWorker(work, "worker")
    worker.put(1)
    assert work.entered.acquire(timeout=10)
    worker.put(2)
    closing = threading.Thread(target=worker.close)
    closing.start()
    work.gate.release(2)
    closing.join(timeout=10)
    assert not closing.is_alive()
    assert work.done == [1]
