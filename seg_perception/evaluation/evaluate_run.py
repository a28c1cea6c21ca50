"""One evaluation of one recording or folder, from its images to its files."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seg_perception.core.labels import LabelFolder
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.evaluation.evaluate_frame import Frame
from seg_perception.evaluation.evaluate_grids import GridReplay
from seg_perception.evaluation.evaluate_masks import decode_images, segment_images
from seg_perception.evaluation.evaluate_metrics import FRAMES_FILE, METRICS_FILE, read_frames, totals_of
from seg_perception.evaluation.evaluate_output import OutputBag
from seg_perception.evaluation.evaluate_pictures import WorstFrames, snapshot_indices
from seg_perception.evaluation.evaluate_robot import Robot
from seg_perception.evaluation.evaluate_source import BagSource, BagTopics, FolderSource, Source
from seg_perception.evaluation.evaluate_truth import Ground, Hindsight, LabelFiles, Labels, LabelTopic, Truth
from seg_perception.evaluation.machine import machine
from seg_perception.evaluation.overlap import in_thread
from seg_perception.evaluation.whole_file import write_whole

OUTPUT_BAG = "bag"


@dataclass(frozen=True)
class Request:
    """What to evaluate, by names and paths alone: it is handed to other processes.

    bag, images: one of them. labels: folder, or a topic of the bag. truth_grid, truth_lidar: topics, at most one.
    """

    out: Path
    bag: Path | None = None
    images: Path | None = None
    topics: tuple[str, ...] = ()
    model: str = "road_lite"
    device: str = "cpu"
    precision: str = "auto"
    threads: int = 2
    robot: str = "car"
    robot_file: Path = field(default_factory=Path)
    labels: str = ""
    label_form: str = "ids"
    label_remap: tuple[tuple[int | str, int], ...] = ()
    truth_grid: str = ""
    truth_lidar: str = ""


Progress = Callable[[int], object]
"""Called with how many frames are done since the last call."""


def evaluate(request: Request, on_count: Progress, on_frames: Progress) -> dict[str, Any]:
    """Write frames.jsonl, metrics.json, pictures.json, pictures/ and bag/ into `request.out`; returns the metrics.

    on_count: called once with the number of frames. Raises SegPerceptionError.
    """
    robot = Robot.load(request.robot_file)
    bundle = Bundle.load(request.model)
    labels = _labels(request, bundle)
    ground = _ground(request)
    source = _source(request, robot)
    engine = load_engine(bundle, request.device, request.precision, request.threads)
    truth = Truth(bundle.table, engine.resize, robot.mapper.max_range, labels, ground)
    replay = GridReplay(robot, bundle.table, engine.resize, source.kinds, truth)
    manifest = bundle.manifest
    request.out.mkdir(parents=True, exist_ok=True)
    _clear(request.out)
    output = OutputBag(
        request.out / OUTPUT_BAG, source.cameras, bundle.table, f"{manifest.name} {manifest.version}", robot.world_frame
    )
    pictures = WorstFrames(request.out, bundle.table, snapshot_indices(source.count))
    on_count(source.count)
    frames = in_thread(replay(in_thread(segment_images(in_thread(decode_images(in_thread(iter(source)))), engine))))
    try:
        with (request.out / FRAMES_FILE).open("w", encoding="utf-8") as lines:
            for frame in _settled(_written(frames, output, on_frames), pictures):
                lines.write(json.dumps(frame.record()) + "\n")
    finally:
        output.close()
    pictures.close()
    metrics = totals_of(read_frames(request.out / FRAMES_FILE), bundle.table).metrics(ground.name)
    metrics |= {
        "model": {
            "bundle": f"{manifest.name} {manifest.version}",
            "engine": engine.description,
        },
        "device": request.device,
        "machine": machine(),
        "robot": request.robot,
        "poses": replay.poses.name if metrics["frames"]["grids"] else None,
        "inputs": [source.name],
        "damage": source.damage,
    }
    write_whole(request.out / METRICS_FILE, json.dumps(metrics, indent=1) + "\n")
    return metrics


def _written(frames: Iterator[Frame], output: OutputBag, on_frames: Progress) -> Iterator[Frame]:
    for frame in frames:
        with frame.timed("write"):
            output.write(frame)
        on_frames(1)
        yield frame


def _settled(frames: Iterator[Frame], pictures: WorstFrames) -> Iterator[Frame]:
    """Frames in their order, each once its scores are known; the pictures of those that wait are not kept for long."""
    waiting: deque[Frame] = deque()
    for frame in frames:
        pictures.offer(frame)
        frame.release()
        waiting.append(frame)
        while waiting and not waiting[0].unsettled:
            yield waiting.popleft()
    yield from waiting


def _source(request: Request, robot: Robot) -> Source:
    if request.images:
        return FolderSource(request.images)
    assert request.bag
    topic = "" if Path(request.labels).is_dir() else request.labels
    return BagSource(request.bag, robot, BagTopics(request.topics, topic, request.truth_grid or request.truth_lidar))


def _labels(request: Request, bundle: Bundle) -> Labels | None:
    if not request.labels:
        return None
    if request.bag and not Path(request.labels).is_dir():
        return LabelTopic()
    folder = LabelFolder(Path(request.labels), request.label_form, bundle.table, dict(request.label_remap))
    return LabelFiles(folder)


def _ground(request: Request) -> Ground:
    return Hindsight()


def _clear(out: Path) -> None:
    """Remove what an earlier evaluation left."""
    for name in (METRICS_FILE, FRAMES_FILE, "pictures.json"):
        (out / name).unlink(missing_ok=True)
    for name in (OUTPUT_BAG, "pictures"):
        shutil.rmtree(out / name, ignore_errors=True)
