r"""Splittings of a batch's unknowns, by which ‖F(z) - F(ẑ)‖ ≥ sigma·‖z - ẑ‖ is proved without the matrix JᵀJ of all unknowns.

Let z - ẑ = a + b with a, b in orthogonal subspaces, and P an orthogonal projection with ‖P(F(z) - F(ẑ))‖ ≥ s‖b‖,
‖(I - P)(F(ẑ + a + b) - F(ẑ + a))‖ ≤ k‖b‖ and ‖(I - P)(F(ẑ + a) - F(ẑ))‖ ≥ t‖a‖ in the ball. With p, q the norms of the two
parts of F(z) - F(ẑ), ‖b‖ ≤ p/s and ‖a‖ ≤ (q + k‖b‖)/t; so sigma may be the least singular value of [[s, 0], [k, t]], and it
is no larger if sigma < s and t² ≥ sigma²·(1 + k²/(s² - sigma²)), or the same with s and t exchanged. F is one weight gradient
Σ g_i h_iᵀ, for the row space with the bias gradient Σ g_i or without.

* ``row-space``: the first layer, h_i = x_i; b has its points orthogonal to the span of the stated points X, and P is the
  projection of the rows onto the orthogonal complement of that span: P(F(z) - F(ẑ)) = Σ g_i(z) b_iᵀ.
* ``layer-inputs``: a deeper layer with the inputs H at ẑ; b are the points, a the coefficients, in which F is linear, and P
  projects the rows onto the orthogonal complement of the span of H: P(F(z) - F(ẑ)) = Σ g_i(z) (P(h(x_i) - h(x̂_i)))ᵀ.

The part b is measured with weights: ‖b‖ ≤ ‖(d_i b_i)‖/min d, with d_i the length of g_i at ẑ; so a sample of small residual,
whose g_i, and all that depends on it, is small, costs no more than that. The columns g_i are divided by d_i, and s and k,
found for the weighted length, are multiplied by min d.

Modulo positive scaling z - ẑ is orthogonal to every stated point, and squares of such products may be added to the forms.
"""

from __future__ import annotations

from fractions import Fraction

from flint import arb, arb_mat, ctx

from provable.checker.batch import Batch, most, times_rows
from provable.checker.bounds import exact, length, spectral
from provable.checker.chain import Linear, Piece
from provable.checker.definiteness import positive_definite
from provable.checker.verdict import Invalid, Undecided

LARGEST_FORM = 1500
"""Most rows of a matrix whose definiteness is decided."""

LARGEST_BATCH = 200_000
"""Most unknowns of a batch."""

_SHORT = 80
"""Bits at which the features of every sample are tried first."""

SPLITS = ("row-space", "layer-inputs")
"""The splittings."""


def prove(batch: Batch, split: str, pieces: list[Piece], scaled: bool, radius: Fraction, sigma: Fraction) -> None:
    """Prove the bound in the ball.

    Parameters
    ----------
    batch : Batch
        The samples at the stated points and coefficients.
    split : str
        One of `SPLITS`.
    pieces : list of (int, str)
        The pieces of F.
    scaled : bool
        Whether z - ẑ is orthogonal to every stated point.
    radius, sigma : Fraction
        As stated.

    Raises
    ------
    Invalid
        If it is not proved.
    Undecided
        If it is not at this precision.
    """
    weights = [index for index, part in pieces if part == "weight"]
    if len(weights) != 1 or any(index != weights[0] for index, _ in pieces):
        raise Invalid(f"the split {split} is for the pieces of one layer with its weight among them")
    place = batch.position(weights[0])
    outer, aim = exact(radius).abs_upper(), exact(sigma).abs_upper()
    if split == "row-space":
        if place != 0 or not batch.stages:
            raise Invalid("the split row-space is for the first layer, with nothing before it")
        _row_space(batch, len(pieces) == 2, scaled, outer, aim)
    else:
        if place == 0 or len(pieces) != 1:
            raise Invalid("the split layer-inputs is for the weight of a layer that is not the first one")
        _layer_inputs(batch, place, scaled, outer, aim)


