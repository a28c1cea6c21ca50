"""Pacing by stamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2")

from seg_perception.ros.pacing import RateLimit, StreamClock

SECOND = 1_000_000_000


def chosen(stamps, rate_hz):
    limit = RateLimit()
    return [stamp for stamp in stamps if limit.is_due(stamp, rate_hz)]


@given(st.lists(st.floats(0.0, 0.2), min_size=2, max_size=300), st.floats(1.0, 50.0))
def test_no_more_results_than_allowed(steps, rate_hz):
    stamps = [sum(steps[:i]) for i in range(len(steps))]
    taken = chosen(stamps, rate_hz)
    assert len(taken) <= (taken[-1] - taken[0]) * rate_hz + 1.5


@given(st.lists(st.floats(-0.01, 0.01), min_size=100, max_size=100))
def test_a_stream_at_the_allowed_rate_passes_whole_although_it_jitters(jitter):
    stamps = [1000.0 + 0.1 * i + j for i, j in enumerate(jitter)]
    assert chosen(stamps, 10.0) == stamps


@given(st.lists(st.floats(-0.02, 0.045), min_size=100, max_size=100))
def test_a_late_result_does_not_cost_the_next_one_its_turn(lateness):
    stamps = [1000.0] + [1000.1 + 0.1 * i + late for i, late in enumerate(lateness)]
    assert chosen(stamps, 10.0) == stamps


def test_a_stream_of_three_times_the_rate_is_thinned_evenly():
    taken = chosen([i / 30 for i in range(91)], 10.0)
    assert [round(stamp * 10) for stamp in taken] == list(range(31))


def test_a_new_rate_holds_at_once():
    limit = RateLimit()
    assert limit.is_due(0.0, 0.1)
    assert not limit.is_due(1.0, 0.1)
    assert limit.is_due(1.1, 10.0)
    assert [limit.is_due(1.1 + i / 10, 10.0) for i in range(1, 4)] == [True] * 3
    assert not limit.is_due(2.0, 0.1)


def test_while_nobody_has_told_the_time_none_passes():
    clock = StreamClock()
    clock.arrived(stamp_ns=100 * SECOND, now_ns=0)
    assert (clock.stamp_ns(0), clock.silence_s(0)) == (100 * SECOND, 0.0)
    assert (clock.stamp_ns(1_700_000_000 * SECOND), clock.silence_s(1_700_000_000 * SECOND)) == (100 * SECOND, 0.0)
    assert clock.stamp_ns(1_700_000_003 * SECOND) == 103 * SECOND


def test_time_goes_on_at_the_pace_of_the_nodes_clock():
    clock = StreamClock()
    clock.arrived(stamp_ns=100 * SECOND, now_ns=7000 * SECOND)
    assert clock.stamp_ns(7003 * SECOND) == 103 * SECOND
    assert clock.silence_s(7003 * SECOND) == 3.0


def test_a_clock_that_jumps_back_stops_silence_not_time():
    clock = StreamClock()
    clock.arrived(stamp_ns=100 * SECOND, now_ns=100 * SECOND)
    assert clock.silence_s(10 * SECOND) == 0.0
    assert clock.stamp_ns(12 * SECOND) == 102 * SECOND
