from __future__ import annotations

import array
import importlib.util
import os

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, TransformStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

TYPES = get_typestore(Stores.ROS2_HUMBLE)
needs_rosbag2 = pytest.mark.skipif(
    importlib.util.find_spec("ros2bag") is None,
    reason="ros2bag is not installed; every full ROS 2 installation has it, the wheels do not",
)
START_NS = 1_700_000_000_000_000_000
STAMPS = [START_NS + index * 250_000_000 for index in range(16)]
WIDTH, HEIGHT = 64, 48


def stamped(message, frame, stamp):
    message.header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=frame)
    return message


def camera_info():
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [WIDTH / 2, 0.0, (WIDTH - 1) / 2, 0.0, WIDTH / 2, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
    return info


def dark_image():
    data = array.array("B", bytes(3 * WIDTH * HEIGHT))
    return Image(width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding="bgr8", data=data)


def write_bag(folder, drive):
    """mcap without any word on QoS. drive: topic → [(stamp, message)]."""
    with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, messages in drive.items():
            kind = type(messages[0][1])
            message_type = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            connection = writer.add_connection(topic, message_type, typestore=TYPES)
            for stamp, message in messages:
                writer.write(connection, stamp, serialize_message(message))
    return folder


def camera_drive(camera="front", image="image"):
    return {
        f"/{camera}/{image}": [(stamp, stamped(dark_image(), f"{camera}_optical", stamp)) for stamp in STAMPS],
        f"/{camera}/camera_info": [(stamp, stamped(camera_info(), f"{camera}_optical", stamp)) for stamp in STAMPS],
    }


def odometry():
    return {"/odom": [(stamp, stamped(Odometry(child_frame_id="base_link"), "odom", stamp)) for stamp in STAMPS]}


@pytest.fixture
def bag(tmp_path):
    """A camera that stands over dark ground, its robot with odometry."""
    return write_bag(tmp_path / "drive", {**camera_drive(), **odometry()})


def recorded(folder, topic):
    """(stamp of the message, message) of all on a topic."""
    with AnyReader([folder]) as reader:
        connections = [connection for connection in reader.connections if connection.topic == topic]
        messages = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages(connections=connections)]
    return [(m.header.stamp.sec * 10**9 + m.header.stamp.nanosec, m) for m in messages]


@needs_rosbag2
def test_results_of_a_bag_are_recorded_with_its_stamps(launch, bundle, bag, tmp_path):
    out = tmp_path / "results"
    started = launch("replay.launch.py", bag=bag, out=out, model=bundle, camera="/front", image="image")
    assert started.returncode(timeout_s=180) == 0, started.log
    assert "process has died" not in started.log

    masks = recorded(out, "/segmentation/mask")
    assert masks, started.log
    assert {stamp for stamp, _ in masks} <= set(STAMPS)
    grids = [grid for _, grid in recorded(out, "/occupancy_grid")]
    assert any(np.any((grid.data >= 0) & (grid.data < 25)) for grid in grids), "free ground"
    assert all(grid.header.frame_id == "odom" for grid in grids)
    with AnyReader([out]) as reader:
        assert START_NS <= reader.start_time < START_NS + 10**10
        assert "/front/image" not in reader.topics


@needs_rosbag2
def test_every_camera_of_a_robot_has_its_results_and_all_fill_one_grid(launch, bundle, tmp_path):
    robot = tmp_path / "robot.yaml"
    robot.write_text(
        "/**/grid_mapper:\n"
        "  ros__parameters:\n"
        "    cameras: [front, rear, left]\n"
        "    front: {mount: {x: 1.0, z: 1.4, pitch: 0.1}}\n"
        "    rear: {mount: {x: -1.0, z: 1.4, pitch: 0.1, yaw: 3.1415}}\n"
        "    left: {mount: {y: 1.0, z: 1.4, pitch: 0.1, yaw: 1.5708}}\n"
    )
    drive = {**camera_drive("front", "image_raw"), **camera_drive("rear", "image_raw"), **odometry()}
    bag, out = write_bag(tmp_path / "drive", drive), tmp_path / "results"
    started = launch("replay.launch.py", bag=bag, out=out, robot=robot, model=bundle)
    assert started.returncode(timeout_s=180) == 0, started.log
    assert "process has died" not in started.log
    assert "has no /left/image_raw, /left/camera_info" in started.log

    for camera in ("front", "rear"):
        masks = recorded(out, f"/{camera}/segmentation/mask")
        assert masks and {stamp for stamp, _ in masks} <= set(STAMPS), started.log
        assert {m.header.frame_id for _, m in masks} == {f"{camera}_optical"}
    grid = recorded(out, "/occupancy_grid")[-1][1]
    cells = grid.data.reshape(grid.info.height, grid.info.width)
    column = int(-grid.info.origin.position.x / grid.info.resolution)
    free = (cells >= 0) & (cells < 25)
    assert free[:, column + 15 :].any() and free[:, : column - 15].any(), "free ground before and behind the robot"
    nodes = {"/front/segmenter/status", "/rear/segmenter/status", "/left/segmenter/status", "/grid_mapper/status"}
    with AnyReader([out]) as reader:
        assert nodes | {"/front/segmentation/classes", "/rear/segmentation/confidence"} <= set(reader.topics)


