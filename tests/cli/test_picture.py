"""Pictures of recoveries: every shape and size, no warnings, no state left in matplotlib."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from provable.cli import contact_sheet, picture
from provable.cli.picture import as_image, draw
from provable.cli.truth import Truth
from provable.measures import Measure
from provable.recovery import Recovery


def recovery(points, labels=None, **changes):
    points = np.asarray(points, dtype=np.float64)
    fields = {"residual": 1e-16, "method": "fully-connected", "fibre": (), "status": "consistent", "reason": "x"}
    return Recovery(points=points, coefficients=np.ones(len(points)), labels=labels, **(fields | changes))


def truth(points, labels=None):
    points = np.asarray(points, dtype=np.float64)
    return Truth(Measure(points, np.ones(len(points))), np.arange(len(points)) if labels is None else labels)


def pixels(content):
    return imread(io.BytesIO(content), format="png")


@pytest.mark.parametrize("shape", [(1,), (2,), (4,), (64,), (7, 5), (1, 4, 6), (3, 4, 4), (5, 2, 2), (2, 2, 2, 2)])
def test_every_shape_of_atom(shape):
    points = np.random.default_rng(0).standard_normal((1, *shape))
    alone, beside = pixels(draw(recovery(points))), pixels(draw(recovery(points * (1 + 1e-15)), truth(points)))
    assert beside.shape[1] > 2 * alone.shape[1]
    assert beside.shape[0] == alone.shape[0]


def test_images():
    flat = np.arange(9.0)
    np.testing.assert_array_equal(as_image(flat), flat.reshape(3, 3))
    np.testing.assert_array_equal(as_image(flat.reshape(1, 3, 3)), flat.reshape(3, 3))
    assert as_image(np.arange(8.0)) is None
    assert as_image(np.zeros(1)) is None
    assert as_image(np.zeros((2, 3, 3))) is None
    colour = np.arange(12.0).reshape(3, 2, 2)
    assert as_image(colour)[0, 1].tolist() == [1.0, 5.0, 9.0]


@pytest.mark.parametrize("size", [0.0, 5e-324, 1e-300, 1e150, 1.7e308])
@pytest.mark.parametrize("shape", [(4,), (5,), (3, 2, 2)])
def test_extreme_numbers(size, shape):
    points = np.full((1, *shape), size)
    points.reshape(-1)[0] = -size
    assert pixels(draw(recovery(-points), truth(points))).ndim == 3


def test_counts_may_differ():
    points = np.random.default_rng(0).standard_normal((3, 16))
    heights = []
    for found, known in [(0, 0), (0, 2), (2, 0), (1, 3), (3, 1)]:
        heights.append(len(pixels(draw(recovery(points[:found], status="failed"), truth(points[:known])))))
    # One row for each atom on either side, and room for a message if there is none.
    assert heights[0] < heights[1] == heights[2] < heights[3] == heights[4]


def test_many_atoms_are_cut(monkeypatch):
    monkeypatch.setattr(picture, "MOST_ATOMS", 1)
    points = np.random.default_rng(0).standard_normal((3, 4))
    cut, full = pixels(draw(recovery(points))), pixels(draw(recovery(points[:1])))
    assert cut.shape == full.shape
    # The title says how many are missing.
    assert np.any(cut != full)


def test_labels_of_every_kind():
    points = np.eye(4)[:2]
    pictures = {draw(recovery(points))}
    for labels in ([3, 4], [0.25, -1.5], np.eye(3)[:2], np.full((2, 3), 0.3)):
        labels = np.array(labels)
        pictures.add(draw(recovery(points, labels), truth(points, labels)))
    # Numbers and unit vectors change the picture; a vector that names no class has no label.
    assert len(pictures) == 5


def test_columns_are_truth_recovery_and_difference():
    """Where only the recovery changes, the left of the picture does not, the middle and the right do."""
    points = np.random.default_rng(0).uniform(0.25, 0.75, (1, 64))
    points[0, :2] = 0, 1
    drawn = []
    for entry in (20, 40):
        other = points.copy()
        other[0, entry] += 0.125
        drawn.append(pixels(draw(recovery(other), truth(points))))
    changed = np.any(drawn[0] != drawn[1], axis=(0, 2))
    left, middle, right = np.array_split(changed, 3)
    # The frame of the second panel may begin a little before a third of the width.
    assert not left[: int(0.9 * len(left))].any()
    assert middle.any()
    assert right.any()
    assert draw(recovery(points), truth(points)) == draw(recovery(points), truth(points))


def test_no_global_state():
    code = (
        "import numpy as np, sys\n"
        "from provable.cli.picture import draw\n"
        "from provable.recovery import Recovery\n"
        "assert 'matplotlib' not in sys.modules\n"
        "draw(Recovery(np.ones((1, 4)), np.ones(1), None, 0.0, 'm', (), 'consistent'))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_batch_is_a_contact_sheet_with_signs_and_order_of_the_truth():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (9, 16))
    shuffled = rng.permutation(9)
    found = dataclasses.replace(recovery(-points[shuffled]), fibre=("permutation", "joint-sign"))
    plain = dataclasses.replace(recovery(points), fibre=("permutation", "joint-sign"))
    # The truth's coefficients are those of the plain recovery, so the flipped one is the same measure in its fibre.
    flipped = dataclasses.replace(found, coefficients=-plain.coefficients[shuffled])
    assert draw(flipped, truth(points)) == draw(plain, truth(points))
    # Nine images take two bands of eight; without the truth each band has one line instead of three.
    with_truth, alone = pixels(draw(plain, truth(points))), pixels(draw(plain))
    assert len(with_truth) > 2 * len(alone)
    changed = points.copy()
    changed[8, 0] += 0.25
    assert draw(recovery(changed), truth(points)) != draw(recovery(points), truth(points))


def test_sheets_of_few_of_many_and_of_colours(monkeypatch):
    rng = np.random.default_rng(0)
    for shape in ((4, 2, 2), (5, 3, 2, 2), (4, 1, 3, 3), (4, 4)):
        points = rng.standard_normal(shape)
        assert pixels(draw(recovery(points), truth(points[:3]))).size
        assert pixels(draw(recovery(points[:2], status="failed"), truth(points))).size
        assert pixels(draw(recovery(0 * points), truth(0 * points))).size
    monkeypatch.setattr(contact_sheet, "MOST_IMAGES", 4)
    points = rng.standard_normal((6, 4))
    assert pixels(draw(recovery(points))).shape == pixels(draw(recovery(points[:4]))).shape
    assert draw(recovery(points)) != draw(recovery(points[:4]))
