"""Topics of a camera, as drivers and image_transport name them."""

from __future__ import annotations

import pytest

from seg_perception.core.camera_topics import below, beside, is_rectified


@pytest.mark.parametrize(
    ("prefix", "topic", "found"),
    [
        ("camera", "image_raw", "camera/image_raw"),
        ("/camera/", "color/image_raw", "/camera/color/image_raw"),
        ("", "image_raw", "image_raw"),
        ("/camera/color", "/camera/aligned_depth_to_color/image_raw", "/camera/aligned_depth_to_color/image_raw"),
    ],
)
def test_topics_are_below_the_cameras_prefix_unless_they_are_absolute(prefix, topic, found):
    assert below(prefix, topic) == found


@pytest.mark.parametrize(
    ("image", "info"),
    [
        ("/camera/color/image_raw", "/camera/color/camera_info"),
        ("camera/image_raw/compressed", "camera/camera_info"),
        ("/CAM_FRONT/image_rect_compressed", "/CAM_FRONT/camera_info"),
        ("image_raw", "camera_info"),
        ("/image", "/camera_info"),
    ],
)
def test_camera_info_is_beside_the_image(image, info):
    assert beside(image, "camera_info") == info


@pytest.mark.parametrize(
    ("image", "rectified"),
    [
        ("/camera/image_rect", True),
        ("camera/image_rect_color/compressed", True),
        ("/CAM_FRONT/image_rect_compressed", True),
        ("/camera/image_raw", False),
        ("/image_rect/image", False),
        ("/rectangle", False),
    ],
)
def test_rectified_images_are_told_by_their_name(image, rectified):
    assert is_rectified(image) == rectified
