"""A data set small enough to learn in seconds: bright boxes on a dark ground under a blue sky."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 96, 64
CLASSES = [
    {"id": 0, "name": "sky", "color": [0, 0, 255], "cost": 0, "kind": "sky"},
    {"id": 1, "name": "road", "color": [90, 90, 90], "cost": 0, "kind": "ground"},
    {"id": 2, "name": "box", "color": [250, 200, 0], "cost": 100, "kind": "obstacle"},
]
MODEL = {
    "architecture": "unet",
    "encoder": "tu-resnet18",
    "options": {"channels": [16, 16, 16, 16], "decoder_channels": [16, 16, 16, 16, 8]},
}


def write_scenes(folder: Path, count: int, seed: int) -> None:
    """`count` pairs of image and labels; the unlabelled top row is stored as 3."""
    rng = np.random.default_rng(seed)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels[HEIGHT // 2 :] = 1
        x, y = rng.integers(0, WIDTH - 30), rng.integers(10, 34)
        labels[y : y + 28, x : x + 28] = 2
        palette = np.array([[200, 90, 60], [60, 60, 60], [30, 190, 230]])
        image = np.clip(palette[labels] + rng.normal(0, 8, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
        labels[0] = 3
        cv2.imwrite(str(folder / "images" / f"{index:03d}.png"), image)
        cv2.imwrite(str(folder / "labels" / f"{index:03d}.png"), labels)


def configuration(scenes: Path) -> dict[str, Any]:
    """A configuration as YAML would give it: 12 quick steps on the scenes."""
    return {
        "name": "boxes",
        "base": str(scenes),
        "classes": "classes.yaml",
        "input_size": [WIDTH, HEIGHT],
        "model": MODEL,
        "train": {"folders": [{"path": "train", "void": [3]}]},
        "validation": {"folders": [{"path": "val", "void": [3]}]},
        "augment": {"crop": [64, 64], "scale": [0.8, 1.2]},
        "schedule": {
            "steps": 12,
            "batch": 4,
            "validate_every": 4,
            "learning_rate": 0.005,
            "ema_decay": 0.8,
            "threads": 1,
            "workers": 0,
            "bf16": False,
        },
        "export": {"calibration_images": 8, "licence": "CC0-1.0"},
    }