def _row_space(batch: Batch, bias: bool, scaled: bool, radius: arb, sigma: arb) -> None:
    width = batch.samples + batch.outputs
    if batch.samples * width > LARGEST_FORM:
        raise Invalid(f"the span of the points has more than {LARGEST_FORM} unknowns, the most that are checked")
    points, gradients = batch.stages[0].inputs, batch.stages[0].gradients
    forwards = batch.forwards(radius)
    back = batch.backwards(radius, forwards, 0)
    outer = spectral(points, 5) + radius
    outer = (outer * outer + int(bias) * batch.samples).sqrt().abs_upper()
    weights = _lengths(gradients)
    whole, least = back.whole(), _least(weights)
    separation = _least_singular(_divided(gradients, weights)) - radius * most(_quotients(whole, weights))
    coupling = most(_quotients(back.px, weights)) * outer * least
    second = (back.sx * back.sx + back.sc * back.sc).sqrt()
    moved = radius * (outer * second + 2 * most(whole))
    goal = (_partner((separation * least).lower(), coupling, sigma) + moved).abs_upper()
    _require_definite(_along_the_span(batch, points, gradients, bias, scaled, goal * goal))


def _along_the_span(
    batch: Batch, points: arb_mat, gradients: arb_mat, bias: bool, scaled: bool, shift: arb
) -> list[list[arb]]:
    """Lower triangle of JᵀJ - shift·(squared length) in the coordinates (u, c) of every sample, its point moving by X u."""
    samples, width = batch.samples, batch.samples + batch.outputs
    inner = points.transpose() * points
    gram, products = inner.tolist(), (gradients.transpose() * gradients).tolist()
    first = batch.stages[0].step
    assert isinstance(first, Linear)
    image = first.weight * points
    pulled = [batch.pull(i, batch.push(i, image, len(batch.stages) - 1), samples, 0) for i in range(samples)]
    mixed = [(matrix.transpose() * gradients).tolist() for matrix in pulled]
    trace = arb(0)
    rows: list[list[arb]] = []
    for i in range(samples):
        block: list[list[arb]] = [[] for _ in range(width)]
        for k in range(i + 1):
            squares = (pulled[i].transpose() * pulled[k] * (gram[i][k] + int(bias))).tolist()
            for a in range(width):
                for b in range(width):
                    value = squares[a][b]
                    if b < samples:
                        value += mixed[i][a][k] * gram[i][b]
                    if a < samples:
                        value += mixed[k][b][i] * gram[k][a]
                    if a < samples and b < samples:
                        value += products[i][k] * gram[a][b]
                    block[a].append(value)
        trace += sum((block[a][i * width + a] for a in range(width)), arb(0))
        rows.extend(block)
    extra = trace.mid()
    for i in range(samples):
        for a in range(width):
            for b in range(a + 1):
                spot = i * width + b
                if a < samples:
                    if scaled:
                        rows[i * width + a][spot] += extra * gram[i][a] * gram[i][b] / gram[i][i]
                    rows[i * width + a][spot] -= shift * gram[a][b]
                elif a == b:
                    rows[i * width + a][spot] -= shift
    return [row[: place + 1] for place, row in enumerate(rows)]


