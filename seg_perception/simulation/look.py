"""How a street looks on a given day through a given camera: light, air, sensor."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Look:
    """Light and camera of one drive. Colours are BGR.

    sun: (3,) unit vector towards it. sun_colour, ambient: (3,) light. softness: spread of the sun's direction.
    brightness: mean light of the lower half of the picture, which the exposure aims at.
    haze: m until 63 % of the light is the haze's. zenith, horizon: (3,) sky. clouds: 0 none .. 1 overcast.
    """

    sun: Floats
    sun_colour: Floats
    ambient: Floats
    softness: float
    haze: float
    zenith: Floats
    horizon: Floats
    clouds: float
    brightness: float
    gamma: float
    saturation: float
    balance: Floats
    contrast: float
    vignette: float
    blur: float
    sharpen: float
    noise: float
    jpeg: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """Anything from hard low sun to dull overcast, from a good sensor to a poor one."""
        overcast = float(rng.choice([rng.uniform(0, 0.35), rng.uniform(0.6, 1.0)], p=[0.6, 0.4]))
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(10, 65))
        sun = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        warm = rng.uniform(0, 0.35) * (1 - elevation)
        sun_strength = rng.uniform(1.0, 2.2) * (1 - overcast) ** 1.3
        blue = rng.uniform(0.3, 1.1) * (1 - overcast)
        sky = rng.uniform(0.4, 1.3)
        return cls(
            sun=np.array(sun, np.float32),
            sun_colour=(sun_strength * np.array([1 - warm, 1 - 0.4 * warm, 1.0])).astype(np.float32),
            ambient=(rng.uniform(0.4, 0.75) * np.array([1.0 + 0.25 * blue, 1.0, 1.0 - 0.15 * blue])).astype(np.float32),
            softness=0.0 if overcast < 0.4 else 0.5 * overcast**2,
            haze=float(np.exp(rng.uniform(np.log(120), np.log(2500)))),
            zenith=(sky * np.array([1.0, 1 - 0.3 * blue, 1 - 0.62 * blue])).astype(np.float32),
            horizon=(sky * rng.uniform(1.0, 1.25) * np.array([1.0, 1 - 0.08 * blue, 1 - 0.2 * blue])).astype(
                np.float32
            ),
            clouds=float(np.clip(overcast * 1.2 + rng.uniform(-0.25, 0.25), 0, 1)),
            brightness=float(rng.uniform(0.09, 0.42)),
            gamma=rng.uniform(0.42, 0.62),
            saturation=rng.uniform(0.6, 1.25),
            balance=rng.uniform(0.92, 1.08, 3).astype(np.float32),
            contrast=rng.uniform(0.0, 0.6),
            vignette=rng.uniform(0.0, 0.35),
            blur=rng.uniform(0.35, 0.95),
            sharpen=float(rng.choice([0.0, rng.uniform(0.2, 0.8)])),
            noise=float(rng.uniform(0.0, 1.0) ** 2 * 0.022),
            jpeg=int(rng.integers(45, 97)),
        )

    def develop(self, light: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
        """(H, W, 3) linear light → (H, W, 3) uint8, as the camera would deliver it."""
        image = cv2.GaussianBlur(light, (0, 0), self.blur)
        if self.sharpen:
            image = cv2.addWeighted(image, 1 + self.sharpen, cv2.GaussianBlur(image, (0, 0), 1.6), -self.sharpen, 0)
        height, width = image.shape[:2]
        exposure = self.brightness / max(float(image[height // 2 :: 4, ::4].mean()), 1e-3)
        image *= self.balance * np.float32(exposure)
        if self.vignette > 0.02:
            y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
            image *= (1 - np.float32(self.vignette * 0.5) * (x * x + y * y))[..., None]
        grain = self._grain(rng, height, width)
        np.clip(image, 0.0, 1.0, out=image)
        cv2.pow(image, self.gamma, image)
        image += np.float32(self.contrast) * image * (1 - image) * (2 * image - 1) + grain
        if abs(self.saturation - 1) > 0.03:
            image = self.saturation * image + (1 - self.saturation) * cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
        coded = cv2.convertScaleAbs(np.clip(image, 0, 1), alpha=255.0)
        _, packed = cv2.imencode(".jpg", coded, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])
        return cv2.imdecode(packed, cv2.IMREAD_COLOR)

    def _grain(self, rng: np.random.Generator, height: int, width: int) -> Floats:
        """Noise as a colour filter array leaves it: partly shared by the channels and by neighbours."""
        fine = rng.standard_normal((height, width), np.float32)
        coarse = cv2.resize(rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), np.float32), (width, height))
        return np.float32(self.noise) * (fine[..., None] + coarse)
