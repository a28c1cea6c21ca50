"""Simulated frames as training samples: rendered once into a folder, then read like any other."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from seg_perception.simulation.version import simulation_version
from seg_perception.training.config import SimulationConfig
from seg_perception.training.samples import write_picture


def render_missing(config: SimulationConfig, cache: Path) -> tuple[Path, list[str]]:
    """The folder (with images/ and labels/) of this version of the simulator in the cache, and the frames' names.

    One frame per seed; those that are not there yet are rendered.
    """
    folder = cache / simulation_version()
    seeds = range(config.first_seed, config.first_seed + config.frames)
    names = [f"{config.size[0]}x{config.size[1]}_seed{seed:06d}" for seed in seeds]
    todo = [(s, n) for s, n in zip(seeds, names, strict=True) if not (folder / "labels" / f"{n}.png").exists()]
    if todo:
        from seg_perception.simulation.street import training_frame  # ray tracing is needed to render, not to read

        for seed, name in tqdm(todo, desc="render"):
            image, labels = training_frame(seed, *config.size)
            write_picture(folder / "images" / f"{name}.png", image)
            write_picture(folder / "labels" / f"{name}.png", labels)
    return folder, names
