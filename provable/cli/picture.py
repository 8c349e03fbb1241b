"""The picture of a recovery: truth, recovery and their difference side by side."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from provable.symmetries import is_symmetry

if TYPE_CHECKING:
    from provable.cli.truth import Truth
    from provable.recovery import Recovery

MOST_ATOMS = 8
"""More atoms than these are not drawn."""

FEWEST_OF_A_BATCH = 4
"""From so many images on, they are drawn as a contact sheet."""

MOST_ENTRIES = 2**24
"""Larger atoms are not drawn."""

LARGEST_NUMBER, SMALLEST_RANGE = 1e100, 1e-100
"""Beyond these the scales of a plot would over- or underflow."""

Float = NDArray[np.float64]


def draw(result: Recovery, truth: Truth | None = None) -> bytes:
    """Draw a recovery, and the truth beside it if it is known.

    Parameters
    ----------
    result : Recovery
        What was found.
    truth : Truth, optional
        What is there.

    Returns
    -------
    bytes
        A PNG. One row for each atom: as an image if its shape is that of one (a flat square number of entries counts),
        otherwise as a plot of its entries. A batch of many images is a contact sheet instead.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _rows(result, truth)
    if len(rows) >= FEWEST_OF_A_BATCH and all(map(_drawable, rows)):
        from provable.cli.contact_sheet import contact_sheet

        return contact_sheet(rows, _title(result, 0))
    columns = 1 if truth is None else 3
    shown = rows[:MOST_ATOMS]
    figure = Figure(figsize=(2.9 * columns + 0.5, 2.75 * max(len(shown), 1) + 1.15), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_title(result, len(rows)), fontsize=11)
    if not shown:
        figure.text(0.5, 0.45, "no atom was recovered", ha="center", va="center", color="0.4")
    axes = figure.subplots(max(len(shown), 1), columns, squeeze=False)
    for row, content in zip(axes, shown, strict=False):
        _draw_row(figure, row, content)
    if not shown:
        for axis in axes.reshape(-1):
            axis.set_axis_off()
    buffer = io.BytesIO()
    # Without the program's version in the file the picture is the same wherever the same matplotlib draws it.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _title(result: Recovery, atoms: int) -> str:
    parts = [
        f"status: {result.status}{', undetermined' if result.undetermined else ''}",
        f"residual {result.residual:.1e}",
    ]
    if atoms > MOST_ATOMS:
        parts.append(f"{MOST_ATOMS} of {atoms} atoms")
    return f"{result.method or 'no method'}\n" + "   ".join(parts)


@dataclasses.dataclass(frozen=True)
class Row:
    """An atom of the truth with its counterpart, either of which may be missing.

    Parameters
    ----------
    known : array or None
        The true point.
    known_label : str
        Its label as part of a title, or empty.
    found : array or None
        The recovered point, with the sign and scale of the true one where they are open.
    found_label : str
        Its label as part of a title, or empty.
    """

    known: Float | None
    known_label: str
    found: Float | None
    found_label: str


def _rows(result: Recovery, truth: Truth | None) -> list[Row]:
    if truth is None:
        return [Row(None, "", point, _label(result.labels, j)) for j, point in enumerate(result.points)]
    symmetries = [word for word in result.fibre if word != "permutation" and is_symmetry(word)]
    matching = truth.matching(result.measure, ("permutation", *symmetries))
    order = range(len(result.points)) if matching is None else matching.permutation.tolist()
    rows = []
    for j, point in enumerate(truth.measure.points):
        atom = order[j] if j < len(order) else -1
        found, found_label = (result.points[atom], _label(result.labels, atom)) if atom >= 0 else (None, "")
        if found is not None and matching is not None and symmetries:
            # Signs and scales that the gradient leaves open are shown as those of the truth.
            found = matching.signs[j] * matching.factors[j] * found
        rows.append(Row(point, _label(truth.labels, j), found, found_label))
    rest = sorted({*range(len(result.points))} - {*order[: len(truth.measure.points)]})
    rows += [Row(None, "", result.points[j], _label(result.labels, j)) for j in rest]
    return rows


