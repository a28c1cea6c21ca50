"""What tells rendered frames of this simulator from those of another version of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from seg_perception.core import camera, pose


def simulation_version() -> str:
    """Eight characters that change whenever anything that decides the pixels may have."""
    own = Path(__file__)
    sources = sorted(path for path in own.parent.glob("*.py") if path.name != own.name)
    digest = hashlib.sha256()
    for path in [*sources, Path(camera.__file__), Path(pose.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
