"""Stages in threads: order, back pressure, errors and an early end."""

from __future__ import annotations

import threading

import pytest

from seg_perception.evaluation.overlap import Stages, side_by_side


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

    with Stages() as stages:
        items = stages.run(source())
        next(items)
        threading.Event().wait(0.3)
        assert len(produced) <= 7


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


def test_work_is_done_side_by_side_and_leaves_in_order():
    together, done = threading.Barrier(3, timeout=10.0), []

    def work(item):
        if item < 3:
            together.wait()
        threading.Event().wait(0.1 if item == 0 else 0.0)
        done.append(item)

    assert list(side_by_side(range(20), lambda item: item % 5 != 4, work, 3)) == list(range(20))
    assert sorted(done) == [item for item in range(20) if item % 5 != 4]


def test_what_the_source_raises_comes_after_the_items_before_it():
    def failing():
        yield from range(3)
        raise ValueError("broken")

    taken = []
    with pytest.raises(ValueError, match="broken"):
        for item in side_by_side(failing(), lambda item: True, lambda item: threading.Event().wait(0.05), 2):
            taken.append(item)
    assert taken == [0, 1, 2]


def test_what_the_work_raises_comes_in_the_place_of_its_item():
    def work(item):
        if item == 2:
            raise ValueError("broken")

    before = threading.active_count()
    items = side_by_side(range(100), lambda item: True, work, 2)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert threading.active_count() == before
