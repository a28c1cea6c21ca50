"""Where the files that come with the package lie: the installed share folder, or the source tree."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from seg_perception.core.errors import DataError

_SOURCE = Path(__file__).resolve().parents[2]


def share_folder() -> Path:
    """Folder with `config/` and `msg/`. Raises DataError when neither installation nor source tree has them."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]  # colcon's, pip's
    candidates = [_SOURCE, *(Path(prefix) / "share" / "seg_perception" for prefix in prefixes if prefix)]
    for folder in candidates:
        if (folder / "config" / "classes").is_dir():
            return folder
    raise DataError(
        f"the package's config folder is in none of {', '.join(map(str, candidates))}; source install/setup.bash first"
    )
