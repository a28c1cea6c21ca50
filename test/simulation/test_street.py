"""Drives: the same again, true to their labels, depth and poses."""

import numpy as np
import pytest

from seg_perception.core import pose
from seg_perception.core.classes import ClassTable
from seg_perception.simulation.labels import Label
from seg_perception.simulation.street import Drive, training_frame

SIZE = {"width": 320, "height": 180}


@pytest.fixture(scope="module")
def drive():
    return Drive(3, **SIZE, frames=40)


@pytest.fixture(scope="module")
def frame(drive):
    return drive.frame(20)


def points_of(drive, frame, chosen):
    """World points (N, 3) that the chosen pixels show."""
    v, u = np.nonzero(chosen)
    rays = drive.camera.rays(np.column_stack([u, v]))
    return pose.apply(frame.world_from_optical, rays * frame.depth[chosen][:, None])


def test_a_drive_repeats_itself_in_any_order(drive, frame):
    again = Drive(3, **SIZE, frames=40)
    assert again.frame(39).stamp_s == 3.9
    repeated = again.frame(20)
    for name in ("image", "labels", "depth", "world_from_base", "world_from_optical"):
        np.testing.assert_array_equal(getattr(repeated, name), getattr(frame, name))
    assert (repeated.speed, repeated.yaw_rate) == (frame.speed, frame.yaw_rate)


def test_iterating_gives_every_frame_once():
    short = Drive(3, 64, 36, rate_hz=5.0, frames=3)
    assert [(f.index, f.stamp_s) for f in short] == [(0, 0.0), (1, 0.2), (2, 0.4)]
    assert len(short) == 3


@pytest.mark.parametrize("index", [-1, 40])
def test_a_frame_outside_the_drive_is_refused(drive, index):
    with pytest.raises(IndexError, match="drive of 40 frames"):
        drive.frame(index)


def test_frames_have_the_promised_shapes(frame):
    assert (frame.image.shape, frame.image.dtype) == ((180, 320, 3), np.uint8)
    assert (frame.labels.shape, frame.labels.dtype) == ((180, 320), np.uint8)
    assert (frame.depth.shape, frame.depth.dtype) == ((180, 320), np.float32)


def test_seeds_differ(frame):
    other = Drive(4, **SIZE, frames=40).frame(20)
    assert np.mean(other.labels != frame.labels) > 0.1


def test_ground_pixels_lie_on_the_ground(drive, frame):
    ground = np.isin(frame.labels, (Label.ROAD, Label.PAVEMENT, Label.VOID)) & (frame.depth < 40)
    assert np.abs(points_of(drive, frame, ground)[:, 2]).max() < 0.002


def test_obstacles_are_above_the_ground_and_reach_it(drive, frame):
    for label in (Label.BUILDING, Label.CAR):
        heights = points_of(drive, frame, (frame.labels == label) & (frame.depth < 30))[:, 2]
        assert -0.002 < heights.min() < 0.15


def test_sky_and_only_sky_is_infinitely_far(frame):
    np.testing.assert_array_equal(np.isinf(frame.depth), frame.labels == Label.SKY)


def test_the_camera_sits_on_its_mount(drive, frame):
    mount = pose.base_from_optical(drive.mount[:3], *drive.mount[3:])
    np.testing.assert_allclose(frame.world_from_optical, frame.world_from_base @ mount, atol=1e-12)


def test_speed_and_yaw_rate_agree_with_the_poses(drive):
    before, now, after = (drive.frame(i) for i in (19, 20, 21))
    step = pose.inverse(before.world_from_base) @ after.world_from_base
    assert np.hypot(step[0, 3], step[1, 3]) / 0.2 == pytest.approx(now.speed, rel=0.02)
    headings = [np.arctan2(f.world_from_base[1, 0], f.world_from_base[0, 0]) for f in (before, after)]
    assert (headings[1] - headings[0]) / 0.2 == pytest.approx(now.yaw_rate, abs=0.01)
    assert 4 <= now.speed <= 10


def test_the_body_rocks_on_the_spot(drive):
    tilts = np.array([np.degrees(np.arccos(drive.frame(i).world_from_base[2, 2])) for i in range(0, 40, 4)])
    assert 0.05 < tilts.max() < 2.0
    assert all(drive.frame(i).world_from_base[2, 3] == 0.0 for i in (0, 20))


@pytest.fixture(scope="module")
def views():
    """Training frames of different streets."""
    return [training_frame(seed, 240, 180) for seed in range(0, 120, 20)]


def test_every_class_appears_and_no_other(views):
    assert {int(label) for _, labels in views for label in np.unique(labels)} == {int(label) for label in Label}


def test_training_frames_have_the_size_asked_for(views):
    assert all(image.shape == (180, 240, 3) and labels.shape == (180, 240) for image, labels in views)
    assert all(image.dtype == labels.dtype == np.uint8 for image, labels in views)


def test_a_lens_is_never_stronger_than_its_field_allows():
    """What the lens leaves dark would show sky, at the bottom corners as well."""
    for seed in (1500, 500_050):  # the first lens drawn for them is too strong
        _, labels = training_frame(seed, 128, 72)
        assert (labels[-1] != Label.SKY).all(), seed


def test_colour_alone_does_not_give_the_class(views):
    """Roads of some views are brighter than buildings of others, and the other way round."""

    def brightness(label):
        return [image[labels == label].mean() for image, labels in views if (labels == label).sum() > 50]

    road, building = brightness(Label.ROAD), brightness(Label.BUILDING)
    assert max(road) > min(building) + 20
    assert max(building) > min(road) + 20


def test_labels_are_those_of_the_class_table(request):
    table = ClassTable.load(request.config.rootpath / "config" / "classes" / "camvid.yaml")
    ours = {label.name.lower(): int(label) for label in Label if label is not Label.VOID}
    assert ours == {c.name: c.id for c in table.classes}


def test_training_frames_depend_on_their_seed_alone(views):
    again = training_frame(100, 240, 180)
    np.testing.assert_array_equal(again[0], views[5][0])
    np.testing.assert_array_equal(again[1], views[5][1])
    assert (training_frame(101, 240, 180)[1] != again[1]).any()
