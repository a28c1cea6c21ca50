"""The nodes, fed a recording frame by frame over DDS, publish what an evaluation of the recording writes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("seg_perception.msg", reason="the messages are not built; run make setup")

from nav_msgs.msg import OccupancyGrid, Odometry
from node_processes import NodeProcess, wait_for
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from seg_perception.evaluation.bags import open_bag
from seg_perception.evaluation.evaluate_run import Request, evaluate
from seg_perception.msg import PipelineStatus
from seg_perception.ros.conversions import stamp_from_ns, stamp_to_ns
from seg_perception.ros.qos import latched, stream_output

sys.path.append(str(Path(__file__).resolve().parents[1] / "evaluation"))  # driving_bags
from driving_bags import MOUNT, write_drive, write_robot
from threshold_bundle import write_threshold_bundle

FRAMES = 10
GRID_MAPPER = {"size_x": 40.0, "size_y": 40.0, "pose_source": "odometry", "publish_rate": 100.0, "pose_wait": 5.0}
MOUNTED = {f"mount.{name}": value for name, value in MOUNT.items()}


@pytest.fixture
def nodes(tmp_path):
    """Both nodes, in the time of the recording."""
    bundle = write_threshold_bundle(tmp_path / "bundle")
    common = {"use_sim_time": True, "max_age": 0.0, "timeout": 1000.0}
    started = [
        NodeProcess("segmenter", tmp_path / "segmenter.txt", {**common, "model": str(bundle), "threads": 1}, {}),
        NodeProcess("grid_mapper", tmp_path / "grid_mapper.txt", {**common, **GRID_MAPPER, **MOUNTED}, {}),
    ]
    yield bundle
    for node in started:
        node.stop()


def in_ros(kind, message):
    """A message of a bag as one of rclpy's."""
    result = kind()
    for name in result.get_fields_and_field_types():
        value = getattr(message, name)
        if hasattr(value, "__dataclass_fields__"):
            value = in_ros(type(getattr(result, name)), value)
        elif isinstance(value, np.ndarray):
            value = value.tolist()
        setattr(result, name, value)
    return result


def planes(bag, topic):
    """Stamp → content, as the messages have it."""
    with open_bag(bag) as opened:
        return {stamp_to_ns(message.header.stamp): bytes(message.data) for *_, message in opened.messages([topic])}


def received(messages):
    return {stamp_to_ns(message.header.stamp): bytes(np.array(message.data).astype(np.int8)) for message in messages}


def connect(client, images, masks):
    """Discovery is over when the mask of an image has come everywhere: each side may see the other first.

    Returns the stamps of the images, which are before the recording's: the grid_mapper knows no pose for them.
    """
    states = client.collect(PipelineStatus, "grid_mapper/status", stream_output())
    image = Image(height=4, width=4, encoding="mono8", step=4, data=bytes(16))
    stamps = []

    def arrived():
        stamps.append(len(stamps) + 1)
        image.header.stamp = stamp_from_ns(stamps[-1])
        images.publish(image)
        time.sleep(0.3)
        return masks and any(state.received for state in states)

    wait_for(arrived, "a first mask")
    return stamps


def test_live_masks_and_grids_are_those_of_the_replay(nodes, client, tmp_path):
    drive = write_drive(tmp_path / "drive", FRAMES)
    robot = write_robot(tmp_path / "robot.yaml")
    parameters = yaml.safe_load(robot.read_text())["/**/grid_mapper"]["ros__parameters"]
    assert {name: GRID_MAPPER[name] for name in parameters if name != "mount"}.items() <= parameters.items()

    topics = {"/odom": Odometry, "/camera_info": CameraInfo, "/image": Image}
    publish = {topic: client.node.create_publisher(kind, topic, stream_output()) for topic, kind in topics.items()}
    clock = client.node.create_publisher(Clock, "/clock", 10)
    masks = client.collect(Image, "segmentation/mask", stream_output())
    grids = client.collect(OccupancyGrid, "occupancy_grid", latched())
    wait_for(lambda: all(p.get_subscription_count() for p in publish.values()), "connections")
    wait_for(lambda: clock.get_subscription_count() >= 2, "connections of the clock")
    before = connect(client, publish["/image"], masks)

    stamp = 0
    with open_bag(drive) as bag:
        for topic, time_ns, message in bag.messages(topics):
            clock.publish(Clock(clock=stamp_from_ns(time_ns)))
            publish[topic].publish(in_ros(topics[topic], message))
            if topic == "/image":
                stamp = stamp_to_ns(message.header.stamp)
                wait_for(lambda: stamp in received(masks), "the mask")  # noqa: B023
            elif topic == "/odom" and stamp:
                wait_for(lambda: stamp in received(grids), "the grid")  # noqa: B023

    evaluate(
        Request(out=str(tmp_path / "out"), bag=str(drive), model=str(nodes), robot=str(robot), threads=1),
        lambda count: None,
        lambda frames: None,
    )
    found = {stamp: mask for stamp, mask in received(masks).items() if stamp not in before}
    assert found == planes(tmp_path / "out" / "bag", "/segmentation/mask")
    replayed = planes(tmp_path / "out" / "bag", "/occupancy_grid")
    assert received(grids) == replayed and len(replayed) == FRAMES
    assert any(np.frombuffer(cells, np.int8).max() >= 65 for cells in replayed.values()), "the wall"
