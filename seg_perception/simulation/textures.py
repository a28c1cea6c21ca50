"""Surface textures: periodic tiles with mip levels in one flat array, so that all pixels are looked up at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SIZE = 512
_LEVELS = 8
ATLASES = 6
"""Number of different atlases; streets share them because drawing one takes time."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Tiles of SIZE² texels. texels: BGR and, as fourth channel, how much of the colour takes the surface's tint."""

    texels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    texels_per_m: Floats
    names: dict[str, tuple[int, ...]]

    def pick(self, name: str, rng: np.random.Generator) -> int:
        """One of the variants of a texture."""
        return int(rng.choice(self.names[name]))

    def look_up(self, texture: NDArray[np.int32], u: Floats, v: Floats, footprint: Floats) -> NDArray[np.uint8]:
        """(N,) texture indices, coordinates and pixel footprints (m) → (N, 4) uint8."""
        density = self.texels_per_m[texture]
        level = np.clip(np.log2(np.maximum(footprint * density, 1e-3)), 0, _LEVELS - 1).astype(np.int32)
        mask = (SIZE >> level) - 1
        scale = density * np.ldexp(np.float32(1), -level)
        column = np.floor(u * scale).astype(np.int32) & mask
        row = np.floor(v * scale).astype(np.int32) & mask
        return self.texels[self.offsets[texture, level] + row * (mask + 1) + column]


@lru_cache(maxsize=2)
def atlas(variant: int) -> Atlas:
    """The atlas number `variant` of ATLASES."""
    rng = np.random.default_rng([7919, variant])
    names: dict[str, tuple[int, ...]] = {}
    tiles: list[Floats] = []
    metres: list[float] = []
    for name, (draw, count, size_m) in _TEXTURES.items():
        names[name] = tuple(range(len(tiles), len(tiles) + count))
        tiles += [draw(rng) for _ in range(count)]
        metres += [size_m] * count
    chunks, offsets, end = [], [], 0
    for tile in tiles:
        row = []
        for level in range(_LEVELS):
            small = cv2.resize(tile, (SIZE >> level, SIZE >> level), interpolation=cv2.INTER_AREA)
            chunks.append(np.clip(small * 255, 0, 255).astype(np.uint8).reshape(-1, 4))
            row.append(end)
            end += len(chunks[-1])
        offsets.append(row)
    texels_per_m = (SIZE / np.array(metres)).astype(np.float32)
    return Atlas(np.concatenate(chunks), np.array(offsets), texels_per_m, names)


def noise(rng: np.random.Generator, smoothness: float) -> Floats:
    """(SIZE, SIZE) periodic noise, zero mean, unit deviation; its amplitudes fall with frequency ** -smoothness."""
    field = np.roll(_field(smoothness), rng.integers(0, SIZE, 2), axis=(0, 1))
    return field[:, ::-1] if rng.random() < 0.5 else field


@cache
def _field(smoothness: float) -> Floats:
    rng = np.random.default_rng(round(1000 * smoothness))
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) * frequency**-smoothness
    field = np.fft.irfft2(spectrum, (SIZE, SIZE))
    return (field / field.std()).astype(np.float32)


def _tile(grey: Floats, tinted: Floats | float = 1.0) -> Floats:
    return np.dstack([grey, grey, grey, np.broadcast_to(np.float32(tinted), grey.shape)]).astype(np.float32)


def _grain(rng: np.random.Generator, fine: float, coarse: float) -> Floats:
    return 0.8 + fine * noise(rng, 0.3) + coarse * noise(rng, 1.2)


def _plain(rng: np.random.Generator) -> Floats:
    return _tile(_grain(rng, 0.015, 0.02))


def _asphalt(rng: np.random.Generator) -> Floats:
    grey = _grain(rng, rng.uniform(0.015, 0.05), rng.uniform(0.02, 0.06))
    cracks = np.abs(noise(rng, 1.6)) < rng.uniform(0.0, 0.012)
    return _tile(np.where(cracks, grey * 0.6, grey))


