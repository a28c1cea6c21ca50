"""The demo's nodes at work: camera, segmenter, grid_mapper and recorder, each a process of its own."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from tqdm import tqdm

from seg_perception.core.errors import DataError
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.presets import Sections, as_yaml, merged, read_sections
from seg_perception.core.writable import write_whole
from seg_perception.evaluation.drive_material import DriveMaterial
from seg_perception.evaluation.drive_truth_grids import DriveTruthGrids
from seg_perception.evaluation.evaluate_robot import Robot, robot_file
from seg_perception.evaluation.material import Material, Mount
from seg_perception.evaluation.processes import NodeGroup, NodeProcess, ProcessError
from seg_perception.evaluation.recording import TOPICS

PARAMETERS_FILE, LOGS_FOLDER = "parameters.yaml", "logs"

_SETTLE_S = 2.0
_READY_S = 120.0
_FASTEST_GRID_HZ = 100.0  # of the grid_mapper's publish_rate


@dataclass(frozen=True)
class RunRequest:
    """What to play to the nodes. frames: 0 for all. topic: the camera of a bag, empty for its default."""

    material: Path
    topic: str
    frames: int
    rate_hz: float
    model: str
    device: str
    robot: str


def run_nodes(request: RunRequest, material: Material, out: Path) -> dict[int, int]:
    """Play the material once and record into `out`/bag; returns stamp (ns) → frame of every published frame.

    An interruption ends the nodes, closes the bag and returns what was published so far.
    Raises ProcessError with the last lines of the node that failed.
    """
    bag = out / "bag"
    shutil.rmtree(bag, ignore_errors=True)
    if isinstance(material, DriveMaterial):
        DriveTruthGrids(material, _layout(request)).prepare(len(material.names[: request.frames or None]))
    parameters = out / PARAMETERS_FILE
    sections = _parameters(request, material, bag)
    document = merged([read_sections(robot_file(request.robot)), sections], sections)
    write_whole(parameters, as_yaml(document), DataError)
    with_grid = not material.why_no_grid
    frame_of: dict[int, int] = {}
    with NodeGroup(out / LOGS_FOLDER) as group, contextlib.suppress(KeyboardInterrupt):
        files = ["--params-file", str(parameters)]
        nodes = ["sim_camera", "segmenter", *(["grid_mapper"] if with_grid else []), "recorder"]
        camera, *others = [group.start(name, files) for name in nodes]
        count = len(material.names[: request.frames or None])
        _follow(group, camera, others, count, frame_of)
        group.pause(_SETTLE_S, may_end=camera)
    if not frame_of:
        raise KeyboardInterrupt
    return frame_of


def recorded_by_demo(out: Path) -> bool:
    """Whether a demo, finished or not, has recorded into `out`: it has left the parameters that its recorder got."""
    try:
        nodes = yaml.safe_load((out / PARAMETERS_FILE).read_text(encoding="utf-8"))
        recorder = nodes.get("/recorder") or nodes["/**/recorder"]  # as it was called before
        return bool(recorder["ros__parameters"]["bag"] == str((out / "bag").resolve()))
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


def _follow(
    group: NodeGroup, camera: NodeProcess, others: list[NodeProcess], count: int, frame_of: dict[int, int]
) -> None:
    with tqdm(total=count, desc="driving", unit="frame") as progress:
        for line in group.follow(camera):
            index, _, stamp = line.split()
            frame_of[int(stamp)] = int(index)
            progress.update()
    if camera.returncode != 0:
        raise ProcessError("\n".join(f"{node.name}: {node.last_words()}" for node in (camera, *others) if node.spoke))


def _parameters(request: RunRequest, material: Material, bag: Path) -> Sections:
    with_grid = not material.why_no_grid
    nodes: Sections = {
        "sim_camera": {
            "material": str(request.material.resolve()),
            "topic": request.topic,
            "frames": request.frames,
            "rate": request.rate_hz,
            "wait_for": "segmenter grid_mapper" if with_grid else "segmenter",
            "subscribers": 2,
            "timeout_s": _READY_S,
            "rehearse": True,
            "lockstep": not with_grid,
            "truth": _truth_layout(request, material),
        },
        "segmenter": {
            "model": request.model,
            "device": request.device,
            "autostart": True,
            "image_transport": "compressed" if material.compressed else "raw",
        },
        "recorder": {"bag": str(bag.resolve()), "topics": " ".join(TOPICS)},
    }
    if with_grid:
        assert material.mount
        nodes["grid_mapper"] = {
            "autostart": True,
            "cameras": [""],
            "world_frame": Robot.world_frame,
            "base_frame": Robot.base_frame,
            "pose_source": "odometry",
            "publish_rate": min(2.0 * request.rate_hz, _FASTEST_GRID_HZ),
            **_mount_parameters(material.mount),
        }
    return {f"/{name}": parameters for name, parameters in nodes.items()}


def _layout(request: RunRequest) -> MapperConfig:
    return Robot.load(robot_file(request.robot)).mapper


def _truth_layout(request: RunRequest, material: Material) -> list[float]:
    if not isinstance(material, DriveMaterial):
        return [0.0, 0.0, 0.0]
    config = _layout(request)
    return [config.resolution, config.size_x, config.size_y]


def _mount_parameters(mount: Mount) -> dict[str, float]:
    return {f"mount.{name}": value for name, value in asdict(mount).items()}