@needs_rosbag2
def test_six_real_cameras_with_static_tf_fill_one_grid(launch, bundle, shared_data, tmp_path):
    pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")
    if os.environ.get("ROS_DISTRO") == "humble":
        pytest.skip("Humble's rosbag2 cannot read metadata as new as this bag's")
    bag, robot, out = shared_data / "nuscenes" / "bag_mcap", tmp_path / "robot.yaml", tmp_path / "results"
    cameras = [f"cam_{place}" for place in ("front", "front_left", "front_right", "back", "back_left", "back_right")]
    robot.write_text(
        f"/**/grid_mapper:\n  ros__parameters:\n    cameras: [{', '.join(cameras)}]\n"
        "    pose_source: tf\n    world_frame: base_link\n"
    )
    started = launch("replay.launch.py", bag=bag, out=out, robot=robot, model=bundle, image="image")
    assert started.returncode(timeout_s=300) == 0, started.log
    assert "process has died" not in started.log

    for camera in cameras:
        assert recorded(out, f"/{camera}/segmentation/mask"), (camera, started.log)
    status = recorded(out, "/grid_mapper/status")[-1][1]
    assert (status.processed, status.failed) == (len(cameras), 0), status
    first, last = (recorded(out, "/occupancy_grid")[index][1] for index in (0, -1))
    assert last.header.frame_id == "base_link"
    # All masks have the bag's one stamp: the publish rate holds back all but one, while simulated time stands still.
    assert np.count_nonzero(last.data != -1) > 2 * np.count_nonzero(first.data != -1)


@needs_rosbag2
def test_static_tf_is_latched_though_the_bag_forgot_it(launch, bundle, tmp_path):
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed")
    pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")
    mount = TransformStamped(child_frame_id="front_optical")
    mount.transform.translation.z = 1.0
    # x right, y down, z forward
    mount.transform.rotation = Quaternion(x=-0.5, y=0.5, z=-0.5, w=0.5)
    static = tf2_msgs.TFMessage(transforms=[stamped(mount, "base_link", START_NS)])
    moving = [
        (stamp, tf2_msgs.TFMessage(transforms=[stamped(TransformStamped(child_frame_id="base_link"), "odom", stamp)]))
        for stamp in STAMPS
    ]
    drive = {"/tf_static": [(START_NS, static)], "/tf": moving, **camera_drive()}
    bag, out = write_bag(tmp_path / "drive", drive), tmp_path / "results"
    started = launch("replay.launch.py", bag=bag, out=out, model=bundle, camera="/front", image="image")
    assert started.returncode(timeout_s=180) == 0, started.log
    assert recorded(out, "/occupancy_grid"), started.log


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"bag": "/no/such/bag"}, "no metadata.yaml there"),
        ({"image_transport": "compressed"}, "no compressed images on /camera/image_raw, but on /front/image"),
        ({}, "no images on /camera/image_raw, but on /front/image"),
        ({"robot": "car_surround"}, "/right/image_raw, /rear/image_raw, but on /front/image"),
        ({"robot": "tank"}, "robot 'tank': there is no such file or folder; installed are: car"),
        ({"out": "/tmp"}, "exists already"),
    ],
)
def test_bad_argument_ends_the_replay_with_one_line(launch, bag, arguments, reason):
    started = launch("replay.launch.py", **{"bag": bag, **arguments})
    assert started.returncode() == 1
    errors = [line for line in started.log.splitlines() if "[ERROR]" in line]
    assert len(errors) == 1
    assert reason in errors[0]
    assert "process started" not in started.log


@pytest.mark.parametrize("metadata", ["", "other: 1", '"cut'])
def test_a_damaged_bag_ends_the_replay_with_one_line(launch, tmp_path, metadata):
    (tmp_path / "metadata.yaml").write_text(metadata)
    started = launch("replay.launch.py", bag=tmp_path)
    assert started.returncode() == 1
    assert f"bag:={tmp_path}: metadata.yaml is damaged" in started.log and "process started" not in started.log


@needs_rosbag2
def test_model_that_cannot_be_loaded_ends_the_replay(launch, bag, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    started = launch(
        "replay.launch.py", bag=bag, out=tmp_path / "results", model=broken, camera="/front", image="image"
    )
    assert started.returncode(timeout_s=180) == 1
    assert "/segmenter cannot start" in started.log