def _grid(rng: np.random.Generator, rows: int, columns: int, joint: int, spread: float, bond: float) -> Floats:
    """Slabs or bricks: each with a brightness of its own, darker (or lighter) joints between them."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    row = y * rows // SIZE
    shifted = (x + (row % 2) * bond * SIZE / columns).astype(int) % SIZE
    column = shifted * columns // SIZE
    grey = rng.uniform(1 - spread, 1 + spread, (rows, columns))[row, column]
    seams = ((y % (SIZE / rows)) < joint) | ((shifted % (SIZE / columns)) < joint)
    return np.where(seams, rng.uniform(0.6, 1.15), grey).astype(np.float32) * _grain(rng, 0.04, 0.05)


def _paving(rng: np.random.Generator) -> Floats:
    if rng.random() < 0.25:
        return _asphalt(rng)
    rows = int(rng.integers(6, 24))
    return _tile(_grid(rng, rows, int(rng.integers(5, 14)), 3, rng.uniform(0.03, 0.15), 0.5 * rng.integers(0, 2)))


def _bricks(rng: np.random.Generator) -> Floats:
    return _tile(_grid(rng, 56, 18, 2, rng.uniform(0.05, 0.2), 0.5))


def _grass(rng: np.random.Generator) -> Floats:
    return _tile(0.7 + 0.16 * noise(rng, 0.4) + 0.1 * noise(rng, 1.2))


def _foliage(rng: np.random.Generator) -> Floats:
    leaves = cv2.GaussianBlur(rng.random((SIZE, SIZE), np.float32), (0, 0), rng.uniform(1.5, 4))
    leaves = (leaves - leaves.mean()) / leaves.std()
    return _tile(np.clip(0.6 + 0.22 * leaves + 0.08 * noise(rng, 1.2), 0.12, 1))


def _bark(rng: np.random.Generator) -> Floats:
    streaks = cv2.resize(noise(rng, 0.8)[:64], (SIZE, SIZE))
    return _tile(0.7 + 0.15 * streaks)


def _cloth(rng: np.random.Generator) -> Floats:
    return _tile(0.78 + 0.1 * noise(rng, 1.3))


def _roof(rng: np.random.Generator) -> Floats:
    return _tile(_grid(rng, 30, 24, 3, 0.12, 0.5) * 0.95)


def _planks(rng: np.random.Generator) -> Floats:
    count = int(rng.integers(16, 40))
    grey = _grid(rng, 1, count, int(rng.integers(2, 5)), 0.15, 0.0) * (
        1 + 0.06 * cv2.resize(noise(rng, 1.0)[:32], (SIZE, SIZE))
    )
    return _tile(grey)


def _railings(rng: np.random.Generator) -> Floats:
    """Bars in the surface's tint; between them something dark or green that one sees through a fence."""
    x = np.broadcast_to(np.arange(SIZE), (SIZE, SIZE))
    pitch = SIZE // int(rng.choice([16, 32]))
    bars = (x % pitch) < pitch * rng.uniform(0.25, 0.5)
    behind = np.array(rng.uniform(0.1, 0.45, 3) * [0.8, 1.0, 0.9], np.float32) * (1 + 0.25 * noise(rng, 0.9))[..., None]
    colour = np.where(bars[..., None], np.float32(0.9), behind)
    return np.dstack([colour, bars.astype(np.float32)]).astype(np.float32)


def _window(rng: np.random.Generator, tile: Floats, box_: tuple[int, int, int, int], frame: int) -> None:
    x0, y0, x1, y1 = box_
    tile[y0 - frame : y1 + frame, x0 - frame : x1 + frame] = (*(rng.uniform(0.6, 0.95),) * 3, 0.2)
    glass = np.float32(rng.uniform(0.04, 0.35)) * np.array([1.1, 1.0, 0.95], np.float32)
    shade = np.linspace(0.6, 1.5, y1 - y0, dtype=np.float32)[:, None, None]
    tile[y0:y1, x0:x1, :3] = glass * shade
    tile[y0:y1, x0:x1, 3] = 0.0
    if rng.random() < 0.7:
        middle = (x0 + x1) // 2
        tile[y0:y1, middle - 2 : middle + 2] = (0.8, 0.8, 0.8, 0.2)
    if rng.random() < 0.5:
        middle = (y0 + y1) // 2
        tile[middle - 2 : middle + 2, x0:x1] = (0.8, 0.8, 0.8, 0.2)


