"""Trees and hedges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seg_perception.simulation.colours import Rng, colour
from seg_perception.simulation.labels import Label
from seg_perception.simulation.solids import Solid, Triangles, ball, box, rod
from seg_perception.simulation.textures import Atlas

CANOPY_BOTTOM = 2.25
"""Height below which a tree is only its trunk, m."""


def tree(rng: Rng, atlas: Atlas) -> Solid:
    """Trunk, branches, and a canopy that is full, thin or bare; all of it but the trunk above CANOPY_BOTTOM."""
    height, trunk = rng.uniform(5.0, 11.0), rng.uniform(0.09, 0.3)
    fork = np.array([rng.normal(0, 0.1), rng.normal(0, 0.1), rng.uniform(2.4, 3.2)])
    bark = colour(rng, (0.03, 0.15), (0.05, 0.35), (0.12, 0.45))
    barky, leafy = atlas.pick("bark", rng), atlas.pick("foliage", rng)

    def wood(a: NDArray[np.float64], b: NDArray[np.float64], r0: float, r1: float) -> Triangles:
        return Triangles.of(rod(a, b, r0, r1, 7 if r0 > 0.06 else 4), Label.TREE, bark, barky)

    parts = [wood(np.zeros(3), fork, trunk, trunk * 0.75)]
    tips = []
    for angle in np.arange(6) * (np.pi / 3) + rng.uniform(0, 1):
        reach = rng.uniform(0.8, 2.2)
        tip = fork + (np.cos(angle) * reach, np.sin(angle) * reach, rng.uniform(0.35, 1.0) * (height - fork[2]))
        parts.append(wood(fork, tip, trunk * 0.5, trunk * 0.18))
        tips.append(tip)
    fullness = rng.choice([0.0, 0.5, 1.0], p=[0.25, 0.2, 0.55])
    if fullness < 1.0:
        parts.append(Triangles.of(_twigs(rng, fork, np.array(tips), 170), Label.TREE, bark, barky))
    if fullness > 0.0:
        parts += _canopy(rng, fork, np.array(tips), fullness, leafy)
    return Solid.of(parts)


def hedge(rng: Rng, atlas: Atlas, length: float) -> Solid:
    """A hedge from x = 0 to `length`, labelled tree as CamVid does with all shrubs."""
    height, depth = rng.uniform(0.9, 2.2), rng.uniform(0.5, 1.0)
    green = np.array(colour(rng, (0.15, 0.33), (0.3, 0.8), (0.15, 0.5)))
    leafy = atlas.pick("foliage", rng)
    inner = box((0.0, length), (0.05, depth - 0.05), (0.0, height - 0.08))
    count = int(length * height * 12)
    middle = rng.uniform((0.05, 0, 0.05), (length - 0.05, depth, height - 0.03), (count, 3))
    side = rng.integers(0, 3, count)
    middle[side == 0, 1], middle[side == 1, 2] = 0.04, height - 0.05
    corners = middle[:, None] + rng.normal(0, 0.05, (count, 3, 3)).clip(-0.1, 0.1)
    corners[..., 2] = np.maximum(corners[..., 2], 0.0)
    leaves = Triangles.of(corners, Label.TREE, green, leafy)
    shades = (green * rng.uniform(0.6, 1.3, (count, 1))).astype(np.float32)
    ragged = Triangles(leaves.vertices, leaves.uv, shades, leaves.texture, leaves.gloss, leaves.label)
    return Solid.of([Triangles.of(inner, Label.TREE, green * 0.8, leafy), ragged])


def _twigs(rng: Rng, fork: NDArray[np.float64], tips: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """Slim triangles that grow out of the branches."""
    start = fork + (tips - fork)[rng.integers(0, len(tips), count)] * rng.uniform(0.25, 1.0, (count, 1))
    end = start + rng.normal(0, 0.6, (count, 3)) + (0, 0, 0.5)
    end[:, 2] = np.maximum(end[:, 2], CANOPY_BOTTOM)
    across = rng.normal(0, 0.02, (count, 3))
    across[:, 2] = 0
    return np.stack([start - across, start + across, end], axis=1).astype(np.float32)


def _canopy(
    rng: Rng, fork: NDArray[np.float64], tips: NDArray[np.float64], fullness: float, texture: int
) -> list[Triangles]:
    """Jittered balls around the branches' tips, and loose leaves that make the outline ragged."""
    green = np.array(colour(rng, rng.choice([(0.18, 0.33), (0.05, 0.16)], p=[0.85, 0.15]), (0.3, 0.8), (0.2, 0.6)))
    parts = []
    size = rng.uniform(0.8, 1.5)
    for tip in [*tips, fork + (tips.mean(axis=0) - fork) * 1.1]:
        radius = size * rng.uniform(0.7, 1.3)
        centre = np.array([tip[0], tip[1], max(tip[2], CANOPY_BOTTOM + radius)])
        if fullness == 1.0:
            blob = ball(centre, (radius, radius, radius * 0.75), 2, rng, 0.22)
            blob[..., 2] = np.maximum(blob[..., 2], CANOPY_BOTTOM)
            parts.append(Triangles.of(blob, Label.TREE, green * rng.uniform(0.75, 1.1), texture))
        parts.append(_leaves(rng, centre, radius * 1.15, int(90 * size**2), green, texture))
    return parts


def _leaves(
    rng: Rng, centre: NDArray[np.float64], radius: float, count: int, tint: NDArray[np.float64], texture: int
) -> Triangles:
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    middle = centre + direction * radius * rng.uniform(0.6, 1.05, (count, 1))
    corners = middle[:, None] + rng.normal(0, 0.17, (count, 3, 3))
    corners[..., 2] = np.maximum(corners[..., 2], CANOPY_BOTTOM)
    leaves = Triangles.of(corners, Label.TREE, tint, texture)
    shades = (tint * rng.uniform(0.6, 1.35, (count, 1))).astype(np.float32)
    return Triangles(leaves.vertices, leaves.uv, shades, leaves.texture, leaves.gloss, leaves.label)
