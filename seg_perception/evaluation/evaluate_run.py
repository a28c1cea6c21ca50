"""One evaluation of one recording or folder, from its images to its files."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.labels import LabelFolder
from seg_perception.core.writable import writing
from seg_perception.engines.base import Engine
from seg_perception.engines.bundle import MANIFEST_FILE, Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.evaluation.evaluate_frame import Frame
from seg_perception.evaluation.evaluate_grids import GridReplay
from seg_perception.evaluation.evaluate_ground import TruthGrids, TruthLidar
from seg_perception.evaluation.evaluate_masks import decode_images, segment_images
from seg_perception.evaluation.evaluate_metrics import totals_of
from seg_perception.evaluation.evaluate_output import OUTPUT_BAG, OutputBag
from seg_perception.evaluation.evaluate_pictures import WorstFrames, snapshot_indices
from seg_perception.evaluation.evaluate_resume import OWN, REQUEST_FILE, EarlierMasks, clean_up, prepare
from seg_perception.evaluation.evaluate_robot import Robot, robot_file
from seg_perception.evaluation.evaluate_source import BagSource, BagTopics, FolderSource, Source
from seg_perception.evaluation.evaluate_truth import Ground, Hindsight, LabelFiles, Labels, LabelTopic, Truth
from seg_perception.evaluation.machine import machine
from seg_perception.evaluation.one_thread import opencv_in_its_callers_thread
from seg_perception.evaluation.overlap import Stages
from seg_perception.evaluation.result_files import FRAMES_FILE, METRICS_FILE, read_frames, read_object, write_json

_MOST_ENGINES = 4
"""More would wait for the one thread that decodes the images, and each has the model in memory."""


@dataclass(frozen=True)
class Request:
    """What to evaluate, of plain values: it is handed to other processes, and kept beside the results.

    bag, images: one of them. labels: folder, or a topic of the bag. label_remap: as LabelFolder's.
    truth_grid, truth_lidar: topics, at most one. Without either, the ground is known in hindsight.
    """

    out: str
    bag: str = ""
    images: str = ""
    topics: tuple[str, ...] = ()
    model: str = "road_lite"
    device: str = "cpu"
    precision: str = "auto"
    threads: int = 2
    robot: str = "car"
    labels: str = ""
    label_form: str = "ids"
    label_remap: tuple[tuple[int | str, int], ...] = ()
    truth_grid: str = ""
    truth_lidar: str = ""


Progress = Callable[[int], object]


def evaluate(request: Request, on_count: Progress, on_frames: Progress) -> dict[str, Any]:
    """Write frames.jsonl, metrics.json, pictures.json, pictures/ and bag/ into `request.out`; returns the metrics.

    on_count: called once with the number of frames. on_frames: called with how many are done since the last call.
    An evaluation that is finished there already is not repeated. Raises SegPerceptionError.
    """
    out, robot = Path(request.out), Robot.load(robot_file(request.robot))
    bundle = Bundle.load(request.model)
    source, ground = _source(request, robot), _ground(request)
    labels = _labels(request, bundle.table, source.cameras)
    on_count(source.count)
    if prepare(out, identity(request, bundle, robot)):
        on_frames(source.count)
        return read_object(out / METRICS_FILE)
    engines = _engines(request, bundle)
    engine = engines[0]
    truth = Truth(bundle.table, engine.resize, robot.mapper.max_range, labels, ground)
    replay = GridReplay(robot, bundle.table, engine.resize, source.kinds, truth)
    (out / FRAMES_FILE).touch()  # before the other results, as evaluate_resume tells by it whose they are
    pictures = WorstFrames(out, bundle.table, engine.resize, snapshot_indices(source.count))
    output = OutputBag(out / OUTPUT_BAG, source.cameras, bundle.table, _name(bundle), robot.world_frame)
    with (
        writing(out, DataError),
        closing(output),
        opencv_in_its_callers_thread(),  # stages and engines keep the cores busy: what is shared out waits for them
        Stages() as stages,
        (out / FRAMES_FILE).open("w", encoding="utf-8", buffering=1) as lines,
    ):
        images = stages.run(decode_images(source))
        grids = stages.run(replay(segment_images(images, engines, EarlierMasks(out))))
        for frame in _settled(_written(grids, output, on_frames), pictures):
            lines.write(json.dumps(frame.record()) + "\n")
    pictures.close()
    totals = totals_of(read_frames(out / FRAMES_FILE), bundle.table)
    metrics = totals.metrics(ground.name) | {
        "model": {"bundle": _name(bundle), "engine": engine.description, "engines": len(engines)},
        "classes": [{"id": c.id, "name": c.name, "color": list(c.color)} for c in bundle.table.classes],
        "device": request.device,
        "machine": machine(),
        "robot": request.robot,
        "poses": replay.poses.name if replay.poses.possible else None,
        "inputs": [source.name],
        "damage": [*source.damage, *(part.degraded for part in engines if part.degraded)],
        "failed": [],
    }
    write_json(out / METRICS_FILE, metrics)
    clean_up(out)
    return metrics


def _engines(request: Request, bundle: Bundle) -> list[Engine]:
    """On the CPU several that share the threads: two frames at a time, with a thread each, are done sooner than one
    after the other with both. The masks do not depend on it.
    """
    count = max(1, min(request.threads, _MOST_ENGINES)) if request.device == "cpu" else 1
    share, left = divmod(request.threads, count)
    return [load_engine(bundle, request.device, request.precision, share + (i < left)) for i in range(count)]


def _name(bundle: Bundle) -> str:
    return f"{bundle.manifest.name} {bundle.manifest.version}"


def identity(request: Request, bundle: Bundle, robot: Robot) -> dict[str, Any]:
    """Everything that the results depend on, as JSON gives it back."""
    given = asdict(request)
    del given["out"], given["threads"]
    given["model"] = sha256((bundle.root / MANIFEST_FILE).read_bytes()).hexdigest()  # it has the hashes of the rest
    given["robot"] = robot_file(request.robot).read_text(encoding="utf-8")
    bodies = {camera.name: camera.ego_mask.body for camera in robot.cameras if camera.ego_mask}
    given["ego_mask"] = {name: [*body.shape, sha256(body.tobytes()).hexdigest()] for name, body in bodies.items()}
    given["labels.json"] = f"{given['labels']}.json" if given["labels"] else ""  # COCO's, beside the folder
    for name in ("bag", "images", "labels", "labels.json"):
        given[name] = _fingerprint(given[name])
    as_json: dict[str, Any] = json.loads(json.dumps(given))
    return as_json


def _fingerprint(name: str) -> Any:
    """Path, number of files, bytes and time of the newest of what a path names; else the name itself.

    What evaluations have left below the path, this one among them, does not count.
    """
    path = Path(name)
    if not name or not path.exists():
        return name
    found = [path] if path.is_file() else [*path.rglob("*")]
    results = {file.parent / own for file in found if file.name == REQUEST_FILE for own in OWN}
    files = [file.stat() for file in found if file.is_file() and results.isdisjoint((file, *file.parents))]
    newest = max((f.st_mtime_ns for f in files), default=0)
    return [str(path.resolve()), len(files), sum(f.st_size for f in files), newest]


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
        return FolderSource(Path(request.images), bool(request.labels))
    labels = "" if Path(request.labels).is_dir() else request.labels
    return BagSource(
        Path(request.bag), robot, BagTopics(request.topics, labels, request.truth_grid, request.truth_lidar)
    )


def _labels(request: Request, table: ClassTable, cameras: Sequence[str]) -> Labels | None:
    if not request.labels:
        return None
    if request.bag and not Path(request.labels).is_dir():
        return LabelTopic(table, _ids(request.label_remap))
    folders = _label_folders(Path(request.labels), cameras).items()
    remap = dict(request.label_remap)
    return LabelFiles({camera: LabelFolder(path, request.label_form, table, remap) for camera, path in folders})


def _label_folders(labels: Path, cameras: Sequence[str]) -> dict[str, Path]:
    """By camera. Several have a folder each: their images may have one stamp. Raises DataError where none has one."""
    if len(cameras) == 1:
        return {cameras[0]: labels}
    folders = {camera: labels / camera for camera in cameras if (labels / camera).is_dir()}
    if not folders:
        raise DataError(
            f"labels {labels}: the recording has the cameras {', '.join(cameras)}; "
            "put the labels of each into a folder of its name there"
        )
    return folders


def _ids(remap: tuple[tuple[int | str, int], ...]) -> dict[int, int]:
    """Raises DataError for what cannot be in a topic."""
    for label, _ in remap:
        if not isinstance(label, int) or not 0 <= label <= 255:
            raise DataError(f"the remap names {label!r}, but the labels of a topic are ids from 0 to 255")
    return {int(label): target for label, target in remap}


def _ground(request: Request) -> Ground:
    if request.truth_grid:
        return TruthGrids()
    return TruthLidar() if request.truth_lidar else Hindsight()
