import pytest

from seg_perception.engines.decision import logits_of

onnx = pytest.importorskip("onnx")


def graph(*nodes: tuple[str, list[str], str]):  # type: ignore[no-untyped-def]
    made = [onnx.helper.make_node(operator, inputs, [output]) for operator, inputs, output in nodes]
    return onnx.helper.make_graph(made, "graph", [], [])


INSIDE = ("ReduceMax", ["features"], "strongest")


def test_logits_are_compared_with_their_own_maximum() -> None:
    decision = ("ReduceMax", ["scores"], "top"), ("Equal", ["scores", "top"], "is_top")
    assert logits_of(graph(INSIDE, *decision)) == "scores"


def test_logits_are_what_argmax_is_taken_of() -> None:
    assert logits_of(graph(INSIDE, ("ArgMax", ["scores"], "mask"))) == "scores"


def test_another_comparison_decides_nothing() -> None:
    assert logits_of(graph(INSIDE, ("Equal", ["scores", "strongest"], "equal"))) is None


def test_two_decisions_cannot_be_told_apart() -> None:
    assert logits_of(graph(("ArgMax", ["a"], "first"), ("ArgMax", ["b"], "second"))) is None
