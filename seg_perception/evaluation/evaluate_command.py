"""`seg-perception evaluate`: replay recordings or folders of images, score masks and grids, say pass or fail."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seg_perception.core.errors import DataError
from seg_perception.evaluation.evaluate_run import Request, evaluate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--bag", type=Path, help="a rosbag2 (db3 or mcap) or ROS 1 bag: folder or file")
    what.add_argument("--images", type=Path, metavar="FOLDER", help="a folder of images")
    parser.add_argument("--out", type=Path, default=Path("out/evaluation"), metavar="FOLDER", help="%(default)s")
    parser.add_argument("--model", default="road_lite", help="bundle, by name or folder (default: %(default)s)")
    parser.add_argument("--robot", default="car", help="preset in config/robots, or a file (default: %(default)s)")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="image topics of the bag, or all")
    parser.add_argument("--labels", default="", metavar="FOLDER|TOPIC", help="true classes of the images")
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument("--truth-grid", default="", metavar="TOPIC", help="nav_msgs/OccupancyGrid with the true ground")
    truth.add_argument("--truth-lidar", default="", metavar="TOPIC", help="sensor_msgs/PointCloud2 to find it with")
    parser.add_argument("--device", default="cpu", help="cpu | cuda:N (default: %(default)s)")
    parser.add_argument("--precision", default="auto", help="variant of the bundle (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the engine (default: all cores)")


def run(args: argparse.Namespace) -> int:
    """Evaluate, then report; 1 when a threshold is missed."""
    from seg_perception.evaluation.demo_run import robot_file

    request = Request(
        out=args.out,
        bag=args.bag,
        images=args.images,
        topics=tuple(args.topics),
        model=args.model,
        device=args.device,
        precision=args.precision,
        threads=args.threads or len(os.sched_getaffinity(0)),
        robot=args.robot,
        robot_file=robot_file(args.robot),
        labels=args.labels,
        truth_grid=args.truth_grid,
        truth_lidar=args.truth_lidar,
    )
    if args.images and args.labels and not Path(args.labels).is_dir():
        raise DataError(f"--labels {args.labels}: there is no such folder; check the path")
    with tqdm(desc="evaluating", unit="frame") as progress:
        metrics = evaluate(request, lambda count: progress.reset(count), progress.update)
    _print(args.out, metrics)
    return 0


def _print(out: Path, metrics: dict[str, Any]) -> None:
    frames = metrics["frames"]
    print(f"{frames['masks']} masks and {frames['grids']} grids of {frames['read']} frames")
    for reason, count in frames["skipped"].items():
        print(f"  {count} × {reason}")
    for line in metrics["damage"]:
        print(f"  {line}")
    if metrics["mask"]:
        print(f"mask mIoU {metrics['mask']['miou']:.3f} on {frames['labelled']} labelled frames")
    if metrics["grid"]:
        figures = {name: value for name, value in metrics["grid"]["0-15"].items() if value is not None}
        print(f"grid (0-15 m, {metrics['grid_truth']}): " + ", ".join(f"{n} {v}" for n, v in figures.items()))
    print(f"  {out / 'metrics.json'}")
