"""Stages in threads: order, back pressure, errors and an early end."""

from __future__ import annotations

import threading

import pytest

from seg_perception.evaluation.overlap import Stages


def doubled(items):
    for item in items:
        yield 2 * item


def test_everything_arrives_in_order():
    with Stages() as stages:
        assert list(stages.run(doubled(stages.run(doubled(stages.run(range(1000))))))) == list(range(0, 4000, 4))


def test_a_stage_is_only_so_far_ahead():
    produced = []

    def source():
        for item in range(100):
            produced.append(item)
            yield item

    with Stages(depth=3) as stages:
        items = stages.run(source())
        next(items)
        threading.Event().wait(0.3)
        assert len(produced) <= 6


def test_an_error_comes_after_the_items_before_it_and_ends_all_threads():
    def failing():
        yield 1
        yield 2
        raise ValueError("broken")

    before = threading.active_count()
    taken = []
    with pytest.raises(ValueError, match="broken"), Stages() as stages:
        for item in stages.run(doubled(stages.run(failing()))):
            taken.append(item)
    assert taken == [2, 4]
    assert threading.active_count() == before


def test_leaving_early_ends_all_threads():
    before = threading.active_count()
    with Stages() as stages:
        items = stages.run(doubled(stages.run(range(10**9))))
        assert [next(items), next(items)] == [0, 2]
    assert threading.active_count() == before
