"""From hits to light: texture, road markings, sun and shadow, sky, reflections, haze."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from seg_perception.simulation.labels import Label
from seg_perception.simulation.look import Look
from seg_perception.simulation.road import Markings, Section
from seg_perception.simulation.scene import Moment, Scene
from seg_perception.simulation.textures import SIZE, noise
from seg_perception.simulation.tracer import Hits
from seg_perception.simulation.view import View

Floats = NDArray[np.float32]
Index = NDArray[np.int64]
_CELL = 4
"""Pixels of a half-size image share their rays towards the light in squares of this edge, then are averaged over it."""


@dataclass(frozen=True, eq=False)
class Surface:
    """What the N pixels that hit something see. footprint: m on the surface that a pixel covers. pixel: flat index."""

    pixel: Index
    points: Floats
    normals: Floats
    distance: Floats
    footprint: Floats
    uv: Floats
    triangle: NDArray[np.int32]


class Shader:
    """Shades hits in a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._triangles, self._tiles = scene, scene.triangles, scene.world.atlas

    def light(
        self, view: View, origin: NDArray[np.float64], directions: Floats, hits: Hits, seen: Index, look: Look, t: float
    ) -> Floats:
        """(H * W, 3) linear light that arrives at the camera; `seen`: the pixels that hit something."""
        light = np.empty((len(directions), 3), np.float32)
        sky = np.flatnonzero(hits.triangle < 0)
        light[sky] = _sky(directions[sky] / view.length[sky, None], look)
        moment = self._scene.moment(t, origin[0], origin[1])
        surface = self._surface(view, origin.astype(np.float32), directions, hits, seen)
        light[seen] = self._shade(surface, view, directions[seen] / view.length[seen, None], look, moment)
        return light

    def _surface(self, view: View, origin: Floats, directions: Floats, hits: Hits, seen: Index) -> Surface:
        rays, depth, length = directions[seen], hits.distance[seen], view.length[seen]
        normals = hits.normal[seen]
        along = np.einsum("ij,ij->i", normals, rays)
        norm = np.sqrt(np.einsum("ij,ij->i", normals, normals))
        normals *= (-np.sign(along) / norm)[:, None]
        index, weights = hits.triangle[seen], hits.weights[seen]
        corners = self._triangles.uv[index]
        uv = (
            corners[:, 0]
            + weights[:, :1] * (corners[:, 1] - corners[:, 0])
            + weights[:, 1:] * (corners[:, 2] - corners[:, 0])
        )
        distance = depth * length
        grazing = np.maximum(np.abs(along) / (norm * length), 0.02)
        footprint = distance * np.float32(view.pixel_angle) / np.sqrt(grazing)
        return Surface(seen, origin + depth[:, None] * rays, normals, distance, footprint, uv, index)

    def _shade(self, surface: Surface, view: View, directions: Floats, look: Look, moment: Moment | None) -> Floats:
        albedo = self._albedo(surface)
        road = np.flatnonzero(self._triangles.label[surface.triangle] == Label.ROAD)
        _paint(albedo, surface, road, self._scene.world.section, self._scene.world.markings)
        sun, sky = self._incoming(surface, view, look, moment)
        sky *= 0.72 + 0.28 * surface.normals[:, 2]
        colour = albedo * (sky[:, None] * look.ambient + sun[:, None] * look.sun_colour)
        gloss = self._triangles.gloss[surface.triangle]
        shiny = np.flatnonzero(gloss > 0)
        colour[shiny] += _reflection(surface.normals[shiny], directions[shiny], gloss[shiny], sun[shiny] > 0, look)
        air = np.exp(surface.distance * np.float32(-1 / look.haze))[:, None]
        return colour * air + look.horizon * np.float32(0.85) * (1 - air)

    def _albedo(self, surface: Surface) -> Floats:
        texture = self._triangles.texture[surface.triangle]
        texels = self._tiles.look_up(texture, surface.uv[:, 0], surface.uv[:, 1], surface.footprint)
        shades = texels.astype(np.float32) * np.float32(1 / 255)
        tinted = shades[:, 3:]
        albedo = shades[:, :3] * (1 + tinted * (self._triangles.tint[surface.triangle] - 1))
        return albedo * _look_up(_grime(), surface.uv, 23.0)[:, None]

    def _incoming(self, surface: Surface, view: View, look: Look, moment: Moment | None) -> tuple[Floats, Floats]:
        """Shares (N,) of the sun's light and of the sky's that reach a surface; rays at half the resolution."""
        height, width = view.camera.height, view.camera.width
        y, x = np.divmod(surface.pixel, width)
        rows = np.flatnonzero((x % 2 == 0) & (y % 2 == 0))
        half = ((height + 1) // 2, (width + 1) // 2)
        place = (y[rows] // 2, x[rows] // 2)
        normals, spread = surface.normals[rows], _hemisphere()[(place[0] % _CELL) * _CELL + place[1] % _CELL]
        origins = surface.points[rows] + normals * np.float32(0.004) + np.array([0, 0, 0.002], np.float32)

        def spread_out(blocked: NDArray[np.bool_], smooth: bool) -> Floats:
            image = np.ones(half, np.float32)
            image[place] = ~blocked
            if smooth:
                image = cv2.blur(image, (_CELL, _CELL))
            return cv2.resize(image, (half[1] * 2, half[0] * 2))[y, x]

        sky = 0.35 + 0.65 * spread_out(
            self._scene.blocked(moment, origins, (normals + spread) * np.float32(1.2), 1.0), True
        )
        facing = np.maximum(surface.normals @ look.sun, 0)
        if look.sun_colour.max() < 0.03:
            return facing, sky
        soft = look.softness > 0
        directions = look.sun + np.float32(look.softness) * spread
        directions[:, 2] = np.maximum(directions[:, 2], 0.03)
        lit = facing[rows] > 0
        shadow = np.zeros(len(rows), bool)
        shadow[lit] = self._scene.blocked(moment, origins[lit], directions[lit], 150.0)
        return facing * spread_out(shadow, soft), sky


@cache
def _hemisphere() -> Floats:
    """(16, 3) points spread over the unit sphere, in an order that puts neighbours apart."""
    k = np.arange(_CELL * _CELL)
    z = 1 - (2 * k + 1) / len(k)
    angle = k * np.pi * (3 - np.sqrt(5))
    points = np.column_stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z])
    return points[(k * 7) % len(k)].astype(np.float32)


