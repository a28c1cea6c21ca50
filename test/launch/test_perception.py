from __future__ import annotations

import array
import os
import re
import signal
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="onnx makes the model of these tests")

from node_processes import wait_for
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from threshold_bundle import BRIGHT

from seg_perception.core.fastdds import profile_variables

SHARE = Path(__file__).resolve().parents[2]
RVIZ = SHARE / "config" / "rviz" / "perception.rviz"


def topics(client):
    return {name for name, _ in client.node.get_topic_names_and_types()}


def shown_in_rviz():
    """Topics of the view, relative to the namespace in which it runs; there, `image` is the camera's."""
    displays = yaml.safe_load(RVIZ.read_text())["Visualization Manager"]["Displays"]
    return {display["Topic"]["Value"] for display in displays if "Topic" in display}


def get_parameters(client, node, *names):
    response = client.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=list(names)))
    return dict(zip(names, map(parameter_value_to_python, response.values), strict=True))


def bright_image(client):
    header = Header(stamp=client.node.get_clock().now().to_msg(), frame_id="camera_optical")
    pixels = array.array("B", bytes([255]) * (64 * 48 * 3))
    return Image(header=header, height=48, width=64, step=64 * 3, encoding="bgr8", data=pixels)


def test_nodes_become_active_on_the_expected_topics_and_end_with_ctrl_c(launch, client, bundle):
    started = launch("perception.launch.py", model=bundle)
    started.wait_until_active(client, "/segmenter", "/grid_mapper")
    inputs = {"/camera/image_raw", "/camera/camera_info", "/odom"}
    outputs = {"/segmentation/mask", "/segmentation/classes", "/occupancy_grid", "/obstacles", "/diagnostics"}
    shown = {f"/{name}" for name in shown_in_rviz()} - {"/image"}
    wanted = inputs | outputs | shown
    wait_for(lambda: wanted <= topics(client), f"{wanted}")
    started.interrupt()
    assert started.returncode() == 0, started.log
    assert started.log.count("process has finished cleanly") == 2, started.log


def test_arguments_reach_the_nodes_in_a_namespace(launch, client, bundle, tmp_path):
    robot, mine = tmp_path / "robot.yaml", tmp_path / "mine.yaml"
    indoor = (SHARE / "config" / "robots" / "rover_indoor.yaml").read_text()
    robot.write_text(indoor.replace("publish_rate: 10.0", "publish_rate: 10"))
    mine.write_text("/**/grid_mapper:\n  ros__parameters:\n    publish_rate: 3.5\n")
    started = launch(
        "perception.launch.py",
        robot=robot,
        model=bundle,
        camera="/cameras/front",
        image="image",
        namespace="front",
        params_file=mine,
    )
    started.wait_until_active(client, "/front/segmenter", "/front/grid_mapper")
    assert get_parameters(client, "/front/segmenter", "model", "device") == {"model": str(bundle), "device": "cpu"}
    grid = get_parameters(client, "/front/grid_mapper", "resolution", "mount.z", "publish_rate")
    assert grid == {"resolution": 0.05, "mount.z": 0.3, "publish_rate": 3.5}

    masks = client.collect(Image, "/front/segmentation/mask", qos_profile_sensor_data)
    images = client.node.create_publisher(Image, "/cameras/front/image", qos_profile_sensor_data)

    def answered():
        images.publish(bright_image(client))
        return masks

    wait_for(answered, "a mask")
    assert set(masks[0].data) == {BRIGHT}


