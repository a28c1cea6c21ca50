"""Tiny graphs by the bundle's contract, and bundles made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable
from seg_perception.engines.bundle import Bundle, NewVariant, write_bundle
from seg_perception.engines.manifest import Accepted, InputSpec, Runtime

WIDTH, HEIGHT = 32, 24
THRESHOLD = 127

ModelFactory = Callable[..., bytes]
BundleFactory = Callable[..., Path]

CLASSES = ClassTable.from_dicts(
    [
        {"id": 0, "name": "road", "color": [128, 64, 128], "cost": 0, "kind": "ground"},
        {"id": 1, "name": "wall", "color": [128, 64, 64], "cost": 100, "kind": "obstacle"},
    ]
)


def green_threshold_model(
    width: int = WIDTH,
    height: int = HEIGHT,
    *,
    channel: int = 1,
    low: int = 0,
    high: int = 1,
    mask_name: str = "mask",
    mask_type: str = "UINT8",
    openvino_lacks_an_op: bool = False,
) -> bytes:
    """mask = `high` where the channel is brighter than 127, else `low`; confidence = the channel."""
    pytest.importorskip("onnx", reason="onnx makes the models of these tests")
    from onnx import TensorProto, helper

    uint8, mask_type_id = TensorProto.UINT8, TensorProto.DataType.Value(mask_type)
    constants = [
        helper.make_tensor("channel", TensorProto.INT64, [1], [channel]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [3]),
        helper.make_tensor("threshold", uint8, [], [THRESHOLD]),
        helper.make_tensor("low", uint8, [], [low]),
        helper.make_tensor("high", uint8, [], [high]),
    ]
    nodes = [
        helper.make_node("Gather", ["image", "channel"], ["plane"], axis=3),
        helper.make_node("Squeeze", ["plane", "axis"], ["confidence"]),
        helper.make_node("Greater", ["confidence", "threshold"], ["bright"]),
        helper.make_node("Where", ["bright", "high", "low"], ["ids"]),
    ]
    if openvino_lacks_an_op:
        nodes += [helper.make_node("Cast", ["ids"], ["text"], to=TensorProto.STRING)]
    source = "text" if openvino_lacks_an_op else "ids"
    nodes += [helper.make_node("Cast", [source], [mask_name], to=mask_type_id)]
    plane = [1, height, width]
    graph = helper.make_graph(
        nodes,
        "green_threshold",
        [helper.make_tensor_value_info("image", uint8, [*plane, 3])],
        [
            helper.make_tensor_value_info(mask_name, mask_type_id, plane),
            helper.make_tensor_value_info("confidence", uint8, plane),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def halves_image(width: int = 2 * WIDTH, height: int = 2 * HEIGHT) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 BGR: left half dark, right half bright green."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :, 1] = 200
    return image


def halves_mask() -> NDArray[np.uint8]:
    """What `green_threshold_model` says about `halves_image`."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, WIDTH // 2 :] = 1
    return mask


@pytest.fixture
def make_model() -> ModelFactory:
    return green_threshold_model


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return halves_image()


@pytest.fixture
def mask() -> NDArray[np.uint8]:
    return halves_mask()


@pytest.fixture
def make_bundle(tmp_path: Path) -> BundleFactory:
    """Writes a bundle of one variant per name given (default: fp32), all with the same graph."""

    def make(
        name: str = "halves",
        *,
        model: bytes | None = None,
        golden_mask: NDArray[np.uint8] | None = None,
        accepted: dict[str, tuple[Accepted, ...]] | None = None,
        resize: str = "stretch",
        version: str = "1.0.0",
        data: object = "drawn by hand",
        format: str = "onnx",
    ) -> Path:
        return write_bundle(
            tmp_path / name,
            version=version,
            licence="MIT",
            provenance={"data": [data]},
            scores={"miou": np.float64(1.0)},
            table=CLASSES,
            input_spec=InputSpec(WIDTH, HEIGHT, resize),
            golden_image=halves_image(),
            variants=[
                NewVariant(
                    variant,
                    green_threshold_model() if model is None else model,
                    halves_mask() if golden_mask is None else golden_mask,
                    entries,
                    format,
                )
                for variant, entries in (accepted or {"fp32": (Accepted(Runtime("cpu"), {"miou": 1.0}, 1.0),)}).items()
            ],
        ).root

    return make


@pytest.fixture
def bundle(make_bundle: BundleFactory) -> Bundle:
    return Bundle.load(make_bundle())