def _layer_inputs(batch: Batch, place: int, scaled: bool, radius: arb, sigma: arb) -> None:
    if batch.samples * batch.outputs > LARGEST_FORM or batch.inputs > LARGEST_FORM:
        raise Invalid(f"the tangents or the inputs are more than {LARGEST_FORM}, the most that are checked")
    inputs, gradients = batch.stages[place].inputs, batch.stages[place].gradients
    forwards = batch.forwards(radius)
    back, ahead = batch.backwards(radius, forwards, place), forwards[place]
    inner = inputs.transpose() * inputs
    columns = [batch.pull(i, [], 0, place).transpose().tolist() for i in range(batch.samples)]
    pulled = arb_mat([column for group in columns for column in group]).transpose()
    tangents = (pulled.transpose() * pulled).tolist()
    kernel = arb_mat(
        [
            [entry * inner[r // batch.outputs, c // batch.outputs] for c, entry in enumerate(row)]
            for r, row in enumerate(tangents)
        ]
    )
    rest = _least_eigenvalue(kernel).sqrt().lower()
    weights = _lengths(gradients)
    least, divided = _least(weights), _divided(gradients, weights)
    moved = radius * most(_quotients(back.whole(), weights))
    coupling = spectral(inputs, 5) * most(_quotients(back.px, weights)) + (spectral(divided, 5) + moved) * ahead.stretch
    separation = _partner(rest, coupling * least, sigma)
    slack = ((_least_singular(divided) - moved) * least).lower()
    if not slack > 0:
        raise Invalid("the gradients of the samples are not proved to be independent within the radius")
    goal = (separation / slack + radius * ahead.turn).abs_upper()
    _require_features(batch, place, inputs, inner, scaled, goal * goal)


def _require_features(batch: Batch, place: int, inputs: arb_mat, inner: arb_mat, scaled: bool, shift: arb) -> None:
    """Prove ‖P ∂h(x̂_i) v‖² ≥ shift·‖v‖² for every sample."""
    try:
        inverse = inner.solve(arb_mat([[int(i == k) for k in range(batch.samples)] for i in range(batch.samples)]))
    except ZeroDivisionError as error:
        raise Undecided from error
    turned = inputs.transpose()
    for sample in range(batch.samples):
        for bits in (
            _SHORT,
            ctx.prec,
        ):  # Arb's balls are right at any precision, and narrow enough at a short one as a rule
            with ctx.workprec(bits):
                try:
                    _require_definite(_form_of_features(batch, sample, place, turned, inverse, scaled, shift))
                    break
                except Undecided:
                    if bits != _SHORT:
                        raise


def _form_of_features(
    batch: Batch, sample: int, place: int, turned: arb_mat, inverse: arb_mat, scaled: bool, shift: arb
) -> list[list[arb]]:
    image = batch.push(sample, batch.first_images(sample), place)[-1]
    inside = turned * image
    form = (image.transpose() * image - inside.transpose() * (inverse * inside)).tolist()
    if scaled:
        point = [row[sample] for row in batch.stages[0].inputs.tolist()]
        square = sum((entry * entry for entry in point), arb(0))
        factor = sum((row[k] for k, row in enumerate(form)), arb(0)).mid() / square
        for left, row in zip(point, form, strict=True):
            multiple = left * factor
            for k, right in enumerate(point):
                row[k] += multiple * right
    for k, row in enumerate(form):
        row[k] -= shift
    return form


def _partner(least: arb, coupling: arb, sigma: arb) -> arb:
    """The number t (or s) that goes with s (or t) and k for this sigma."""
    room = (least * least - sigma * sigma).lower()
    if not (least > 0 and room > 0 and coupling.is_finite()):
        raise Invalid("the embedding is not proved to separate the samples within the radius with the stated sigma")
    bound = coupling.abs_upper()
    return (sigma * (1 + bound * bound / room).sqrt()).abs_upper()


def _lengths(gradients: arb_mat) -> list[arb]:
    lengths = [length(column) for column in gradients.transpose().tolist()]
    if not all(entry.is_finite() and entry > 0 for entry in lengths):
        raise Invalid("the gradients of the samples are not proved to be independent, for one of them is zero")
    return lengths


def _least(positive: list[arb]) -> arb:
    best = positive[0]
    for entry in positive:
        best = entry if entry < best else best
    return best


def _divided(matrix: arb_mat, divisors: list[arb]) -> arb_mat:
    return times_rows([1 / divisor for divisor in divisors], matrix.transpose()).transpose()


def _quotients(numbers: list[arb], divisors: list[arb]) -> list[arb]:
    return [number / divisor for number, divisor in zip(numbers, divisors, strict=True)]


def _require_definite(rows: list[list[arb]]) -> None:
    if not all(row[k].is_finite() for k, row in enumerate(rows)):
        raise Invalid("no bound of the Jacobian's variation is known within the radius")
    if not positive_definite(rows):
        raise Invalid("the embedding is not proved to be injective within the radius with the stated sigma")


def _least_singular(matrix: arb_mat) -> arb:
    return _least_eigenvalue(matrix.transpose() * matrix).sqrt().lower()


def _least_eigenvalue(matrix: arb_mat) -> arb:
    """A lower bound of the smallest eigenvalue of a positive definite matrix, for narrow balls 0.1 % below it."""
    size = matrix.nrows()
    middle = matrix.mid()
    vector = arb_mat([[1 + arb(k % 7) / 3] for k in range(size)])
    try:
        power = middle.solve(arb_mat([[int(i == k) for k in range(size)] for i in range(size)])).mid()
    except ZeroDivisionError as error:
        raise Undecided from error
    for _ in range(7):
        vector, power = (power * vector).mid(), (power * power).mid()
    for _ in range(3):
        vector = (power * vector).mid()
    turned = vector.transpose()
    quotient = ((turned * middle * vector)[0, 0] / (turned * vector)[0, 0]).mid()
    if not (quotient.is_finite() and quotient > 0):
        raise Undecided
    for halvings in (11, 8, 5):
        trial = (quotient * (1 - arb(2) ** -halvings)).lower()
        rows = matrix.tolist()
        for k, row in enumerate(rows):
            row[k] -= trial
        try:
            if positive_definite(rows):
                return trial
        except Undecided:
            continue
    raise Undecided
