"""What a camera can play: folders of images and rosbag2, with as much as they know."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from seg_perception.core import pose
from seg_perception.core.errors import DataError
from seg_perception.evaluation.bag_writer import BagWriter
from seg_perception.evaluation.material import EncodedImage, RawImage, decode, open_material

STORE = get_typestore(Stores.LATEST)
MOUNT = (1.5, 0.1, 1.4, 0.02, 0.06, -0.3)


def message(kind: str, *fields: Any) -> Any:
    return STORE.types[kind](*fields)


def header(stamp_ns: int, frame: str) -> Any:
    stamp = message("builtin_interfaces/msg/Time", stamp_ns // 10**9, stamp_ns % 10**9)
    return message("std_msgs/msg/Header", stamp, frame)


def transform(matrix: pose.Transform) -> tuple[Any, Any]:
    position, rotation = (float(v) for v in matrix[:3, 3]), (float(v) for v in pose.quaternion(matrix))
    return tuple(position), tuple(rotation)


class BagMaker:
    """Writes a bag of a driving camera, or parts of one."""

    def __init__(self, path: Path) -> None:
        self._writer = BagWriter(path)
        self._topics: set[str] = set()

    def add(self, topic: str, kind: str, stamp_ns: int, content: Any) -> None:
        if topic not in self._topics:
            self._writer.add_topic(topic, kind)
            self._topics.add(topic)
        self._writer.write(topic, stamp_ns, bytes(STORE.serialize_cdr(content, kind)))

    def image(self, topic: str, stamp_ns: int, value: int, frame: str = "optical") -> None:
        pixels = np.full(12, value, np.uint8)
        content = message("sensor_msgs/msg/Image", header(stamp_ns, frame), 2, 2, "bgr8", 0, 6, pixels)
        self.add(topic, "sensor_msgs/msg/Image", stamp_ns, content)

    def camera_info(self, topic: str, focal: float = 2.0, distortion: float = 0.0, projection: float = 0.0) -> None:
        k = np.array([focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1])
        roi = message("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        p, r, d = np.diag([projection, projection, 1.0, 0.0])[:3].ravel(), np.eye(3).ravel(), np.zeros(5)
        d[0] = distortion
        if not projection:
            p[:] = 0.0
        fields = (header(0, "optical"), 2, 2, "plumb_bob", d, k, r, p, 0, 0, roi)
        self.add(topic, "sensor_msgs/msg/CameraInfo", 1, message("sensor_msgs/msg/CameraInfo", *fields))

    def static(self, parent: str, child: str, matrix: pose.Transform) -> None:
        position, rotation = transform(matrix)
        content = message(
            "geometry_msgs/msg/TransformStamped",
            header(0, parent),
            child,
            message(
                "geometry_msgs/msg/Transform",
                message("geometry_msgs/msg/Vector3", *position),
                message("geometry_msgs/msg/Quaternion", *rotation),
            ),
        )
        self.add("/tf_static", "tf2_msgs/msg/TFMessage", 1, message("tf2_msgs/msg/TFMessage", [content]))

    def odometry(
        self, stamp_ns: int, matrix: pose.Transform, speed: float = 0.0, topic: str = "/odom", norm: float = 1.0
    ) -> None:
        position, rotation = transform(matrix)
        zero = message("geometry_msgs/msg/Vector3", 0.0, 0.0, 0.0)
        placed = message(
            "geometry_msgs/msg/Pose",
            message("geometry_msgs/msg/Point", *position),
            message("geometry_msgs/msg/Quaternion", *(norm * value for value in rotation)),
        )
        twist = message("geometry_msgs/msg/Twist", message("geometry_msgs/msg/Vector3", speed, 0.0, 0.0), zero)
        content = message(
            "nav_msgs/msg/Odometry",
            header(stamp_ns, "odom"),
            "base_link",
            message("geometry_msgs/msg/PoseWithCovariance", placed, np.zeros(36)),
            message("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36)),
        )
        self.add(topic, "nav_msgs/msg/Odometry", stamp_ns, content)

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def maker(tmp_path: Path) -> BagMaker:
    return BagMaker(tmp_path / "bag")


def drive(maker: BagMaker) -> None:
    """Two cameras, the front one mounted in two steps; it drives 1 m between two odometry messages 0.2 s apart."""
    maker.static("base_link", "front", pose.from_rpy(MOUNT[:3], *MOUNT[3:]))
    maker.static("front", "optical", pose.BODY_FROM_OPTICAL)
    for camera in ("back", "front"):
        maker.camera_info(f"/{camera}/camera_info")
    maker.odometry(1_000_000_000, pose.from_rpy((5.0, 0.0, 0.0), 0.0, 0.0, 0.0), speed=5.0)
    maker.image("/back/image", 1_100_000_000, 7, "back_optical")
    maker.image("/front/image", 1_100_000_000, 9)
    maker.odometry(1_200_000_000, pose.from_rpy((6.0, 0.0, 0.0), 0.0, 0.0, 0.4), speed=5.0)


def test_a_bag_with_everything_plays_the_front_camera_with_its_pose(maker: BagMaker, tmp_path: Path) -> None:
    drive(maker)
    maker.close()
    material = open_material(tmp_path / "bag")
    assert material.why_no_grid == ""
    assert material.names == ["/front/image"]
    assert material.mount is not None
    np.testing.assert_allclose(
        [getattr(material.mount, name) for name in ("x", "y", "z", "roll", "pitch", "yaw")], MOUNT, atol=1e-9
    )
    (frame,) = material
    assert isinstance(frame.image, RawImage) and bytes(frame.image.data) == bytes([9] * 12)
    assert frame.camera is not None and frame.camera.width == 2
    assert frame.motion is not None
    np.testing.assert_allclose(frame.motion.world_from_base, pose.from_rpy((5.5, 0, 0), 0, 0, 0.2), atol=1e-9)


def test_a_folder_that_lost_its_metadata_is_still_a_bag(maker: BagMaker, tmp_path: Path) -> None:
    drive(maker)
    maker.close()
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert open_material(tmp_path / "bag").names == ["/front/image"]


def test_a_camera_can_be_chosen(maker: BagMaker, tmp_path: Path) -> None:
    drive(maker)
    maker.close()
    material = open_material(tmp_path / "bag", "/back/image")
    assert material.names == ["/back/image"]
    assert "mount" in material.why_no_grid
    with pytest.raises(DataError, match="/side/image.*/back/image, /front/image"):
        open_material(tmp_path / "bag", "/side/image")


def test_without_odometry_all_cameras_are_played_and_the_lack_is_named(maker: BagMaker, tmp_path: Path) -> None:
    for topic in ("/left/image", "/right/image"):
        maker.image(topic, 100, 1)
        maker.image(topic, 200, 2)
    maker.camera_info("/left/camera_info")
    maker.camera_info("/right/camera_info", focal=0.0)
    maker.close()
    material = open_material(tmp_path / "bag")
    assert material.names == ["/left/image"] * 2 + ["/right/image"] * 2
    for lack in ("camera_info", "mount", "odometry"):
        assert lack in material.why_no_grid
    assert [frame.camera is not None for frame in material] == [True, True, False, False]
    assert all(frame.motion is None for frame in material)


def test_rectified_images_are_played_with_the_projection_matrix(maker: BagMaker, tmp_path: Path) -> None:
    maker.camera_info("/camera_info", distortion=-0.3, projection=3.0)
    for topic in ("/image_raw", "/image_rect"):
        maker.image(topic, 100, 1)
    maker.close()
    cameras = {name: next(iter(open_material(tmp_path / "bag", name))).camera for name in ("/image_raw", "/image_rect")}
    assert cameras["/image_raw"].matrix[0, 0] == 2.0 and cameras["/image_raw"].distortion[0] == -0.3
    assert cameras["/image_rect"].matrix[0, 0] == 3.0 and not cameras["/image_rect"].distortion.any()


def test_labels_have_the_stamps_of_one_camera(maker: BagMaker, tmp_path: Path) -> None:
    for topic in ("/back/image", "/front/image"):
        for stamp_ns in (0, 100, 200):
            maker.image(topic, stamp_ns, 1)
    maker.close()
    assert open_material(tmp_path / "bag").stems() == ["", "", "", "", "100", "200"]


def test_outputs_of_the_pipeline_are_not_taken_for_cameras(maker: BagMaker, tmp_path: Path) -> None:
    maker.image("/segmentation/mask", 100, 1)
    maker.image("/segmentation/overlay", 100, 1)
    maker.close()
    with pytest.raises(DataError, match="no camera images"):
        open_material(tmp_path / "bag")


def test_odometry_that_is_no_pose_and_that_of_another_topic_place_nothing(maker: BagMaker, tmp_path: Path) -> None:
    elsewhere = pose.from_rpy((90.0, 0.0, 0.0), 0.0, 0.0, 0.0)
    maker.odometry(1_090_000_000, elsewhere, norm=0.0)
    maker.odometry(1_095_000_000, elsewhere, topic="/a_filter/output")
    drive(maker)
    maker.close()
    (frame,) = open_material(tmp_path / "bag")
    assert frame.motion is not None
    assert frame.motion.world_from_base[0, 3] == pytest.approx(5.5)


def test_poses_are_not_invented_outside_the_odometry(maker: BagMaker, tmp_path: Path) -> None:
    drive(maker)
    for stamp_ns in (900_000_000, 1_300_000_000):
        maker.image("/front/image", stamp_ns, 1)
    maker.close()
    stamped = {bytes(frame.image.data)[0]: frame.motion for frame in open_material(tmp_path / "bag")}
    assert stamped[1] is None and stamped[9] is not None


@pytest.mark.parametrize("name", ["bag_db3", "bag_mcap"])
def test_real_bags_show_all_six_cameras(shared_data: Path, name: str) -> None:
    material = open_material(shared_data / "nuscenes" / name)
    assert len(set(material.names)) == 6 and material.compressed
    assert material.why_no_grid == "the bag lacks odometry (nav_msgs/Odometry)"
    for frame in material:
        pixels = decode(frame.image)
        assert pixels is not None and frame.camera is not None
        assert pixels.shape[:2] == (frame.camera.height, frame.camera.width)


def test_a_folder_of_jpeg_and_png_goes_out_as_it_is(tmp_path: Path) -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for name in ("b.png", "a.JPG"):
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "notes.txt").write_text("not an image")
    material = open_material(tmp_path)
    assert material.names == ["a.JPG", "b.png"] and material.stems() == ["a", "b"]
    assert material.compressed and material.why_no_grid
    formats = [frame.image.format for frame in material if isinstance(frame.image, EncodedImage)]
    assert formats == ["jpeg", "png"]
    np.testing.assert_array_equal(decode(list(material)[1].image), picture)


def test_a_folder_with_other_formats_goes_out_decoded(tmp_path: Path) -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    cv2.imwrite(str(tmp_path / "b.bmp"), picture)
    material = open_material(tmp_path)
    assert not material.compressed
    for frame in material:
        assert isinstance(frame.image, RawImage) and frame.image.encoding == "bgr8"
        np.testing.assert_array_equal(decode(frame.image), picture)


def test_what_is_no_picture_is_passed_over(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "b.png").mkdir()
    (tmp_path / "._a.png").write_bytes(b"macOS keeps its notes there")
    assert open_material(tmp_path).names == ["a.png"]


def test_a_picture_too_large_for_opencv_is_none() -> None:
    content = bytearray(cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))[1].tobytes())
    content[16:24] = struct.pack(">II", 40_000, 40_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    assert decode(EncodedImage("png", bytes(content))) is None


@pytest.mark.parametrize("beside", ["b.png", "b.bmp"])
def test_images_are_not_turned(tmp_path: Path, upside_down: Callable[[bytes], bytes], beside: str) -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:8] = 255
    (tmp_path / "a.jpg").write_bytes(upside_down(cv2.imencode(".jpg", picture)[1].tobytes()))
    cv2.imwrite(str(tmp_path / beside), picture)
    for frame in open_material(tmp_path):
        np.testing.assert_allclose(decode(frame.image), picture, atol=3)


def test_what_cannot_be_played_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        open_material(tmp_path)
    with pytest.raises(DataError, match="neither"):
        open_material(tmp_path / "missing")
    (tmp_path / "broken.bmp").write_bytes(b"BM but no more")
    with pytest.raises(DataError, match=r"broken\.bmp"):
        list(open_material(tmp_path))


def test_padded_and_swapped_images_are_decoded() -> None:
    rows = np.zeros((2, 8), np.uint8)
    rows[:, :6] = np.arange(12).reshape(2, 6)
    expected = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(decode(RawImage(2, 2, "bgr8", 0, 8, rows.tobytes())), expected)
    np.testing.assert_array_equal(decode(RawImage(2, 2, "rgb8", 0, 8, rows.tobytes())), expected[..., ::-1])
    yuv = decode(RawImage(2, 2, "yuv422", 0, 8, np.full((2, 8), 128, np.uint8).tobytes()))
    assert yuv is not None and yuv.shape == (2, 2, 3), "whatever the live nodes decode"
    assert decode(RawImage(2, 2, "of_my_own", 0, 8, rows.tobytes())) is None
