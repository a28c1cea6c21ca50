from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from seg_perception.core.stamps import StampGuard

S = 10**9


def run(guard, *stamps_s, now_s=100.0, max_age_s=0.0):
    return [bool(guard.stale(round(stamp * S), round(now_s * S), max_age_s)) for stamp in stamps_s]


def test_repeated_and_disordered_stamps_are_stale_until_time_moves_on():
    assert run(StampGuard(), 10.0, 10.0, 9.5, 10.1, 10.05, 10.2) == [False, True, True, False, True, False]


def test_a_jump_back_by_more_than_a_second_is_a_new_beginning():
    assert run(StampGuard(), 50.0, 10.0, 10.1, 9.9) == [False, False, False, True]


def test_old_stamps_are_stale_and_leave_no_trace():
    assert run(StampGuard(), 99.0, 94.0, 99.5, now_s=100.0, max_age_s=5.0) == [False, True, False]


def test_without_a_limit_any_age_will_do():
    assert run(StampGuard(), 0.0, 1.0, now_s=1e9) == [False, False]


def test_simulated_time_that_has_not_started_makes_nothing_stale():
    assert run(StampGuard(), 10.0, now_s=0.0, max_age_s=5.0) == [False]


def test_the_reason_names_age_and_remedy():
    reason = StampGuard().stale(90 * S, 100 * S, 5.0)
    assert "10.0 s old" in reason and "max_age" in reason and "use_sim_time" in reason


def test_a_stamp_ahead_of_the_clock_is_refused_with_the_remedy_and_leaves_no_trace():
    guard = StampGuard()
    assert run(guard, 99.0, 100.5, 160.0, 100.6, now_s=100.0, max_age_s=5.0) == [False, False, True, False]
    reason = guard.stale(160 * S, 100 * S, 5.0)
    assert "60.0 s ahead" in reason and "use_sim_time" in reason
    assert run(guard, 160.0, now_s=100.0) == [False]


def test_only_the_first_stamp_of_a_new_beginning_is_a_restart():
    guard = StampGuard()
    restarts = [guard.restarted for stamp in (50.0, 50.1, 10.0, 10.1) if not guard.stale(round(stamp * S), 0, 0.0)]
    assert restarts == [False, False, True, False]
