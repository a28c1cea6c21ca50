"""How the grid is laid out and how fast it believes and forgets."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians

from seg_perception.core.errors import GridError

MOST_CELLS = 4_000_000


@dataclass(frozen=True)
class MapperConfig:
    """How the grid is laid out and how fast it believes and forgets. Lengths in m, angles in rad, times in s."""

    resolution: float = 0.2
    size_x: float = 60.0
    size_y: float = 60.0
    max_range: float = 25.0
    """Ground farther from the camera gets no evidence."""
    max_range_error: float = 2.0
    """Nor does ground whose distance is less certain than this, from the pose's errors and the pixel's size."""
    pitch_error: float = radians(0.2)
    """How far the camera's pitch may be off its stated value."""
    height_error: float = 0.01
    """How far its height may be off, as a fraction of it."""
    outline_error: float = 1.0
    """How many pixels the outlines of obstacles may be off in the mask."""
    min_confidence: float = 0.4
    """Pixels less confident than this (0..1) prove no free ground and no contact."""
    free_log_odds: float = -1.2
    occupied_log_odds: float = 1.6
    """Log-odds of one fully confident observation."""
    min_log_odds: float = -2.5
    max_log_odds: float = 3.5
    known_log_odds: float = 0.5
    """A cell nearer to 0 than this is unknown."""
    clearance: float = 2.0
    """What hangs higher above the ground is no obstacle; known only where depth is."""
    half_life: float = 3.0
    """After this time without an observation, half of a cell's log-odds is gone."""
    hidden_half_life: float = 0.14
    """The same for cells that an obstacle hides from a camera at work."""

    @property
    def cells(self) -> tuple[int, int]:
        """Of the grid, along x and along y."""
        return round(self.size_x / self.resolution), round(self.size_y / self.resolution)

    def require_usable(self) -> None:
        """Raises GridError where a value is out of its range, or values contradict each other."""
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise GridError(f"{name} is {getattr(self, name):g}; allowed: {low:g} to {high:g}")
        along_x, along_y = self.cells
        cells = along_x * along_y
        if not 1 <= cells <= MOST_CELLS:
            raise GridError(
                f"resolution {self.resolution:g}, size_x {self.size_x:g}, size_y {self.size_y:g} make {cells} cells; "
                f"allowed are 1..{MOST_CELLS}"
            )
        if self.known_log_odds >= min(-self.min_log_odds, self.max_log_odds):
            raise GridError(
                f"known_log_odds is {self.known_log_odds:g}, so that no cell is ever known; it must be below "
                f"-min_log_odds ({-self.min_log_odds:g}) and max_log_odds ({self.max_log_odds:g})"
            )


RANGES = {
    "resolution": (0.02, 5.0),
    "size_x": (1.0, 500.0),
    "size_y": (1.0, 500.0),
    "max_range": (0.5, 200.0),
    "max_range_error": (0.05, 50.0),
    "pitch_error": (0.0, 0.2),
    "height_error": (0.0, 0.5),
    "outline_error": (0.0, 50.0),
    "min_confidence": (0.0, 0.99),
    "free_log_odds": (-10.0, 0.0),
    "occupied_log_odds": (0.0, 10.0),
    "min_log_odds": (-20.0, 0.0),
    "max_log_odds": (0.0, 20.0),
    "known_log_odds": (0.01, 5.0),
    "clearance": (0.2, 20.0),
    "half_life": (0.1, 3600.0),
    "hidden_half_life": (0.01, 3600.0),
}
"""Least and most that each value may be."""
