"""Make the ROS wheels of this virtual environment usable for building.

Their exported CMake files name the include folders of the machine that built the wheels
(`/opt/python/cp311-cp311/...`); point them to this environment's Python and NumPy. Safe to repeat.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

_BUILDER = r"/opt/python/cp\d+-cp\d+t?"
_NUMPY_INCLUDE = re.compile(_BUILDER + r"/lib/python[\d.]+t?/site-packages/numpy/_?core/include")
_PYTHON_INCLUDE = re.compile(_BUILDER + r"/include/python[\d.]+t?")


def adapt(text: str) -> str:
    """The content of a CMake file with the builder's include folders replaced by this environment's."""
    text = _NUMPY_INCLUDE.sub(lambda _: np.get_include(), text)
    return _PYTHON_INCLUDE.sub(lambda _: sysconfig.get_path("include"), text)


def main() -> None:
    for path in Path(sys.prefix, "share").rglob("*.cmake"):
        before = path.read_text(encoding="utf-8")
        after = adapt(before)
        if after != before:
            path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