def test_a_robot_with_several_cameras_has_a_segmenter_for_each_and_one_grid_mapper(
    launch, client, bundle, tmp_path, monkeypatch
):
    rviz_arguments = pretend_rviz(tmp_path, monkeypatch)
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**/grid_mapper:\n  ros__parameters:\n    cameras: [front, rear]\n    rear: {use_depth: true}\n")
    started = launch("perception.launch.py", model=bundle, params_file=mine, depth="depth/image", rviz="true")
    started.wait_until_active(client, "/front/segmenter", "/rear/segmenter", "/grid_mapper")
    inputs = {"/front/image_raw", "/rear/image_raw", "/rear/camera_info", "/rear/depth/image"}
    masks = {"/front/segmentation/mask", "/rear/segmentation/mask"}
    wait_for(lambda: inputs | masks <= topics(client), f"{inputs | masks}")
    wait_for(lambda: all(client.node.count_subscribers(topic) for topic in masks), "one grid_mapper for all masks")

    collected = [client.collect(Image, topic, qos_profile_sensor_data) for topic in sorted(masks)]
    images = client.node.create_publisher(Image, "/rear/image_raw", qos_profile_sensor_data)

    def answered():
        images.publish(bright_image(client))
        return collected[1]

    wait_for(answered, "a mask")
    assert not collected[0]

    arguments = rviz_arguments.read_text().split()
    assert Path(arguments[arguments.index("-d") + 1]).is_file()
    assert {"image:=front/image_raw", "segmentation/overlay:=front/segmentation/overlay"} <= set(arguments), arguments


def test_a_node_that_dies_is_started_again(launch, client, bundle):
    started = launch("perception.launch.py", model=bundle)
    started.wait_until_active(client, "/segmenter", "/grid_mapper")
    dead = re.search(r"\[segmenter-\d+\]: process started with pid \[(\d+)\]", started.log)
    assert dead, started.log
    os.kill(int(dead[1]), signal.SIGKILL)
    wait_for(lambda: started.log.count("[segmenter-1]: process started") == 2, "a new process")
    started.wait_until_active(client, "/segmenter", "/grid_mapper")
    started.interrupt()
    assert started.returncode() == 0, started.log


def test_a_node_that_cannot_start_ends_the_launch(launch, bundle):
    started = launch("perception.launch.py", model=bundle, image_transport="jpeg")
    started.returncode()
    assert "image_transport" in started.log and "cannot start" in started.log, started.log
    assert started.log.count("[segmenter-1]: process started") == 1


def test_a_section_that_reaches_no_node_ends_the_launch_with_one_line(launch, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("segmenter:\n  ros__parameters: {device: gpu}\n")
    started = launch("perception.launch.py", robot="car_surround", params_file=mine)
    assert started.returncode() == 1
    assert "section /segmenter is not for /front/segmenter" in started.log and "process started" not in started.log


@pytest.mark.parametrize("argument", ["image", "depth"])
def test_one_topic_for_several_cameras_ends_the_launch_with_one_line(launch, argument):
    started = launch("perception.launch.py", robot="car_surround", **{argument: "/one/image_raw"})
    assert started.returncode() == 1
    assert f"{argument}:=/one/image_raw would be that of each of the cameras front, left" in started.log
    assert "process started" not in started.log


def test_the_users_file_overrides_whatever_the_robots_sections_are_called(launch, client, bundle, tmp_path):
    robot, mine = tmp_path / "robot.yaml", tmp_path / "mine.yaml"
    robot.write_text("/**: {ros__parameters: {threads: 3}}\n/segmenter: {ros__parameters: {threads: 2}}\n")
    mine.write_text("/**: {ros__parameters: {threads: 1}}\n")
    started = launch("perception.launch.py", robot=robot, model=bundle, params_file=mine)
    started.wait_until_active(client, "/segmenter", "/grid_mapper")
    assert "cpu, 1 thread\n" in started.log, started.log


def test_parameters_reach_nodes_below_a_namespace_of_their_own_in_a_launch_with_another(
    launch, client, bundle, tmp_path
):
    mine, outer = tmp_path / "mine.yaml", tmp_path / "outer.launch.py"
    mine.write_text("/**: {ros__parameters: {threads: 1}}\n")
    perception = Path(__file__).parents[2] / "launch" / "perception.launch.py"
    arguments = {"model": str(bundle), "params_file": str(mine), "namespace": "/own"}
    outer.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import GroupAction, IncludeLaunchDescription\n"
        "from launch.launch_description_sources import PythonLaunchDescriptionSource\n"
        "from launch_ros.actions import PushRosNamespace\n"
        "def generate_launch_description():\n"
        f"    source = PythonLaunchDescriptionSource({str(perception)!r})\n"
        f"    included = IncludeLaunchDescription(source, launch_arguments={arguments!r}.items())\n"
        "    return LaunchDescription([GroupAction([PushRosNamespace('fleet'), included])])\n"
    )
    started = launch(outer)
    started.wait_until_active(client, "/own/segmenter", "/own/grid_mapper")
    assert "cpu, 1 thread\n" in started.log, started.log


