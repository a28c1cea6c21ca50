"""A confusion matrix as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


def plain(text: str) -> str:
    """For Matplotlib, which takes what is between two dollars for a formula."""
    return text.replace("$", r"\$")


def confusion_picture(matrix: NDArray[np.int64], names: Sequence[str], title: str) -> bytes:
    """PNG of an (n, n) confusion [truth, predicted]: every row in per cent of the truth's pixels."""
    total = matrix.sum(1, keepdims=True)
    shares = np.divide(100.0 * matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0)
    size = 2.5 + 0.5 * len(names)
    figure = Figure(figsize=(size + 0.5, size))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "white" if share > 55 else "black"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=colour, fontsize=9)
    names = [plain(name) for name in names]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="truth", title=f"{plain(title)}: % of the truth's pixels")
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
