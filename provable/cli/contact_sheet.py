"""Many recovered images on one sheet: truth above recovery above their difference, eight to a band."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from provable.cli.picture import SMALLEST_RANGE, Row, as_image

PER_BAND = 8
"""Images side by side."""

MOST_IMAGES = 64
"""More images than these are not drawn."""


def contact_sheet(rows: list[Row], title: str) -> bytes:
    """Draw many images.

    Parameters
    ----------
    rows : list of Row
        One for each image; every point is one.
    title : str
        What stands above.

    Returns
    -------
    bytes
        A PNG. All images share one range of greys, clipped to it if they have colours; each difference is scaled by its own
        largest entry, which stands below it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = rows[:MOST_IMAGES]
    with_truth = any(row.known is not None for row in shown)
    lines = ("truth", "recovered", "difference") if with_truth else ("recovered",)
    bands = math.ceil(len(shown) / PER_BAND)
    columns = min(PER_BAND, len(shown))
    width, height = 1.1 * max(columns, 3) + 0.4, 1.25 * len(lines) * bands + 0.8
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    if len(rows) > MOST_IMAGES:
        title += f"   {MOST_IMAGES} of {len(rows)} atoms"
    figure.suptitle(title, fontsize=10)
    points = [point for row in shown for point in (row.known, row.found) if point is not None]
    limits = min(float(point.min()) for point in points), max(float(point.max()) for point in points)
    # Margins in inches, which a constrained layout would find as well, but a hundred axes take it seconds.
    edges = {"left": 0.3 / width, "right": 1 - 0.25 / width, "top": 1 - 0.65 / height, "bottom": 0.2 / height}
    grid = edges | {"wspace": 0.08, "hspace": 0.3}
    axes = figure.subplots(bands * len(lines), columns, squeeze=False, gridspec_kw=grid)
    for axis in axes.reshape(-1):
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
    for place, row in enumerate(shown):
        band, column = divmod(place, PER_BAND)
        for line, name in enumerate(lines):
            axis = axes[band * len(lines) + line][column]
            if column == 0:
                axis.set_ylabel(name, fontsize=8)
            if name == "truth":
                _image(axis, row.known, row.known_label, limits)
            elif name == "recovered":
                _image(axis, row.found, row.found_label, limits)
            else:
                _difference(axis, row)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _image(axis: Any, point: Any, label: str, limits: tuple[float, float]) -> None:
    image = None if point is None else as_image(point)
    axis.set_title(label.strip(" ()"), fontsize=7, pad=2)
    if image is None:
        axis.text(0.5, 0.5, "none", ha="center", va="center", fontsize=7, color="0.35", transform=axis.transAxes)
        return
    low, high = limits if limits[1] - limits[0] >= SMALLEST_RANGE else (limits[0] - 0.5, limits[0] + 0.5)
    if image.ndim == 3:
        axis.imshow(np.clip((image - low) / (high - low), 0, 1), interpolation="nearest")
        return
    axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")


def _difference(axis: Any, row: Row) -> None:
    if row.known is None or row.found is None:
        return
    difference = row.found - row.known
    largest = float(np.max(np.abs(difference)))
    axis.set_xlabel("equal" if largest == 0 else f"{largest:.0e}", fontsize=7, labelpad=2)
    scale = largest or 1.0
    image = as_image(difference / scale)
    if image is None:
        return
    if image.ndim == 3:
        axis.imshow((image + 1) / 2, interpolation="nearest")
        return
    axis.imshow(image, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
