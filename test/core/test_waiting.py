"""Inputs that wait for what belongs to them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from sensor_msgs.msg import CameraInfo

from seg_perception.core.errors import CameraError, ImageError
from seg_perception.core.pairing import CameraInfos, StampPairs
from seg_perception.core.waiting import NotYetError, WaitingRoom
from seg_perception.ros.conversions import stamp_from_ns


class Office:
    """Uses the items that are ready, and keeps books."""

    def __init__(self, depth=3):
        self.ready, self.used, self.failed = set(), [], []
        self.room = WaitingRoom(depth, self._use, lambda item, error: self.failed.append((item, str(error))))

    def _use(self, item):
        if item == "broken":
            raise ImageError("truncated")
        if item not in self.ready:
            raise NotYetError("no pose")
        self.used.append(item)


def test_inputs_are_used_in_their_order():
    office = Office()
    for item in "ab":
        office.room.enter(item, deadline_ns=100)
    office.ready = {"b"}
    office.room.serve(now_ns=1)
    assert office.used == []
    office.ready = {"a", "b"}
    office.room.serve(now_ns=2)
    assert office.used == ["a", "b"] and len(office.room) == 0


def test_waiting_ends_with_the_reason_and_the_next_one_is_served():
    office = Office()
    office.room.enter("a", deadline_ns=100)
    office.room.enter("b", deadline_ns=200)
    office.ready = {"b"}
    office.room.serve(now_ns=100)
    assert office.failed == [("a", "no pose")] and office.used == ["b"]


def test_what_cannot_be_used_does_not_wait():
    office = Office()
    office.room.enter("broken", deadline_ns=100)
    office.room.serve(now_ns=0)
    assert office.failed == [("broken", "truncated")] and len(office.room) == 0


def test_nobody_gives_way_while_there_is_room():
    office = Office(depth=3)
    assert [office.room.enter(item, deadline_ns=100) for item in "abc"] == [None, None, None]
    assert office.room.clear() == 3


@pytest.mark.parametrize("wait", [2, 5, 40])
def test_waiting_ends_with_the_reason_however_fast_inputs_come(wait):
    office = Office(depth=4)
    for now in range(100):
        office.room.enter(now, deadline_ns=now + wait)
        office.room.serve(now)
        assert len(office.room) <= 4
    assert len(office.failed) >= 100 // wait - 1
    assert {reason for _, reason in office.failed} == {"no pose"}


@pytest.mark.parametrize(("late", "gap"), [(3, 1), (10, 2), (30, 8)])
def test_inputs_that_become_ready_late_are_used_in_their_order_and_evenly(late, gap):
    office = Office(depth=8)
    for now in range(300):
        office.room.enter(now, deadline_ns=now + 50)
        office.ready.add(now - late)
        office.room.serve(now)
    assert office.used == sorted(office.used) and not office.failed
    assert office.used[-1] >= 300 - late - gap
    assert max(np.diff(office.used)) <= gap


def test_a_clock_that_was_set_back_does_not_prolong_the_waiting():
    office = Office(depth=4)
    office.room.enter("before", deadline_ns=1_000_100)
    office.room.enter("after", deadline_ns=200)
    office.room.serve(now_ns=200)
    assert [item for item, _ in office.failed] == ["before", "after"]


def test_pairs_form_in_either_order_and_the_oldest_unpaired_goes():
    pairs = StampPairs(depth=2)
    assert pairs.add_first(1, "mask 1") is None
    assert pairs.add_second(2, "confidence 2") is None
    assert pairs.add_first(2, "mask 2") == ("mask 2", "confidence 2")
    assert pairs.add_second(1, "confidence 1") == ("mask 1", "confidence 1")
    assert pairs.add_second(1, "again") is None
    for stamp in (3, 4, 5):
        pairs.add_first(stamp, f"mask {stamp}")
    assert pairs.add_second(3, "too late") is None
    assert pairs.add_second(5, "confidence 5") == ("mask 5", "confidence 5")


def info(stamp_ns, width=64, focal=50.0):
    msg = CameraInfo(width=width, height=36, k=[focal, 0.0, 32.0, 0.0, focal, 18.0, 0.0, 0.0, 1.0])
    msg.header.stamp = stamp_from_ns(stamp_ns)
    return msg


def test_a_camera_is_built_once_per_calibration():
    infos = CameraInfos(depth=3)
    assert infos.camera(1, 64, 36) is None
    infos.add(info(1))
    first = infos.camera(1, 64, 36)
    infos.add(info(2))
    assert infos.camera(2, 64, 36) is first
    infos.add(info(3, focal=60.0))
    assert infos.camera(3, 64, 36).matrix[0, 0] == 60.0


def test_the_camera_info_of_the_stamp_goes_before_the_newest_of_the_size():
    infos = CameraInfos(depth=5)
    for msg in (info(1, focal=40.0), info(2, focal=50.0), info(3, width=128, focal=99.0)):
        infos.add(msg)
    assert infos.camera(1, 64, 36).matrix[0, 0] == 40.0
    assert infos.camera(7, 64, 36).matrix[0, 0] == 50.0


def test_a_wrong_size_and_a_bad_matrix_are_refused_and_the_next_good_one_works():
    infos = CameraInfos(depth=5)
    infos.add(info(1))
    with pytest.raises(CameraError, match="64x36.*128x72"):
        infos.camera(1, 128, 72)
    infos.add(info(2, focal=float("nan")))
    with pytest.raises(CameraError, match="camera matrix K"):
        infos.camera(2, 64, 36)
    infos.add(info(3))
    assert infos.camera(3, 64, 36).width == 64
