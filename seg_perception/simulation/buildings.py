"""Buildings, and what surrounds them: walls and fences."""

from __future__ import annotations

import numpy as np

from seg_perception.simulation.colours import Rng, colour, grey, masonry
from seg_perception.simulation.labels import Label
from seg_perception.simulation.solids import Solid, Triangles, box, hull
from seg_perception.simulation.textures import Atlas


def building(rng: Rng, atlas: Atlas, width: float) -> Solid:
    """A house from x = 0 to `width`, its front at y = 0, its body at y > 0."""
    height, depth = rng.uniform(5.0, 14.0), rng.uniform(7.0, 12.0)
    tint = masonry(rng)
    facade, plain = atlas.pick("facade", rng), atlas.pick("plain", rng)
    parts = [Triangles.of(box((0, width), (0, depth), (0, height)), Label.BUILDING, tint, facade)]
    if rng.random() < 0.5:
        front = box((0.05, width - 0.05), (-0.08, 0.5), (0, 3.6))
        parts.append(Triangles.of(front, Label.BUILDING, masonry(rng), atlas.pick("shop", rng), 0.1))
    else:
        x = rng.uniform(0.5, max(width - 1.6, 0.6))
        door = box((x, x + 1.0), (-0.05, 0.3), (0, 2.2))
        parts.append(
            Triangles.of(door, Label.BUILDING, colour(rng, (0, 1), (0, 0.9), (0.08, 0.8)), atlas.pick("planks", rng))
        )
    if rng.random() < 0.6:
        roof = atlas.pick("roof", rng)
        rise, shade = rng.uniform(1.5, 4.0), colour(rng, (0.0, 0.12), (0.0, 0.5), (0.12, 0.5))
        ridge = [(0, depth / 2, height + rise), (width, depth / 2, height + rise)]
        eaves = [(x, y, height) for x in (-0.15, width + 0.15) for y in (-0.35, depth + 0.35)]
        parts.append(Triangles.of(hull([*eaves, *ridge]), Label.BUILDING, shade, roof))
        chimney = rng.uniform(0.6, max(width - 1.4, 0.7))
        stack = box((chimney, chimney + 0.8), (depth * 0.4, depth * 0.55), (height, height + rise + 1.0))
        parts.append(Triangles.of(stack, Label.BUILDING, tint, atlas.pick("brick", rng)))
    else:
        cornice = box((-0.08, width + 0.08), (-0.2, depth), (height - 0.1, height + rng.uniform(0.2, 0.6)))
        parts.append(Triangles.of(cornice, Label.BUILDING, grey(rng, 0.3, 0.9), plain))
    return Solid.of(parts)


def wall(rng: Rng, atlas: Atlas, length: float) -> Solid:
    """A garden wall from x = 0 to `length`, labelled building: CamVid's eleven classes merge walls into it."""
    height = rng.uniform(0.6, 2.2)
    body = box((0.0, length), (-0.12, 0.12), (0.0, height))
    cap = box((0.0, length), (-0.15, 0.15), (height, height + 0.07))
    texture = atlas.pick(str(rng.choice(["brick", "plain", "asphalt"])), rng)
    parts = [Triangles.of(body, Label.BUILDING, masonry(rng), texture)]
    parts.append(Triangles.of(cap, Label.BUILDING, grey(rng, 0.3, 0.7), atlas.pick("plain", rng)))
    return Solid.of(parts)


def fence(rng: Rng, atlas: Atlas, length: float) -> Solid:
    """Planks, or railings with posts, from x = 0 to `length`."""
    height = rng.uniform(0.9, 1.9)
    if rng.random() < 0.5:
        texture, tint = atlas.pick("planks", rng), np.array(colour(rng, (0.04, 0.14), (0.05, 0.6), (0.2, 0.75)))
    else:
        texture, tint = atlas.pick("railings", rng), np.array(grey(rng, 0.04, 0.7))
    parts = [Triangles.of(box((0.0, length), (-0.03, 0.03), (0.0, height)), Label.FENCE, tint, texture)]
    plain = atlas.pick("plain", rng)
    for x in np.linspace(0.06, length - 0.06, max(2, int(length / 2.4) + 1)):
        post = box((x - 0.05, x + 0.05), (-0.05, 0.05), (0.0, height + 0.06))
        parts.append(Triangles.of(post, Label.FENCE, tint * 0.8, plain))
    return Solid.of(parts)
