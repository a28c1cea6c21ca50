"""`seg-perception evaluate`: replay recordings or folders of images, score masks and grids, say pass or fail."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from tqdm import tqdm

from seg_perception.core.errors import DataError
from seg_perception.core.label_forms import FORMS
from seg_perception.core.labels import load_remap
from seg_perception.engines.bundle import Bundle
from seg_perception.evaluation import evaluate_bags
from seg_perception.evaluation.evaluate_resume import claim
from seg_perception.evaluation.evaluate_robot import Robot, robot_file
from seg_perception.evaluation.evaluate_run import Request, evaluate, identity
from seg_perception.evaluation.report import write_report
from seg_perception.evaluation.result_files import FRAMES_FILE, METRICS_FILE
from seg_perception.evaluation.verdict import check, load_thresholds

EXIT_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--bag", help="a rosbag2 (db3 or mcap) or ROS 1 bag: folder or file")
    what.add_argument("--bags", nargs="+", metavar="GLOB", help="many of them, into one result")
    what.add_argument("--images", metavar="FOLDER", help="a folder of images")
    parser.add_argument("--out", default="out/evaluation", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--model", help="bundle, by name or folder (default: the robot's)")
    parser.add_argument("--robot", default="car", help="preset in config/robots, or a file (default: %(default)s)")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="image topics of the bag, or all")
    parser.add_argument("--labels", default="", metavar="FOLDER|TOPIC", help="true classes of the images")
    parser.add_argument("--label-form", default="ids", choices=tuple(FORMS), help="of a folder (default: %(default)s)")
    parser.add_argument("--label-remap", type=Path, metavar="YAML", help="label of the folder → class of the model")
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument("--truth-grid", default="", metavar="TOPIC", help="nav_msgs/OccupancyGrid with the true ground")
    truth.add_argument("--truth-lidar", default="", metavar="TOPIC", help="sensor_msgs/PointCloud2 to find it with")
    parser.add_argument("--thresholds", type=Path, metavar="YAML", help="exit code 1 when one is missed")
    parser.add_argument("--device", help="cpu | cuda | cuda:N (default: the robot's)")
    parser.add_argument("--precision", help="variant of the bundle (default: the robot's)")
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        help="CPU threads for the inference of a bag (default: cores / workers; on Ray 1)",
    )
    parser.add_argument("--workers", type=int, help="bags at a time (default: 1; on Ray as many as fit)")
    parser.add_argument("--ray", default="", metavar="ADDRESS", help="evaluate the bags on this Ray cluster")


def run(args: argparse.Namespace) -> int:
    """Evaluate, then report; 1 when a threshold is missed or a bag has failed."""
    request, out = _request(args), Path(args.out)
    there_before = not args.bags and (out / METRICS_FILE).is_file()
    if args.thresholds:
        load_thresholds(args.thresholds)  # what is wrong with them is better known before
    with tqdm(desc="evaluating", unit="frame", total=0) as progress:
        metrics = _evaluate_many(args, request, progress) if args.bags else _evaluate_one(request, progress)
    passed = check(out, args.thresholds)
    write_report(out)
    _print(out, metrics)
    if there_before:
        print(f"these are the results of before: nothing has changed; to evaluate anew, remove {out}")
    if args.thresholds:
        print("all thresholds are kept" if passed else "a threshold is missed")
    if not metrics["frames"]["masks"]:
        raise DataError(f"none of the images could be used; {out / FRAMES_FILE} and `damage` in {METRICS_FILE} say why")
    return 0 if passed and not metrics["failed"] else EXIT_FAILED


def _request(args: argparse.Namespace) -> Request:
    for name, least in (("workers", 1), ("threads", 0)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise DataError(f"--{name} is {getattr(args, name)}; give at least {least}")
    for name in () if args.bags else ("ray", "workers"):
        if getattr(args, name):
            raise DataError(f"--{name} is for many recordings; give them with --bags")
    for name in ("topics", "truth_grid", "truth_lidar") if args.images else ():
        if getattr(args, name):
            raise DataError(f"--{name.replace('_', '-')} is for recordings; leave it out with --images")
    if args.images and args.labels and not Path(args.labels).is_dir():
        raise DataError(f"--labels {args.labels}: there is no such folder; check the path")
    _require_labels(args)
    cores = len(os.sched_getaffinity(0))
    robot = Robot.load(robot_file(args.robot))
    model = args.model or robot.model
    return Request(
        out=args.out,
        bag=args.bag or "",
        images=args.images or "",
        topics=tuple(args.topics),
        model=model,
        device=args.device or robot.device,
        precision=args.precision or robot.precision,
        threads=args.threads or (1 if args.ray else max(1, cores // (args.workers or 1))),
        robot=args.robot,
        labels=args.labels,
        label_form=args.label_form,
        label_remap=_remap(args.label_remap, model) if args.label_remap else (),
        truth_grid=args.truth_grid,
        truth_lidar=args.truth_lidar,
    )


def _require_labels(args: argparse.Namespace) -> None:
    """Raises DataError where an option is for labels that are not there, or of another kind."""
    if not args.labels and (args.label_remap or args.label_form != "ids"):
        name = "--label-remap" if args.label_remap else "--label-form"
        raise DataError(f"{name} is for labels; name them with --labels")
    if args.labels and args.label_form != "ids" and not Path(args.labels).is_dir():
        raise DataError(f"--label-form is for a folder of labels, and {args.labels} is none; check --labels")


def _remap(path: Path, model: str) -> tuple[tuple[int | str, int], ...]:
    return tuple(load_remap(path, Bundle.load(model).table).items())


def _evaluate_one(request: Request, progress: tqdm[Any]) -> dict[str, Any]:
    return evaluate(request, progress.reset, progress.update)


def _evaluate_many(args: argparse.Namespace, common: Request, progress: tqdm[Any]) -> dict[str, Any]:
    bags = _bags(args.bags)
    claim(Path(args.out), identity(common, Bundle.load(common.model), Robot.load(robot_file(common.robot))))
    requests = evaluate_bags.requests_for(bags, common)
    lock = Lock()

    def on_count(count: int) -> None:
        with lock:
            progress.total += count
            progress.refresh()

    def on_frames(count: int) -> None:
        with lock:
            progress.update(count)

    start = partial(evaluate_bags.on_ray, args.ray) if args.ray else evaluate_bags.in_process
    workers = args.workers or (len(requests) if args.ray else 1)  # Ray knows itself how many fit on its machines
    return evaluate_bags.merge(
        Path(args.out), evaluate_bags.evaluate_all(requests, workers, start(on_count, on_frames))
    )


def _bags(patterns: Sequence[str]) -> list[Path]:
    """Each recording once. Raises DataError for a name or pattern that finds none: it must not be missing unnoticed."""
    found: dict[Path, Path] = {}
    for pattern in patterns:
        paths = [pattern] if os.path.exists(pattern) else glob.glob(pattern, recursive=True)
        if not paths:
            raise DataError(f"--bags {pattern}: there is nothing of that name; check it")
        for path in map(Path, paths):
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def _print(out: Path, metrics: dict[str, Any]) -> None:
    frames = metrics["frames"]
    print(f"{frames['masks']} masks and {frames['grids']} grids of {frames['read']} frames")
    for reason, count in frames["skipped"].items():
        print(f"  {count} × {reason}")
    for line in metrics["damage"]:
        print(f"  {line}")
    for failed in metrics["failed"]:
        print(f"  {failed['bag']} failed: {failed['reason']}")
    if metrics["mask"]:
        miou = metrics["mask"]["miou"]
        print(f"mask mIoU {'-' if miou is None else f'{miou:.3f}'} on {frames['labelled']} labelled frames")
    if metrics["grid"]:
        figures = {name: value for name, value in metrics["grid"]["0-15"].items() if value is not None}
        shown = ", ".join(f"{name} {value:g}" for name, value in figures.items())
        print(f"grid within 15 m ({metrics['grid_truth']}): {shown}")
    for name in ("report.html", "metrics.json", "junit.xml", "bag"):
        if (out / name).exists():
            print(f"  {out / name}")