def _facade(rng: np.random.Generator) -> Floats:
    """Three floors of windows in brick, plaster or concrete; row 0 of a tile is the ground."""
    wall = (_bricks, _plain, _plain, _asphalt)[rng.integers(0, 4)](rng)
    columns, frame = int(rng.integers(2, 6)), int(rng.integers(3, 9))
    bay, floor = SIZE // columns, SIZE // 3
    half = int(bay * rng.uniform(0.2, 0.42)) - frame
    low, high = int(floor * rng.uniform(0.2, 0.35)), int(floor * rng.uniform(0.72, 0.9))
    for row in range(3):
        for column in range(columns):
            middle = column * bay + bay // 2
            _window(rng, wall, (middle - half, row * floor + low, middle + half, row * floor + high), frame)
    if rng.random() < 0.5:
        wall[::floor][:3] *= np.float32(0.7)
    return wall


def _shop(rng: np.random.Generator) -> Floats:
    """Shop fronts: glass with goods behind it, pillars, a coloured board with marks like writing above."""
    tile = _plain(rng)
    bays = int(rng.integers(2, 5))
    bay = SIZE // bays
    for index in range(bays):
        x0, x1 = index * bay + 10, (index + 1) * bay - 10
        tile[40:360, x0:x1] = (*(rng.uniform(0.03, 0.2) * rng.uniform(0.8, 1.0, 3)), 0.0)
        for _ in range(int(rng.integers(3, 12))):
            x, y = int(rng.integers(x0, x1 - 20)), int(rng.integers(50, 300))
            w, h = int(rng.integers(8, 60)), int(rng.integers(8, 70))
            goods = rng.uniform(0.05, 0.6) * rng.uniform(0.6, 1.0, 3)
            tile[y : min(y + h, 355), x : min(x + w, x1)] = (*goods, 0.0)
    tile[380:480] = (*(rng.uniform(0.1, 0.8) * rng.uniform(0.3, 1.0, 3)), 0.0)
    ink = rng.uniform(0, 1, 3)
    for x in range(40, SIZE - 60, int(rng.integers(18, 36))):
        if rng.random() < 0.7:
            tile[405:455, x : x + int(rng.integers(6, 16))] = (*ink, 0.0)
    return tile


def _board(rng: np.random.Generator) -> Floats:
    """Face of a road sign: border, field, a few strokes; it repeats every metre."""
    face, border, ink = rng.choice(
        [[0.95] * 3, [0.1, 0.1, 0.85], [0.75, 0.3, 0.05], [0.1, 0.8, 0.9], [0.3, 0.5, 0.1]], 3
    )
    tile = np.full((SIZE, SIZE, 4), 0, np.float32)
    tile[..., :3] = border
    tile[40:-40, 40:-40, :3] = face
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.integers(80, 400, 2)
        tile[y : y + int(rng.integers(20, 90)), x : x + int(rng.integers(20, 200)), :3] = ink
    return tile


_TEXTURES: dict[str, tuple[Callable[[np.random.Generator], Floats], int, float]] = {
    "plain": (_plain, 1, 4.0),
    "asphalt": (_asphalt, 3, 5.0),
    "paving": (_paving, 4, 5.0),
    "grass": (_grass, 1, 3.0),
    "brick": (_bricks, 2, 4.2),
    "facade": (_facade, 6, 9.0),
    "shop": (_shop, 2, 5.0),
    "roof": (_roof, 1, 6.0),
    "foliage": (_foliage, 2, 4.0),
    "bark": (_bark, 1, 1.5),
    "cloth": (_cloth, 1, 1.2),
    "planks": (_planks, 2, 4.0),
    "railings": (_railings, 2, 3.0),
    "board": (_board, 4, 1.0),
}
"""name: (how to draw one, number of variants, edge of the tile in metres)"""
