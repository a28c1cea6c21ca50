"""What stands on a pavement on a post of its own."""

from __future__ import annotations

import numpy as np

from seg_perception.simulation.colours import Rng, colour, grey
from seg_perception.simulation.labels import Label
from seg_perception.simulation.solids import Solid, Triangles, ball, box, hull, rod
from seg_perception.simulation.textures import Atlas


def lamp(rng: Rng, atlas: Atlas) -> Solid:
    """A street lamp whose arm reaches along +x."""
    height, radius = rng.uniform(5.0, 8.5), rng.uniform(0.05, 0.1)
    tint, plain = grey(rng, 0.08, 0.6), atlas.pick("plain", rng)
    arm, head = rng.uniform(0.6, 1.8), (0.25, 0.12, 0.06)
    pieces = [
        rod((0, 0, 0), (0, 0, height), radius, radius * 0.6),
        rod((0, 0, 0), (0, 0, 0.8), radius * 1.5),
        rod((0, 0, height), (arm, 0, height + 0.2), radius * 0.6, sides=6),
        ball((arm, 0, height + 0.18), head, 1),
    ]
    return Solid.of([Triangles.of(piece, Label.POLE, tint, plain, 0.1) for piece in pieces])


def bollard(rng: Rng, atlas: Atlas) -> Solid:
    """A post of about one metre."""
    tint = grey(rng, 0.05, 0.4) if rng.random() < 0.7 else colour(rng, (0, 0.15), (0.5, 0.9), (0.4, 0.9))
    post = rod((0, 0, 0), (0, 0, rng.uniform(0.8, 1.1)), rng.uniform(0.05, 0.1))
    return Solid.of([Triangles.of(post, Label.POLE, tint, atlas.pick("plain", rng))])


def sign(rng: Rng, atlas: Atlas) -> Solid:
    """A road sign on a post, high enough to walk under; its plate faces -x, towards traffic that drives along +x."""
    height, size = rng.uniform(2.6, 3.2), rng.uniform(0.3, 0.45)
    post = Triangles.of(rod((0, 0, 0), (0, 0, height + size), 0.035), Label.POLE, grey(rng), atlas.pick("plain", rng))
    shape = rng.integers(0, 3)
    if shape == 0:
        plate = rod((-0.06, 0, height), (-0.04, 0, height), size, sides=16)
    elif shape == 1:
        corners = [(y * size, height + z * size) for y, z in ((-1, -0.8), (1, -0.8), (0, 0.95))]
        plate = hull([(x, y, z) for x in (-0.06, -0.04) for y, z in corners])
    else:
        plate = box((-0.06, -0.04), (-size * rng.uniform(0.6, 1.4), size), (height - size, height + size * 0.6))
    return Solid.of([post, Triangles.of(plate, Label.SIGN, (1, 1, 1), atlas.pick("board", rng), 0.1)])


def traffic_light(rng: Rng, atlas: Atlas) -> Solid:
    """A signal on a post, facing -x; its head has the label sign, as in CamVid."""
    plain, dark = atlas.pick("plain", rng), (0.04, 0.04, 0.04)
    parts = [
        Triangles.of(rod((0, 0, 0), (0, 0, 3.3), 0.055), Label.POLE, grey(rng, 0.05, 0.5), plain),
        Triangles.of(box((-0.28, -0.06), (-0.17, 0.17), (2.35, 3.3)), Label.SIGN, dark, plain),
    ]
    lit = rng.integers(0, 3)
    for index, lamp_colour in enumerate(((0.2, 0.9, 0.1), (0.1, 0.6, 1.0), (0.1, 0.1, 1.0))):
        bright = 2.5 if index == lit else 0.12
        lens = rod((-0.3, 0, 2.52 + 0.3 * index), (-0.2, 0, 2.52 + 0.3 * index), 0.1, sides=10)
        parts.append(Triangles.of(lens, Label.SIGN, np.array(lamp_colour) * bright, plain))
    return Solid.of(parts)
