"""Camera images in, masks and an occupancy grid out: a segmenter for each camera of a robot, one grid mapper for all.

ros2 launch seg_perception perception.launch.py robot:=car model:=road_lite device:=cpu camera:=/camera
ros2 launch seg_perception perception.launch.py robot:=car_surround     # with front/image_raw, left/image_raw, …
"""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.utilities import prefix_namespace

from seg_perception.core.camera_topics import below, beside, compressed
from seg_perception.core.errors import DataError
from seg_perception.core.fastdds import large_images_profile, profile_variables, scarce_shared_memory
from seg_perception.core.presets import (
    as_yaml,
    camera_names,
    merged,
    preset,
    read_sections,
    require_addressed,
    require_own_topics,
    robot_files,
)

SHARE = Path(get_package_share_directory("seg_perception"))

_RESPAWN_DELAY_S = 2.0
_WRONG_PARAMETERS = 2  # a node's exit code

Remappings = list[tuple[str, str]]

DEFAULTS = {
    "robot": ("car", "a preset of config/robots, or the path of a YAML file"),
    "model": ("", "a bundle of config/models, or a path; empty: the robot's"),
    "device": ("", "cpu, cuda, cuda:N; empty: the robot's"),
    "camera": ("camera", "prefix of the camera's topics; where the robot has several cameras, it is the name of each"),
    "image": ("image_raw", "the image's topic below the prefix, or an absolute one; camera_info is beside it"),
    "depth": ("depth_registered/image_rect", "that of aligned depth, likewise, for robots with use_depth"),
    "image_transport": ("", "raw, compressed; empty: the robot's"),
    "odom": ("odom", "odometry, for robots whose TF does not reach the camera"),
    "namespace": ("", "of the nodes and their topics"),
    "params_file": ("", "YAML file whose parameters override the robot's"),
}
SWITCHES = {
    "respawn": ("true", "a node that dies is started again; one whose parameters are not allowed ends the launch"),
    "autostart": ("true", "false: a lifecycle manager configures and activates the nodes"),
    "use_sim_time": ("false", "time comes from /clock"),
    "rviz": ("false", "show camera, overlay and grid in RViz"),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [DeclareLaunchArgument(name, default_value=v, description=d) for name, (v, d) in DEFAULTS.items()]
    switches = [
        DeclareLaunchArgument(name, default_value=v, description=d, choices=["true", "false"])
        for name, (v, d) in SWITCHES.items()
    ]
    return LaunchDescription([*arguments, *switches, *large_image_transport(), OpaqueFunction(function=nodes)])


def large_image_transport() -> list[Action]:
    """Fast DDS with a shared memory that holds images, unless the user has a profile of their own."""
    rmw = os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if not rmw.startswith("rmw_fastrtps"):
        return [LogInfo(msg=f"{rmw} runs with its own settings; the shipped ones for large images are for Fast DDS")]
    for name in profile_variables():
        if os.environ.get(name):
            return [LogInfo(msg=f"Fast DDS uses your {name}={os.environ[name]}")]
    name = profile_variables()[0]
    profile = str(large_images_profile(SHARE))
    hint = f"the camera driver needs it as well: export {name}={profile}"
    warnings = [LogInfo(msg=scarce) for scarce in (scarce_shared_memory(),) if scarce]
    told = LogInfo(msg=f"Fast DDS profile for large images is set; {hint}")
    return [SetEnvironmentVariable(name, profile), told, *warnings]


def nodes(context: LaunchContext) -> list[Action]:
    given = {name: LaunchConfiguration(name).perform(context) for name in (*DEFAULTS, *SWITCHES)}
    files = robot_files(SHARE, given["robot"], given["params_file"])
    cameras = camera_names(files)
    prefixes = {camera: "/".join(filter(None, (given["namespace"], camera))) for camera in cameras}
    full_names = [full_name(prefix, "segmenter", context) for prefix in prefixes.values()]
    full_names.append(full_name(given["namespace"], "grid_mapper", context))
    require_addressed(files, full_names)
    require_own_topics(cameras, {name: given[name] for name in ("image", "depth")})
    parameters = parameter_file(files, full_names)
    switches: dict[str, object] = {name: given[name] == "true" for name in ("autostart", "use_sim_time")}

    def node(name: str, namespace: str, arguments: dict[str, object], remappings: Remappings) -> LifecycleNode:
        return LifecycleNode(
            package="seg_perception",
            executable=name,
            name=name,
            namespace=namespace,
            parameters=[parameters, {**switches, **arguments}],
            remappings=remappings,
            output="screen",
            # A busy machine needs more than the usual 5 s to end a process well.
            sigterm_timeout="20",
            respawn=given["respawn"] == "true",
            respawn_delay=_RESPAWN_DELAY_S,
            on_exit=end_without_parameters,
        )

    def segmenter(camera: str) -> LifecycleNode:
        remappings = image_remappings("" if camera else given["camera"], given["image"])
        return node("segmenter", prefixes[camera], segmenter_arguments(given), remappings)

    depths = [(below(name, "depth"), below(name or given["camera"], given["depth"])) for name in cameras]
    mapper = node("grid_mapper", given["namespace"], {}, [("odom", given["odom"]), *depths])
    viewers = []
    if given["rviz"] == "true":
        require_rviz()
        viewers.append(
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=given["namespace"],
                arguments=["-d", str(SHARE / "config" / "rviz" / "perception.rviz")],
                parameters=[{"use_sim_time": switches["use_sim_time"]}],
                remappings=rviz_remappings(cameras[0], given["camera"], given["image"]),
            )
        )
    return [*map(segmenter, cameras), mapper, *viewers]


