"""Pedestrians and cyclists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seg_perception.simulation.colours import Colour, Rng, colour, grey
from seg_perception.simulation.labels import Label
from seg_perception.simulation.solids import Solid, Triangles, ball, hull, rod
from seg_perception.simulation.textures import Atlas

Floats = NDArray[np.float32]
Point = NDArray[np.float64]


def walker(rng: Rng, atlas: Atlas) -> tuple[Solid, ...]:
    """A person of 1.15–1.95 m: the poses of one gait cycle."""
    figure = _Figure.draw(rng, atlas, Label.PEDESTRIAN, 1.15 if rng.random() < 0.12 else 1.55, 1.95)
    stride = rng.uniform(0.15, 0.32)
    mid_step, left, right = (Solid.of(figure.parts(swing * stride)) for swing in (0.0, 1.0, -1.0))
    return mid_step, left, mid_step, right


def pedestrian(rng: Rng, atlas: Atlas) -> Solid:
    """A person who stands."""
    figure = _Figure.draw(rng, atlas, Label.PEDESTRIAN, 1.15 if rng.random() < 0.12 else 1.55, 1.95)
    return Solid.of(figure.parts(rng.uniform(0.0, 0.1)))


def cyclist(rng: Rng, atlas: Atlas) -> Solid:
    """A person riding a bicycle; bicycle and person have the same label."""
    plain = atlas.pick("plain", rng)
    paint = colour(rng, (0, 1), (0, 0.9), (0.05, 0.8))
    rear, front, seat, crank, stem = (-0.52, 0.35), (0.52, 0.35), (-0.25, 0.92), (-0.05, 0.3), (0.38, 0.98)
    bars = ((rear, seat), (rear, crank), (crank, seat), (seat, stem), (crank, stem), (front, stem))
    frame = [rod((a[0], 0, a[1]), (b[0], 0, b[1]), 0.022, sides=6) for a, b in bars]
    dark = [rod((0.4, -0.26, 1.02), (0.4, 0.26, 1.02), 0.025, sides=6), *_wheel(rear), *_wheel(front)]
    rider = _Figure.draw(rng, atlas, Label.BICYCLIST, 1.6, 1.85)
    return Solid.of(
        [
            *(Triangles.of(piece, Label.BICYCLIST, paint, plain, 0.3) for piece in frame),
            *(Triangles.of(piece, Label.BICYCLIST, (0.04, 0.04, 0.04), plain) for piece in dark),
            *rider.parts(0.16 * rng.choice([-1, 1]), lean=rng.uniform(0.15, 0.4), base=0.12),
        ]
    )


@dataclass(frozen=True)
class _Figure:
    """Build and clothes of a person."""

    label: Label
    cloth: int
    plain: int
    height: float
    girth: float
    skin: Colour
    top: Colour
    legs: Colour
    hair: Colour
    bag: Colour | None
    coat: float

    @classmethod
    def draw(cls, rng: Rng, atlas: Atlas, label: Label, shortest: float, tallest: float) -> _Figure:
        helmet = label is Label.BICYCLIST and rng.random() < 0.6
        natural, bright = ((0.02, 0.12), (0.1, 0.7), (0.03, 0.6)), ((0, 1), (0, 0.9), (0.1, 0.9))
        tone = rng.uniform(0.3, 1.05)
        return cls(
            label=label,
            cloth=atlas.pick("cloth", rng),
            plain=atlas.pick("plain", rng),
            height=rng.uniform(shortest, tallest),
            girth=rng.uniform(0.85, 1.2),
            skin=(0.42 * tone, 0.55 * tone, 0.8 * tone),
            top=grey(rng, 0.03, 0.9) if rng.random() < 0.5 else colour(rng, (0, 1), (0.3, 0.95), (0.2, 0.9)),
            legs=grey(rng, 0.03, 0.5) if rng.random() < 0.6 else colour(rng, (0.55, 0.7), (0.3, 0.7), (0.15, 0.5)),
            hair=colour(rng, *(bright if helmet else natural)),
            bag=colour(rng, (0, 1), (0, 0.8), (0.03, 0.7)) if rng.random() < 0.35 else None,
            coat=rng.choice([0.0, 0.25]) * rng.random(),
        )

    def parts(self, swing: float, lean: float = 0.0, base: float = 0.0) -> list[Triangles]:
        """`swing`: m from one foot to the hip; `lean`: m of the neck ahead of the hip; `base`: height of the feet."""
        hip = np.array([0.0, 0.0, base + 0.5 * self.height])
        neck = np.array([lean, 0.0, base + 0.82 * self.height])
        head = neck + (0.02 + 0.1 * lean, 0, 0.095 * self.height)
        parts = [*self._torso(hip, neck), *self._head(head)]
        for side in (-1, 1):
            parts += [*self._leg(side, side * swing, hip), *self._arm(side, -side * swing, neck)]
        return parts

    def _part(self, vertices: Floats, tint: Colour, texture: int | None = None) -> Triangles:
        return Triangles.of(vertices, self.label, tint, self.cloth if texture is None else texture)

    def _leg(self, side: int, reach: float, hip: Point) -> list[Triangles]:
        top = hip + (0, side * 0.09, 0)
        foot = top + (reach, 0, 0.05 - 0.5 * self.height)
        knee = top + (0.55 * reach + 0.05, side * 0.005, -0.23 * self.height)
        shoe = [foot + (x, y, z) for x in (-0.08, 0.18) for y in (-0.05, 0.05) for z in (-0.05, 0.04)]
        return [
            self._part(rod(foot, knee, 0.06 * self.girth, 0.075 * self.girth, 6), self.legs),
            self._part(rod(knee, top, 0.075 * self.girth, 0.1 * self.girth, 6), self.legs),
            self._part(hull(shoe), (0.05, 0.05, 0.06), self.plain),
        ]

    def _arm(self, side: int, reach: float, neck: Point) -> list[Triangles]:
        shoulder = neck + (0, side * 0.18 * self.girth, -0.06)
        hand = shoulder + (0.8 * reach + 0.06 + neck[0], side * 0.05, -0.36 * self.height + 0.5 * neck[0])
        return [
            self._part(rod(shoulder, hand, 0.06 * self.girth, 0.045, 6), self.top),
            self._part(ball(hand, (0.05, 0.04, 0.06), 0), self.skin, self.plain),
        ]

    def _torso(self, hip: Point, neck: Point) -> list[Triangles]:
        hem, chest = hip - (0, 0, self.coat * self.height), neck * (0.9, 1, 1) - (0, 0, 0.09)
        rings = ((hem, 0.13, 0.17), (chest, 0.12, 0.19), (neck - (0, 0, 0.01), 0.07, 0.14))
        angle = np.arange(10) * (np.pi / 5)
        circle = np.column_stack([np.cos(angle), np.sin(angle), 0 * angle])
        shell = [centre + circle * (deep * self.girth, wide * self.girth, 0) for centre, deep, wide in rings]
        body = self._part(hull(np.concatenate(shell)), self.top)
        if self.bag is None:
            return [body]
        return [body, self._part(ball(neck + (-0.2, 0.05, -0.26), (0.1, 0.14, 0.2), 1), self.bag)]

    def _head(self, centre: Point) -> list[Triangles]:
        return [
            self._part(ball(centre, (0.1, 0.08, 0.12), 1), self.skin, self.plain),
            self._part(ball(centre + (-0.025, 0, 0.035), (0.105, 0.092, 0.11), 1), self.hair, self.plain),
        ]


def _wheel(hub: tuple[float, float]) -> list[Floats]:
    """Rim of twelve short bars, and three double spokes."""
    angle = np.arange(13) * (np.pi / 6)
    rim = np.column_stack([hub[0] + 0.325 * np.cos(angle), np.zeros(13), hub[1] + 0.325 * np.sin(angle)])
    tyre = [rod(a, b, 0.025, sides=5) for a, b in zip(rim[:-1], rim[1:], strict=True)]
    return [*tyre, *(rod(rim[i], rim[i + 6], 0.008, sides=3) for i in (0, 2, 4))]
