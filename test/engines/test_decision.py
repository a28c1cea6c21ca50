import pytest

from seg_perception.engines.decision import logits_of

onnx = pytest.importorskip("onnx")


def graph(*nodes: tuple[str, list[str], str], constants=()):  # type: ignore[no-untyped-def]
    made = [onnx.helper.make_node(operator, inputs, [output]) for operator, inputs, output in nodes]
    return onnx.helper.make_graph(made, "graph", [], [], constants)


def shape(name: str, *dimensions: int):  # type: ignore[no-untyped-def]
    return onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(dimensions)], dimensions)


INSIDE = ("ReduceMax", ["features"], "strongest")


def test_logits_are_compared_with_their_own_maximum() -> None:
    decision = ("ReduceMax", ["scores"], "top"), ("Equal", ["scores", "top"], "is_top")
    assert logits_of(graph(INSIDE, *decision)) == "scores"


def test_flattened_logits_are_those_before_it() -> None:
    decision = ("ReduceMax", ["flat"], "top"), ("Equal", ["flat", "top"], "is_top")
    flattened = graph(("Reshape", ["scores", "pixels"], "flat"), *decision, constants=[shape("pixels", 1, 3, 16)])
    assert logits_of(flattened) == "scores"
    own = graph(("Reshape", ["tokens", "planes"], "flat"), *decision, constants=[shape("planes", 1, 3, 4, 4)])
    assert logits_of(own) == "flat"


def test_logits_are_what_argmax_is_taken_of() -> None:
    assert logits_of(graph(INSIDE, ("ArgMax", ["scores"], "mask"))) == "scores"


def test_another_comparison_decides_nothing() -> None:
    assert logits_of(graph(INSIDE, ("Equal", ["scores", "strongest"], "equal"))) is None


def test_two_decisions_cannot_be_told_apart() -> None:
    assert logits_of(graph(("ArgMax", ["a"], "first"), ("ArgMax", ["b"], "second"))) is None
