"""Where the files that come with the package lie: the source tree, or what colcon or pip has installed."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from pathlib import Path

from seg_perception.core.errors import DataError

_SOURCE = Path(__file__).resolve().parents[2]


def share_folders() -> list[Path]:
    """Folders that may have `config/` and `msg/`, the first to be preferred."""
    colcon = filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    # pip's own place for data depends on the distribution, and on whether it installs for one user.
    pip = (sys.prefix, sysconfig.get_path("data"), site.getuserbase(), f"{sys.prefix}/local")
    shares = (Path(prefix) / "share" / "seg_perception" for prefix in (*colcon, *pip))
    return list(dict.fromkeys((_SOURCE, *shares)))


def share_folder() -> Path:
    """The first that has them. Raises DataError when neither installation nor source tree has."""
    candidates = share_folders()
    for folder in candidates:
        if (folder / "config" / "classes").is_dir():
            return folder
    raise DataError(
        f"the package's config folder is in none of {', '.join(map(str, candidates))}; source install/setup.bash first"
    )