def _label(labels: NDArray[Any] | None, atom: int) -> str:
    if labels is None:
        return ""
    label = np.asarray(labels[atom], dtype=np.float64).reshape(-1)
    if label.size == 1:
        return f" (label {label[0]:.4g})"
    # A unit vector, up to rounding, stands for its class.
    top = int(np.argmax(label))
    return f" (label {top})" if np.max(np.abs(label - np.eye(label.size)[top])) < 1e-6 else ""


def _drawable(row: Row) -> bool:
    given = [point for point in (row.known, row.found) if point is not None]
    return all(
        as_image(point) is not None and point.size <= MOST_ENTRIES and np.max(np.abs(point)) <= LARGEST_NUMBER
        for point in given
    )


def as_image(point: Float) -> Float | None:
    """Arrange a point as an image, if it has the shape of one.

    Parameters
    ----------
    point : array
        One atom.

    Returns
    -------
    array of shape (h, w) or (h, w, 3), or None
        Grey values, or colours for three channels.
    """
    if point.ndim == 1:
        side = math.isqrt(point.size)
        return point.reshape(side, side) if side > 1 and side * side == point.size else None
    if point.ndim == 2:
        return point
    if point.ndim == 3 and point.shape[0] in (1, 3):
        image: Float = point[0] if point.shape[0] == 1 else np.moveaxis(point, 0, -1)
        return image
    return None


def _draw_row(figure: Any, axes: Any, row: Row) -> None:
    if len(axes) == 1:
        _panel(figure, axes[0], row.found, f"recovered{row.found_label}", None)
        return
    given = [point for point in (row.known, row.found) if point is not None]
    limits = (min(float(point.min()) for point in given), max(float(point.max()) for point in given))
    _panel(figure, axes[0], row.known, f"truth{row.known_label}", limits)
    _panel(figure, axes[1], row.found, f"recovered{row.found_label}", limits)
    if row.known is None or row.found is None:
        _empty(axes[2], "difference", "none")
        return
    with np.errstate(over="ignore"):
        difference = np.nan_to_num(row.found - row.known)
    largest = float(np.max(np.abs(difference)))
    if largest == 0:
        _empty(axes[2], "difference", "equal bit for bit")
        return
    _panel(figure, axes[2], difference, f"difference, at most {largest:.1e}", (-largest, largest), signed=True)


def _empty(axis: Any, title: str, text: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_box_aspect(1)
    axis.set_facecolor("0.96")
    axis.text(0.5, 0.5, text, ha="center", va="center", color="0.35", transform=axis.transAxes)
    axis.set_xticks([])
    axis.set_yticks([])


def _panel(
    figure: Any, axis: Any, point: Float | None, title: str, limits: tuple[float, float] | None, *, signed: bool = False
) -> None:
    if point is None:
        _empty(axis, title, "none")
        return
    low, high = limits or (float(point.min()), float(point.max()))
    if max(abs(low), abs(high)) > LARGEST_NUMBER or point.size > MOST_ENTRIES:
        _empty(axis, title, f"not drawn: {point.size} numbers\nfrom {low:.1e} to {high:.1e}")
        return
    axis.set_title(title, fontsize=9)
    if high - low < SMALLEST_RANGE:
        low, high = low - 0.5, high + 0.5
    image = as_image(point)
    if image is None:
        # Powers of ten go to the label: matplotlib would print them over the title.
        power = math.floor(math.log10(max(abs(low), abs(high))))
        unit = 10.0**power if not -3 <= power <= 3 else 1.0
        axis.plot(
            point.reshape(-1) / unit, ".-" if point.size < 100 else "-", lw=0.8, ms=3, color="C3" if signed else "C0"
        )
        margin = 0.05 * (high - low)
        axis.set_ylim((low - margin) / unit, (high + margin) / unit)
        axis.set_xlabel("entry", fontsize=8)
        if unit != 1.0:
            axis.set_ylabel(f"in units of 1e{power:+03d}", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_box_aspect(1)
        return
    axis.set_xticks([])
    axis.set_yticks([])
    if image.ndim == 3:
        # Colours need the range 0 to 1; a difference is shown around grey.
        axis.imshow(np.clip((image - low) / (high - low), 0, 1), interpolation="nearest")
        return
    drawn = axis.imshow(image, cmap="RdBu_r" if signed else "gray", vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(drawn, ax=axis, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=7)
    bar.formatter.set_powerlimits((-3, 3))
    bar.ax.yaxis.get_offset_text().set_fontsize(7)
    bar.update_ticks()
