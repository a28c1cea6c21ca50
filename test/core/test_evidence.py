"""What one view proves about the ground, against the same rule applied to one sample at a time."""

from pathlib import Path

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seg_perception.core import pose
from seg_perception.core.camera import Camera
from seg_perception.core.classes import ClassTable
from seg_perception.core.evidence import COVERED, NOT_FREE, OVERHANG, ViewError, confidence_weights, observe
from seg_perception.core.ground import PolarMap, Viewpoint

TABLE = ClassTable.load(Path(__file__).parents[2] / "config" / "classes" / "camvid.yaml")
ROAD, CAR = 3, 8
CAMERA = Camera(320, 240, np.array([[220.0, 0, 159.5], [0, 220.0, 119.5], [0, 0, 1]]))
SIDEWAYS = 0.06  # m


@settings(max_examples=60)
@given(
    height=st.floats(0.08, 1.6),
    pitch=st.floats(0.0, 1.1),
    error=st.builds(ViewError, st.floats(0.0, 0.02), st.floats(0.0, 0.03), st.floats(0.0, 2.0)),
    seed=st.integers(0, 2**32 - 1),
)
def test_free_is_ground_with_nothing_behind_it_within_the_errors(height, pitch, error, seed) -> None:
    """However low the camera, and however steeply it looks down: neither less is doubted than may be, nor more."""
    rng = np.random.default_rng(seed)
    mask, confidence = np.full((240, 320), ROAD, np.uint8), np.full((240, 320), 255, np.uint8)
    for image, value in ((mask, CAR), (confidence, 0)):
        u, v = rng.integers(0, 300), rng.integers(0, 220)
        image[v : v + rng.integers(4, 40), u : u + rng.integers(4, 80)] = value
    view = Viewpoint.of(pose.base_from_optical([0, 0, height], 0.0, pitch, 0.0), 0.0)
    polar = PolarMap.build(CAMERA, view, 20.0)
    assume(polar is not None)
    ground = observe(mask, confidence, polar, TABLE, confidence_weights(0.4), error, 20.0).ground

    obstacle = polar.sample(mask, 255) == CAR
    unsure = polar.sample(confidence, 0) == 0
    tangents, row = polar.tangents.astype(float), 1.0 / 220.0
    # An obstacle at the distance h / t + OVERHANG may stand at h / t, and the errors come on top.
    reach = tangents - height / (height / tangents + OVERHANG) + error.tangent(tangents)
    reach = reach / row + error.outline
    beside = SIDEWAYS * tangents / height * 220.0
    rows, columns = polar.shape
    for i, j in zip(rng.integers(0, rows, 200), rng.integers(0, columns, 200), strict=True):
        if obstacle[i, j] or unsure[i, j]:
            continue
        at_least = slice(i, i + int(reach[i] - 0.5) + 1)  # whole rows
        if obstacle[at_least, j].any():
            assert ground[i, j] == COVERED or obstacle[i, max(j - 1, 0) : j + 2].any()
        if (obstacle | unsure)[at_least, j].any() or at_least.stop > rows:
            assert ground[i, j] >= NOT_FREE
        last, side = i + int(reach[i] + 0.5), int(1.13 * beside[i]) + 2
        around = np.s_[i : last + 1, max(j - side, 0) : j + side + 1]
        if last < rows and not (obstacle | unsure)[around].any():
            assert ground[i, j] < NOT_FREE
