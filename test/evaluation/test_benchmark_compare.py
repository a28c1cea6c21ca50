"""The comparison's figures: what is divided by what, what is a goal, and what a graph costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seg_perception.core.errors import DataError
from seg_perception.evaluation.benchmark_compare import Row, document, goals, report
from seg_perception.evaluation.graph_cost import multiplications

EAGER = Row("dense", "torch", "torch eager f32", 100.0, 120.0, 40.0, 0.700, 20.0)
INT8 = Row("dense", "int8", "openvino f32", 20.0, 22.0, 10.0, 0.698, 20.0)
SLIM = Row("slim", "int8", "openvino f32", 16.0, 18.0, 6.0, 0.690, 12.0)
MACHINE = {"processor": "abacus", "cores": 2}


def outcomes(*rows: Row) -> dict[str, tuple[float, bool]]:
    return {goal.what: (round(goal.value, 3), goal.met) for goal in goals(rows)}


def test_int8_and_pruning_are_held_against_their_goals() -> None:
    assert outcomes(EAGER, INT8, SLIM) == {
        "int8 of dense: speed against torch": (5.0, True),
        "int8 of dense: file against torch": (0.25, True),
        "int8 of dense: mIoU lost": (0.2, True),
        "slim: multiplications saved": (40.0, True),
        "slim: speed against dense, int8": (1.25, True),
        "slim: mIoU lost": (0.8, True),
    }


def test_goals_can_be_missed() -> None:
    slow = Row("dense", "int8", "cpu", 50.0, 60.0, 20.0, 0.65, 20.0)
    fat = Row("slim", "int8", "cpu", 60.0, 70.0, 19.0, 0.60, 19.0)
    assert not any(met for _, met in outcomes(EAGER, slow, fat).values())


def test_without_scores_nothing_is_said_about_them() -> None:
    unscored = Row("dense", "int8", "openvino f32", 20.0, 22.0, 10.0, None, 20.0)
    assert set(outcomes(EAGER, unscored)) == {"int8 of dense: speed against torch", "int8 of dense: file against torch"}
    assert "| 10.00 | 0.25x | – | – | 20.00 |" in report([EAGER, unscored], MACHINE, 2, 200)


def test_the_table_is_against_torch() -> None:
    text = report([EAGER, INT8, SLIM], MACHINE, 2, 200)
    assert "abacus, 2 threads, one frame at a time, 200 frames" in text
    row = "| dense | int8 | openvino f32 | 20.0 | 22.0 | 5.00x | 10.00 | 0.25x | 69.80 | 0.20 | 20.00 |"
    assert row in text.splitlines()
    assert "| slim: mIoU lost | ≤ 1 points | 0.80 points | met |" in text.splitlines()
    assert document([EAGER, INT8], MACHINE, 2, 200)["rows"][1]["p50_ms"] == 20.0


def graph(nodes: list[Any], weights: dict[str, np.ndarray], shape: tuple[int | str, ...]) -> bytes:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    helper, tensors = onnx.helper, onnx.numpy_helper
    made = helper.make_graph(
        [helper.make_node(*node[:3], **node[3]) for node in nodes],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [tensors.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    content: bytes = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    return content


@pytest.mark.parametrize(
    ("nodes", "weights", "shape", "expected"),
    [
        (
            [("Conv", ["x", "w"], ["y"], {"strides": [2, 2], "pads": [1, 1, 1, 1]})],
            {"w": np.ones((5, 4, 3, 3))},
            (1, 4, 8, 6),
            5 * 4 * 3 * (4 * 9),
        ),
        (
            [("Conv", ["x", "w"], ["y"], {"group": 4})],
            {"w": np.ones((4, 1, 3, 3))},
            (1, 4, 8, 6),
            4 * 6 * 4 * 9,
        ),
        (
            [("ConvTranspose", ["x", "w"], ["y"], {"strides": [2, 2]})],
            {"w": np.ones((4, 3, 2, 2))},
            (1, 4, 8, 6),
            4 * 8 * 6 * 3 * 4,
        ),
        ([("MatMul", ["x", "w"], ["y"], {})], {"w": np.ones((7, 5))}, (2, 3, 7), 2 * 3 * 5 * 7),
        ([("Gemm", ["x", "w"], ["y"], {"transA": 1})], {"w": np.ones((7, 5))}, (7, 3), 3 * 5 * 7),
        ([("Relu", ["x"], ["h"], {}), ("MatMul", ["h", "w"], ["y"], {})], {"w": np.ones((7, 5))}, (3, 7), 3 * 5 * 7),
    ],
    ids=["conv", "depthwise", "transposed", "matmul", "gemm", "behind another"],
)
def test_multiplications_are_those_of_the_definition(
    nodes: list[Any], weights: dict[str, np.ndarray], shape: tuple[int, ...], expected: int
) -> None:
    assert multiplications(graph(nodes, weights, shape)) == expected


def test_open_shapes_are_told() -> None:
    content = graph([("MatMul", ["x", "w"], ["y"], {})], {"w": np.ones((7, 5))}, ("n", 7))
    with pytest.raises(DataError, match="the shape of x in the graph is not fixed"):
        multiplications(content)
