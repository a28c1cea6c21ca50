"""Model bundles small enough to make in a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from seg_perception.core.classes import ClassTable
from seg_perception.engines.bundle import NewVariant, write_bundle
from seg_perception.engines.manifest import Accepted, InputSpec, Runtime

WIDTH, HEIGHT = 64, 48
DARK, BRIGHT = 0, 1
CONFIDENCE = 200

TABLE = ClassTable.from_dicts(
    [
        {"id": DARK, "name": "dark", "color": [10, 20, 30], "cost": 0, "kind": "ground"},
        {"id": BRIGHT, "name": "bright", "color": [200, 210, 220], "cost": 100, "kind": "obstacle"},
    ]
)


def write_threshold_bundle(folder: Path, resize: str = "stretch", work: int = 0) -> Path:
    """A bundle whose model calls pixels with a mean above 127 bright.

    work: number of convolutions that cost time (some 20 ms each) and change nothing.
    """
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, WIDTH // 2 :] = 255
    variant = NewVariant(
        "fp32",
        _graph(work).SerializeToString(),
        (image[..., 0] > 127).astype(np.uint8),
        (Accepted(Runtime("cpu"), {}),),
    )
    write_bundle(
        folder,
        version="1.0",
        licence="Apache-2.0",
        provenance={"made": "in a test"},
        scores={},
        table=TABLE,
        input_spec=InputSpec(WIDTH, HEIGHT, resize),
        golden_image=image,
        variants=[variant],
    )
    return folder


def _graph(work: int) -> onnx.ModelProto:
    plane = [1, HEIGHT, WIDTH]
    constants = {
        "threshold": np.array(127.0, np.float32),
        "axes": np.array([3], np.int64),
        "confidence_value": np.full(plane, CONFIDENCE, np.uint8),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        *_busy_work(work, constants),
        helper.make_node("Greater", ["busy" if work else "mean", "threshold"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["mask"], to=TensorProto.UINT8),
        helper.make_node("Identity", ["confidence_value"], ["confidence"]),
    ]
    graph = helper.make_graph(
        nodes,
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*plane, 3])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, plane) for name in ("mask", "confidence")],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _busy_work(work: int, constants: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    if not work:
        return []
    channels = 128
    identity = np.zeros((channels, channels, 3, 3), np.float32)
    identity[range(channels), range(channels), 1, 1] = 1.0
    constants |= {"kernel": identity, "one": np.array([1], np.int64), "first": np.array([0], np.int64)}
    constants["wide_shape"] = np.array([1, channels, HEIGHT, WIDTH], np.int64)
    nodes = [
        helper.make_node("Unsqueeze", ["mean", "one"], ["plane"]),
        helper.make_node("Expand", ["plane", "wide_shape"], ["work0"]),
    ]
    for i in range(work):
        nodes.append(helper.make_node("Conv", [f"work{i}", "kernel"], [f"work{i + 1}"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Gather", [f"work{work}", "first"], ["narrow"], axis=1))
    nodes.append(helper.make_node("Squeeze", ["narrow", "one"], ["busy"]))
    return nodes
