"""Instances out of label images, for a network that learns from instances."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from seg_perception.core.classes import UNLABELLED
from seg_perception.models.mask_rcnn import Instances

SMALLEST = 16
"""Pixels; smaller parts are specks at the edges of others."""
MOST = 100
"""Instances of an image, the largest ones: each has a mask of the image's size in memory."""


def instances_of(labels: NDArray[np.uint8]) -> Instances:
    """labels (H, W), 255 where unlabelled → every connected part of a class, be it a thing or, like road, stuff.

    People who walk side by side are one instance: labels of pixels do not tell them apart, nor do logits.
    """
    parts_of: dict[int, NDArray[np.int32]] = {}
    found: list[tuple[int, int, int, NDArray[np.int32]]] = []  # area, label, part, box
    for label in np.setdiff1d(labels, [UNLABELLED]).tolist():
        count, parts_of[label], stats, _ = cv2.connectedComponentsWithStats((labels == label).view(np.uint8))
        found += [(int(stats[part, cv2.CC_STAT_AREA]), label, part, stats[part, :4]) for part in range(1, count)]
    large = sorted((one for one in found if one[0] >= SMALLEST), key=lambda one: -one[0])[:MOST]
    corners = np.array([box for *_, box in large], np.int64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    masks = np.array([parts_of[label] == part for _, label, part, _ in large], np.uint8).reshape(-1, *labels.shape)
    return {
        "boxes": torch.from_numpy(corners),
        "labels": torch.tensor([1 + label for _, label, _, _ in large], dtype=torch.int64),
        "masks": torch.from_numpy(masks),
    }
