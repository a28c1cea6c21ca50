"""Numbers for the classes of several models, as cameras may run different ones: small enough to keep in every cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seg_perception.core.classes import ClassTable

NOTHING = 0
"""The code of no class."""


class ClassCodes:
    """Codes are uint16: the number of a table, from 1 in the order of their first use, and in the low byte the id."""

    def __init__(self) -> None:
        self._tables: list[ClassTable] = []

    def first(self, table: ClassTable) -> np.uint16:
        """The code of id 0 of a table; the others follow."""
        if table not in self._tables:
            self._tables.append(table)
        return np.uint16((self._tables.index(table) + 1) << 8)

    def ids(self, codes: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Class ids, each in the meaning of its table."""
        return codes.astype(np.uint8)

    def colors(self, codes: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """(..., 3) uint8 RGB, in the colours of the classes; black for NOTHING."""
        palettes = [np.zeros((256, 3), np.uint8), *(table.palette_bgr[:, 0, ::-1] for table in self._tables)]
        return np.concatenate(palettes)[codes]
