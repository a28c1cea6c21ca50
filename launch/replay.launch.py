"""Replays a recorded drive through the same nodes in simulated time and records their results; ends with the bag.

ros2 launch seg_perception replay.launch.py bag:=drive out:=results robot:=car camera:=/camera
ros2 launch seg_perception replay.launch.py bag:=drive out:=results robot:=car_surround

Every argument of perception.launch.py but autostart, use_sim_time and respawn works here too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from seg_perception.core.camera_topics import below, beside, compressed
from seg_perception.core.errors import DataError, SegPerceptionError
from seg_perception.core.presets import camera_names, require_own_topics, robot_files

SHARE = Path(get_package_share_directory("seg_perception"))
PERCEPTION = SHARE / "launch" / "perception.launch.py"
DEFAULTS = {
    "out": ("", "bag of the results; empty: ./replay_<time>"),
    "rate": ("1.0", "speed; below 1 a slow machine misses no image"),
    "robot": ("car", "a preset of config/robots, or the path of a YAML file"),
    "params_file": ("", "YAML file whose parameters override the robot's"),
    "camera": ("camera", "prefix of the camera's topics; where the robot has several cameras, it is the name of each"),
    "image": ("image_raw", "the image's topic below the prefix, or an absolute one; camera_info is beside it"),
    "depth": ("depth_registered/image_rect", "that of aligned depth, likewise, for robots with use_depth"),
    "image_transport": ("", "raw, compressed; empty: whichever the bag has of more cameras"),
    "odom": ("odom", "odometry, for bags whose TF does not reach the camera"),
    "namespace": ("", "of the nodes and their topics"),
}
RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_RESULTS = ("segmentation/(mask|confidence|camera_info|overlay|classes|label_info)", "segmenter/status")
GRID_RESULTS = ("occupancy_grid", "obstacles", "class_grid", "grid_mapper/status")
# An answer of a node can get lost on a machine that is too busy; launch_ros waits for it without end.
BRING_UP_S = 120.0
# Nothing tells when every process has found every other.
DISCOVERY_S = 2.0
# The nodes still work on what was played last.
DRAIN_S = 2.0

FIXED = {"autostart": "false", "use_sim_time": "true", "respawn": "false"}


def generate_launch_description() -> LaunchDescription:
    bag = DeclareLaunchArgument("bag", description="folder of the rosbag2 to replay")
    others = [DeclareLaunchArgument(name, default_value=v, description=d) for name, (v, d) in DEFAULTS.items()]
    return LaunchDescription([bag, *others, OpaqueFunction(function=replay)])


def replay(context: LaunchContext) -> list[Action]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ("bag", *DEFAULTS)}
    bag = Path(given["bag"]).expanduser()
    out = Path(given["out"] or time.strftime("replay_%Y%m%d_%H%M%S")).expanduser()
    if out.exists():
        raise DataError(f"out:={out} exists already; name another folder for the results")
    recorded = bag_topics(bag)
    names = camera_names(robot_files(SHARE, given["robot"], given["params_file"]))
    require_own_topics(names, {name: given[name] for name in ("image", "depth")})

    def resolved(topic: str, prefix: str = "") -> str:
        return resolved_topic(below(prefix, topic), given["namespace"])

    prefixes = [name or given["camera"] for name in names]
    wanted = [resolved(given["image"], prefix) for prefix in prefixes]
    transport, images = image_topics(bag, recorded, wanted, given["image_transport"])
    infos = [beside(image, "camera_info") for image in wanted]
    depths = [topic for topic in (resolved(given["depth"], prefix) for prefix in prefixes) if topic in recorded]
    inputs = [*images, *infos, *depths, resolved(given["odom"]), "/tf", "/tf_static"]
    missing = [topic for topic in inputs if topic not in recorded]
    of_cameras = [resolved(result, name) for name in names for result in CAMERA_RESULTS]
    results = "|".join([*of_cameras, *map(resolved, GRID_RESULTS)])
    perception = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(PERCEPTION)),
        launch_arguments={**FIXED, "image_transport": transport}.items(),
    )
    # What Humble would write, db3, knows no definitions of message types.
    record = ["record", "--use-sim-time", "--storage", "mcap", "--output", str(out)]
    record += ["--regex", f"^({results}|/diagnostics)$"]
    # It may have much left to write.
    recorder = ExecuteProcess(name="recorder", cmd=["ros2", "bag", *record], output="screen", sigterm_timeout="60")
    # Paused, it already publishes the time, for which nodes and recorder wait.
    play = ["play", str(bag), "--start-paused", "--clock", "100", "--rate", given["rate"], "--topics", *inputs]
    qos = ["--qos-profile-overrides-path", str(SHARE / "config" / "replay_qos.yaml")]
    player = ExecuteProcess(name="player", cmd=["ros2", "bag", *play, *qos], output="screen")
    call = ["service", "call", "/rosbag2_player/resume", "rosbag2_interfaces/srv/Resume"]
    resume = ExecuteProcess(name="resume", cmd=["ros2", *call])
    return [
        *([LogInfo(msg=f"{bag} has no {', '.join(missing)}")] if missing else []),
        perception,
        recorder,
        player,
        RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: after_exit(event, context, player, out))),
        *bring_up(len(names) + 1, [TimerAction(period=DISCOVERY_S, actions=[resume])]),
    ]


def bring_up(nodes: int, ready: list[Action]) -> list[Action]:
    """Configures and activates the nodes; `ready` follows when all are active. Ends the launch if one cannot be."""
    active: set[str] = set()

    def advance(context: LaunchContext) -> list[Action]:
        event = context.locals.event
        node: LifecycleNode = event.action
        if (event.start_state, event.goal_state) == ("configuring", "inactive"):
            return [change_state(Transition.TRANSITION_ACTIVATE, lambda other: other is node)]
        if event.goal_state == "active":
            active.add(node.node_name)
            return ready if len(active) == nodes else []
        if event.start_state in ("configuring", "activating"):
            raise SegPerceptionError(f"{node.node_name} cannot start; its log says why")
        return []

    def require_all(context: LaunchContext) -> list[Action]:
        if len(active) < nodes:
            raise SegPerceptionError(f"{len(active)} of {nodes} nodes are active after {BRING_UP_S:g} s; repeat it")
        return []

    return [
        RegisterEventHandler(OnStateTransition(entities=[OpaqueFunction(function=advance)])),
        change_state(Transition.TRANSITION_CONFIGURE, lambda _: True),
        TimerAction(period=BRING_UP_S, actions=[OpaqueFunction(function=require_all)]),
    ]


def change_state(transition: int, nodes: Callable[[LifecycleNode], bool]) -> Action:
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=nodes, transition_id=transition))


def after_exit(event: ProcessExited, context: LaunchContext, player: Action, out: Path) -> list[Action]:
    if context.is_shutdown:
        return []
    if event.returncode:
        raise SegPerceptionError(f"{event.process_name} ended with exit code {event.returncode}; its log says why")
    if event.action is not player:
        return []
    results = LogInfo(msg=f"the bag has been played; the results are in {out}")
    return [TimerAction(period=DRAIN_S, actions=[results, Shutdown(reason="the bag has been played")])]


def resolved_topic(topic: str, namespace: str) -> str:
    return topic if topic.startswith("/") else "/" + "/".join(filter(None, (namespace.strip("/"), topic)))


def bag_topics(bag: Path) -> dict[str, str]:
    """Topics of a bag and their types. Raises DataError."""
    metadata = bag / "metadata.yaml"
    if not metadata.is_file():
        raise DataError(f"bag:={bag}: no metadata.yaml there; give a rosbag2 folder (ros2 bag reindex repairs one)")
    try:
        information = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
        topics = [entry["topic_metadata"] for entry in information["topics_with_message_count"]]
        return {topic["name"]: topic["type"] for topic in topics}
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise DataError(f"bag:={bag}: metadata.yaml is damaged; `ros2 bag reindex` writes it anew") from error


def image_topics(bag: Path, recorded: dict[str, str], images: list[str], wanted: str) -> tuple[str, list[str]]:
    """raw or compressed, and the topics of all cameras' images in that form.

    wanted: one of the two; empty for whichever the bag has of more cameras. Raises DataError naming the images that are
    there, if it has none of these.
    """
    of_compressed = [compressed(image) for image in images]
    counts = {
        "raw": sum(recorded.get(topic) == RAW for topic in images),
        "compressed": sum(recorded.get(topic) == COMPRESSED for topic in of_compressed),
    }
    transport = wanted or max(counts, key=counts.__getitem__)
    if counts.get(transport):
        return transport, images if transport == "raw" else of_compressed
    there = sorted(topic for topic, kind in recorded.items() if kind in (RAW, COMPRESSED))
    choice = ", ".join(there) or "none at all"
    what = " ".join(filter(None, ("no", wanted, "images")))
    raise DataError(f"bag:={bag}: {what} on {', '.join(images)}, but on {choice}; choose with camera:= and image:=")
