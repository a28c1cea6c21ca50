"""`seg-perception evaluate-grid`: how far the grid can be trusted, on simulated drives and on real scenes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from math import radians
from pathlib import Path
from typing import Any

from seg_perception.core.classes import ClassTable
from seg_perception.core.errors import DataError
from seg_perception.core.mapper_config import MapperConfig
from seg_perception.core.share import share_folder
from seg_perception.core.writable import make_folder
from seg_perception.engines.base import Engine
from seg_perception.engines.bundle import Bundle
from seg_perception.engines.factory import load_engine
from seg_perception.evaluation import grid_nuscenes, grid_pictures
from seg_perception.evaluation.grid_bands import nested
from seg_perception.evaluation.grid_kitti import measure_lane
from seg_perception.evaluation.grid_pose_error import pose_error_cases
from seg_perception.evaluation.grid_rellis import map_ground, read_ground, score_ground
from seg_perception.evaluation.grid_simulation import (
    BundleMasks,
    MaskSource,
    Scene,
    TrueMasks,
    comparison_cases,
    score_cases,
)
from seg_perception.evaluation.grid_table import SKIPPED, tables
from seg_perception.evaluation.result_files import write_json

METRICS_FILE = "grid_metrics.json"

_FIRST_SEED = 3001  # streets that neither a model was trained on nor a threshold chosen on
_PICTURED = (0.3, 0.75)  # parts of the first drive
_PICTURED_STATED = ((0.2, 2.0), (0.2, 0.5), (1.0, 2.0))  # pitch error in degrees, max_range_error in m


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--out", type=Path, default=Path("out/grid"), metavar="FOLDER", help="default: %(default)s")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data"),
        metavar="FOLDER",
        help="with kitti_road, nuscenes and rellis; what is missing is skipped (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=5, help="simulated streets (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=100, help="frames of each street (default: %(default)s)")
    parser.add_argument("--model", default="road_lite", help="bundle, by name or folder (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu | cuda | cuda:N (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the metrics and pictures, print the tables."""
    if args.seeds < 1 or args.frames < 1:
        raise DataError(f"--seeds {args.seeds} --frames {args.frames}: give at least 1 of each")
    bundle = Bundle.load(args.model)
    make_folder(args.out, DataError)
    evaluation = _Evaluation(args.out, args.data, bundle.table, load_engine(bundle, args.device))
    real = {  # first, as it takes seconds: damaged data is found out at once
        "kitti": evaluation.with_data("kitti_road", evaluation.kitti),
        "nuscenes": evaluation.with_data("nuscenes", evaluation.nuscenes),
        "rellis": evaluation.with_data("rellis", evaluation.rellis),
    }
    metrics = evaluation.simulation(args.seeds, args.frames) | real
    write_json(args.out / METRICS_FILE, metrics)
    print(tables(metrics))
    print(f"\n{args.out / METRICS_FILE}")
    for picture in sorted(args.out.glob("*.jpg")):
        print(picture)
    return 0


class _Evaluation:
    """The parts; each returns its figures and writes its picture."""

    def __init__(self, out: Path, data: Path, table: ClassTable, engine: Engine) -> None:
        self._out, self._data, self._table, self._engine = out, data, table, engine
        self._config = MapperConfig()

    def with_data(self, name: str, part: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The part, or why it was skipped."""
        folder = self._data / name
        if not folder.is_dir():
            return {SKIPPED: f"{folder} is not there; name the folder that holds {name} with --data"}
        return part(folder)

    def simulation(self, seeds: int, frames: int) -> dict[str, Any]:
        """Both parts that need drives, in one go over them."""
        simulated = ClassTable.load(share_folder() / "config" / "classes" / "camvid.yaml")
        sources: dict[str, MaskSource] = {
            "true_masks": TrueMasks(simulated),
            "bundle_masks": BundleMasks(self._table, self._engine),
        }
        compared, misstated = comparison_cases(self._config), pose_error_cases(self._config)
        pictured: list[Scene] = []
        wanted = {round(part * (frames - 1)) for part in _PICTURED}

        def keep(scene: Scene) -> None:
            if scene.index in wanted and len(pictured) < len(wanted):
                pictured.append(scene)

        used = range(_FIRST_SEED, _FIRST_SEED + seeds)
        figures = score_cases(compared | misstated, sources, used, frames, keep)
        grid_pictures.draw_scenes(self._out / "simulation.jpg", pictured, self._table)
        return {
            "simulation": nested({name: figures[name] for name in compared}),
            "pitch_error": nested({name: figures[name] for name in misstated}),
        }

    def kitti(self, folder: Path) -> dict[str, Any]:
        """Width of the ego lane."""
        lane = measure_lane(folder)
        grid_pictures.draw_lane(self._out / "kitti.jpg", lane)
        return {"lane_width_m": {str(ahead): width for ahead, width in lane.width_m.items()}}

    def nuscenes(self, folder: Path) -> dict[str, Any]:
        """Six cameras, with masks from the boxes and from the model."""
        sample = grid_nuscenes.read_sample(folder)
        runs, scores = {}, {}
        for name, table, segment in (
            ("box_masks", grid_nuscenes.BOX_TABLE, grid_nuscenes.box_masks(sample.boxes)),
            ("bundle_masks", self._table, grid_nuscenes.engine_masks(self._engine)),
        ):
            grid = grid_nuscenes.map_sample(sample, segment, table, self._config)
            runs[name.replace("_", " ")] = table, segment, grid
            scores[name] = grid_nuscenes.score_sample(sample, *grid)
        grid_pictures.draw_sample(self._out / "nuscenes.jpg", sample, runs)
        return scores

    def rellis(self, folder: Path) -> dict[str, Any]:
        """Ground that is not flat."""
        ground = read_ground(folder)
        grids = {}
        for pitch, limit in _PICTURED_STATED:
            config = replace(self._config, pitch_error=radians(pitch), max_range_error=limit)
            grids[f"pitch_error {pitch:g}°, max_range_error {limit:g} m"] = map_ground(ground, config)
        grid_pictures.draw_ground(self._out / "rellis.jpg", ground, grids)
        return score_ground(ground, self._config)