def full_name(namespace: str, name: str, context: LaunchContext) -> str:
    """Of a node; a launch file around this one may have pushed a namespace."""
    pushed = context.launch_configurations.get("ros_namespace")
    return "/" + f"{prefix_namespace(pushed, namespace)}/{name}".strip("/")


def end_without_parameters(event: ProcessExited, context: LaunchContext) -> list[Action]:
    """A node whose parameters are wrong has said so; started again, it would say nothing else."""
    if event.returncode != _WRONG_PARAMETERS or context.is_shutdown:
        return []
    reason = f"{event.process_name} cannot start: the launch ends"
    return [LogInfo(msg=reason), EmitEvent(event=Shutdown(reason=reason))]


def parameter_file(files: list[Path], nodes: list[str]) -> str:
    """The robot's file, or one for the time of the launch that holds what the user's makes of it."""
    if len(files) == 1:
        return str(files[0])
    with tempfile.NamedTemporaryFile("w", prefix="seg_perception_", suffix=".yaml", delete=False) as file:
        file.write(as_yaml(merged([read_sections(each) for each in files], nodes)))
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name


def require_rviz() -> None:
    """Raises DataError before any node runs: launch would leave the others behind."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError as error:
        raise DataError("rviz:=true: rviz2 is not installed; apt install ros-$ROS_DISTRO-rviz2") from error


def image_remappings(prefix: str, image: str) -> Remappings:
    """From the segmenter's inputs to the topics of a camera."""
    topic = below(prefix, image)
    return [("image", topic), ("image/compressed", compressed(topic)), ("camera_info", beside(topic, "camera_info"))]


def rviz_remappings(first: str, only_camera: str, image: str) -> Remappings:
    """Of several cameras, RViz shows the image and the overlay of the first."""
    if not first:
        return image_remappings(only_camera, image)
    overlay = "segmentation/overlay"
    return [*image_remappings(first, image), (overlay, below(first, overlay))]


def segmenter_arguments(given: dict[str, str]) -> dict[str, object]:
    """Parameters from those arguments that were given."""
    values = {name: given[name] for name in ("model", "device", "image_transport") if given[name]}
    if "model" in values:
        bundles = {path.parent.name: path.parent for path in SHARE.glob("config/models/*/bundle.yaml")}
        values["model"] = str(preset("model", values["model"], bundles))
    return {name: ParameterValue(value, value_type=str) for name, value in values.items()}