def test_a_driver_with_its_own_tree_of_topics(launch, client, bundle, tmp_path):
    """As RealSense's has them: colour in a folder of its own, aligned depth in another."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**/grid_mapper:\n  ros__parameters: {use_depth: true}\n")
    depth = "/camera/aligned_depth_to_color/image_raw"
    arguments = {"camera": "/camera", "image": "color/image_raw", "depth": depth}
    started = launch("perception.launch.py", model=bundle, params_file=mine, **arguments)
    started.wait_until_active(client, "/segmenter", "/grid_mapper")
    inputs = {"/camera/color/image_raw", "/camera/color/camera_info", depth}
    wait_for(lambda: inputs <= topics(client), f"{inputs}")


def test_without_rviz_no_node_is_left_behind(launch, bundle):
    started = launch("perception.launch.py", model=bundle, rviz="true")
    assert started.returncode() == 1
    errors = [line for line in started.log.splitlines() if "[ERROR]" in line]
    assert len(errors) == 1 and "rviz2 is not installed" in errors[0]
    assert "process started" not in started.log


def pretend_rviz(folder, monkeypatch):
    """A package rviz2 whose program writes what it is called with into the file that this returns."""
    index, programs = folder / "share" / "ament_index" / "resource_index" / "packages", folder / "lib" / "rviz2"
    index.mkdir(parents=True)
    (index / "rviz2").touch()
    programs.mkdir(parents=True)
    (programs / "rviz2").write_text(f'#!/bin/sh\necho "$@" > "{folder}/arguments"\n')
    (programs / "rviz2").chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{folder}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}")
    return folder / "arguments"


def test_a_file_that_holds_no_parameters_ends_the_launch_with_one_line(launch, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("grid_mapper: 3\n")
    started = launch("perception.launch.py", params_file=mine)
    assert started.returncode() == 1
    errors = [line for line in started.log.splitlines() if "[ERROR]" in line]
    assert len(errors) == 1 and f"{mine}: cannot be read as ROS parameters" in errors[0]


@pytest.mark.parametrize(
    ("argument", "value", "known"),
    [
        ("robot", "tank", "rover_indoor, rover_outdoor"),
        ("model", "no_such_model", "no_such_model"),
        ("params_file", "no_such.yaml", "no_such.yaml"),
    ],
)
def test_unknown_file_ends_the_launch_with_one_line(launch, argument, value, known):
    started = launch("perception.launch.py", **{argument: value})
    assert started.returncode() == 1
    errors = [line for line in started.log.splitlines() if "[ERROR]" in line]
    assert len(errors) == 1
    assert f"{argument} {value!r}: there is no such" in errors[0]
    assert known in errors[0]
    assert "process started" not in started.log


def test_fast_dds_profile_of_the_user_stays(launch):
    name = profile_variables()[0]
    environment = {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp", name: "/mine.xml"}
    started = launch("perception.launch.py", environment, robot="tank")
    started.returncode()
    assert f"Fast DDS uses your {name}=/mine.xml" in started.log


def test_shipped_fast_dds_profile_is_named_where_the_user_has_none(launch):
    environment = {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp", "FASTDDS_DEFAULT_PROFILES_FILE": ""}
    started = launch("perception.launch.py", {**environment, "FASTRTPS_DEFAULT_PROFILES_FILE": ""}, robot="tank")
    started.returncode()
    assert "/config/fastdds_large_images" in started.log
