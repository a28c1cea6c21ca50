"""How long our augmentation takes against the same changes by torchvision's transforms v2, on this machine.

    python tools/compare_augmentation.py

One thread each; the two take turns, so that other load falls on both alike. Images are 480x360, crops 320x256.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from seg_perception.training.augment import augment
from seg_perception.training.config import AugmentConfig

WIDTH, HEIGHT, CROP = 480, 360, (320, 256)
ROUNDS = 200


def torchvision_transforms() -> v2.Transform:
    """The changes of `AugmentConfig`'s defaults, each by the transform that torchvision has for it."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(
                degrees=3.0,
                scale=(0.5, 2.0),
                interpolation=InterpolationMode.BILINEAR,
                fill={tv_tensors.Image: 0, tv_tensors.Mask: 255},
            ),
            v2.RandomCrop(CROP[::-1]),
            v2.ColorJitter(brightness=0.15, contrast=0.3, saturation=0.3, hue=0.05),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.4, 1.5))], p=0.2),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            v2.GaussianNoise(sigma=0.01),
            v2.ToDtype({tv_tensors.Image: torch.uint8, "others": None}, scale=True),
        ]
    )


def main() -> None:
    """Print the medians."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (18, 24, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    labels = cv2.resize(rng.integers(0, 11, (18, 24), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    config = AugmentConfig(crop=list(CROP))
    transforms = torchvision_transforms()
    tensors = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(labels))
    times = _medians_ms(
        {
            "one OpenCV warp": lambda: augment(image, labels, config, rng),
            "torchvision v2": lambda: transforms(*tensors),
        }
    )
    for name, value in times.items():
        print(f"{name}: {value:.2f} ms")


def _medians_ms(candidates: dict[str, Callable[[], object]]) -> dict[str, float]:
    times: dict[str, NDArray[np.float64]] = {name: np.zeros(ROUNDS) for name in candidates}
    for index in range(ROUNDS):
        for name, run in candidates.items():
            began = time.process_time()
            run()
            times[name][index] = 1000 * (time.process_time() - began)
    return {name: float(np.median(values)) for name, values in times.items()}


if __name__ == "__main__":
    main()