@cache
def _grime() -> Floats:
    """Slow changes of brightness, laid over every surface."""
    return (1 + 0.12 * noise(np.random.default_rng(11), 1.2)).clip(0.5, 1.5)


@cache
def _clouds() -> Floats:
    return noise(np.random.default_rng(12), 1.5)


def _look_up(tile: Floats, uv: Floats, metres: float) -> Floats:
    where = np.floor(uv * np.float32(SIZE / metres)).astype(np.int32) & (SIZE - 1)
    return tile[where[:, 1], where[:, 0]]


def _paint(albedo: Floats, surface: Surface, road: Index, section: Section, style: Markings) -> None:
    """Lines by how much of a pixel's footprint they cover, so that they fade with distance instead of flickering."""
    uv = surface.uv[road]
    s, n, blur = uv[:, 0], uv[:, 1], surface.footprint[road] * np.float32(0.5) + np.float32(0.01)

    paint = np.zeros_like(s)
    if style.dash:
        period = style.dash + style.gap
        paint = _cover(n, style.width / 2, blur) * _cover(s % period - period / 2, style.dash / 2, blur)
    if style.edges:
        paint = np.maximum(paint, _cover(np.abs(n) - (section.kerb - 0.25), style.width / 2, blur))
    if style.bays and section.parking:
        paint = np.maximum(paint, _cover(np.abs(n) - section.lane, 0.05, blur))
    for zebra in style.zebras:
        near = np.flatnonzero(np.abs(s - zebra) < 2.2)
        paint[near] = _cover(s[near] - zebra, 1.4, blur[near]) * _cover(n[near] % 1.0 - 0.5, 0.25, blur[near])
    worn = np.clip(_look_up(_grime(), uv, 2.3) * 4 - 3, 0, 1)
    cover = (paint * (np.abs(n) < section.kerb) * worn * np.float32(style.strength))[:, None]
    colour = np.array([0.25, 0.7, 0.8] if style.yellow else [0.85, 0.85, 0.85], np.float32)
    albedo[road] += cover * (colour - albedo[road])


def _cover(offset: NDArray[np.floating], half: float, blur: Floats) -> NDArray[np.floating]:
    """Share of a pixel, `blur` m wide, that a band of half width `half` covers `offset` m from its middle."""
    return np.clip((half - np.abs(offset)) / blur + 0.5, 0, 1)


def _reflection(normals: Floats, view: Floats, gloss: Floats, lit: NDArray[np.bool_], look: Look) -> Floats:
    """The sky in paint and glass (more at grazing angles), and a highlight of the sun."""
    along = np.einsum("ij,ij->i", view, normals)[:, None]
    mirrored = view - 2 * along * normals
    fresnel = gloss[:, None] * (0.07 + 0.7 * (1 + along).clip(0, 1) ** 3)
    up = mirrored[:, 2:3]
    sky = np.where(up > 0.02, look.horizon + (look.zenith - look.horizon) * up, 0.25 * look.ambient)
    highlight = (mirrored @ look.sun).clip(0, 1) ** 60 * lit * gloss
    return fresnel * sky + highlight[:, None] * look.sun_colour * np.float32(1.5)


def _sky(directions: Floats, look: Look) -> Floats:
    """(N, 3) unit directions → light: a gradient with clouds on a plane, and a glow around the sun."""
    height = np.sqrt(directions[:, 2:3].clip(0, 1))
    colour = look.horizon + (look.zenith - look.horizon) * height
    plane = directions[:, :2] / np.maximum(directions[:, 2:3] + 0.08, 0.08)
    clouds = _look_up(_clouds(), plane, 9.0)
    cover = np.clip(clouds * 0.6 + np.float32(2.4 * look.clouds - 1.2), 0, 1)[:, None] * height.clip(0, 1)
    white = look.horizon.mean() * (
        1 - np.float32(0.12 + 0.2 * look.clouds) * _look_up(_clouds(), plane[:, ::-1], 13.0).clip(0, 2)
    )
    colour += cover * (white[:, None] - colour)
    glow = (directions @ look.sun).clip(0, 1) ** 24
    return colour + glow[:, None] * look.sun_colour * np.float32(0.5)
