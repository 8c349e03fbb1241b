r"""Lower bounds of ‖F(z) - F(ẑ)‖/‖z - ẑ‖ for whole batches, by an orthogonal splitting of the unknowns.

**Lemma.** Let every z in the ball of radius R around ẑ be ẑ + α + β with orthogonal α, β from two fixed subspaces, and P an
orthogonal projection of the output space, P' = I - P, such that in the whole ball

.. math:: \|P(F(z) - F(\hat z))\| \ge s\|\beta\|, \quad
          \|P'(F(\hat z + \alpha + \beta) - F(\hat z + \alpha))\| \le \kappa\|\beta\|, \quad
          \|P'(F(\hat z + \alpha) - F(\hat z))\| \ge t\|\alpha\| .

Then ‖F(z) - F(ẑ)‖ ≥ σ‖z - ẑ‖ with σ the smallest singular value of [[s, 0], [κ, t]]. For with p, q the norms of the two
parts of F(z) - F(ẑ): ‖β‖ ≤ p/s and ‖α‖ ≤ (q + κ‖β‖)/t, which is the matrix [[1/s, 0], [κ/(st), 1/t]], the inverse but for
one sign, applied to (p, q). (``proofs/foundations/block_triangular_bound.py``.) Here F is one layer's weight gradient
Σ_i g_i h_iᵀ, in the first splitting with the bias gradient Σ_i g_i as well; other pieces only raise ‖F(z) - F(ẑ)‖, and are
left out of the claim.

**Row space**, the first layer, h_i = x_i: α = (X̂u_i, dc_i), β = (w_i) with w_i orthogonal to the certificate's own points X̂.
P projects the rows of the weight gradient onto span(X̂)⊥, so P(F(z) - F(ẑ)) = Σ_i g_i(z) w_iᵀ without an error:
s = σ_min([ĝ_1 … ĝ_B]) - ℓR. What is left of β is Σ_i Δg_i (x_i, 1)ᵀ, so κ = γ‖(X, 1)‖. On α the derivative has M = JᵀJ in the
coordinates (u, c), and the squared length is uᵀGu + |c|² with G = X̂ᵀX̂; t² is a lower bound of M's eigenvalues relative to
that form, and t loses the deviation of the derivative, R·(‖(X, 1)‖γ' + 2ℓ) with γ' a Lipschitz constant of ∂g/∂z: it is
Σ_i Δ(∂g_i)δ_i (x_i, 1)ᵀ + (∂g_i δ_i) Δx_iᵀ + Δg_i dx_iᵀ.

**Layer inputs**, a deeper layer with H = [h(x̂_1) … h(x̂_B)]: α = (dc_i), β = (dx_i), and P projects the rows onto span(H)⊥,
so P(F(z) - F(ẑ)) = Σ_i g_i(z) (Q(h(x_i) - h(x̂_i)))ᵀ with Q = I - H(HᵀH)⁻¹Hᵀ:
s = (σ_min([ĝ_i]) - ℓR)(min_i σ_min(Q ∂h(x̂_i)) - μR), one d × d matrix per sample. F is linear in c, so t = σ_min of
[∇_W f_k(x̂_i)] without any deviation. And κ = ‖H‖γ + (‖[ĝ_i]‖ + ℓR)λ.

**Weights.** A sample of small residual has a small gradient, and all that it does is as small. So β is measured by
(Σ_i d_i²‖β_i‖²)^(1/2) with d_i = ‖ĝ_i‖, which divides column i of [ĝ_i] and γ, ℓ of sample i by d_i; as ‖β‖ is at most that
length divided by min d, the lemma holds for the s and κ so found times min d.

**Positive scaling.** If only measures with x̂_iᵀx_i = ‖x̂_i‖² are spoken of, differences are orthogonal to x̂_i, and the squares
of x̂_iᵀdx_i/‖x̂_i‖, times any factor, may be added to the quadratic forms above.
"""

from __future__ import annotations

import dataclasses
import itertools

import flint

from provable.errors import UnsupportedError
from provable.rigor.balls import Ball, BallMatrix, ball, largest, spectral_upper
from provable.rigor.batch_chain import Batch
from provable.rigor.chain_derivatives import LinearStep, euclidean_upper
from provable.rigor.positive_definite import is_positive_definite, relative_lower_eigenvalue

Pieces = list[tuple[int, str]]

_MARGIN = ball(1 + 2.0**-8)
"""Slack of bounds that are exact to second order in the radius, for a checker with other enclosures of activations."""

_DEVIATION_MARGIN = ball(1 + 2.0**-4)
"""Slack of deviations, whose bounds are exact to first order only; they are a small part of what they are taken from."""


class RankError(UnsupportedError):
    """A matrix that has to be of full rank is not proved to be."""


@dataclasses.dataclass(frozen=True)
class Bounds:
    """s, κ and t of the lemma, within some radius."""

    separation: Ball
    coupling: Ball
    rest: Ball

    def sigma(self) -> Ball:
        """Bound the smallest singular value of [[s, 0], [κ, t]] from below.

        Returns
        -------
        arb
            Exact ball, 0 if s or t is not positive.

        Notes
        -----
        The singular values a ≤ b have ab = st and (b ± a)² = κ² + (s ± t)²; hence 2b = √(κ² + (s + t)²) + √(κ² + (s - t)²)
        and a = st/b.
        """
        s, t = self.separation, self.rest
        if not (s > 0 and t > 0):
            return flint.arb(0)
        square, apart = self.coupling * self.coupling, (s - t) * (s - t)
        return (2 * s * t / ((square + (s + t) * (s + t)).sqrt() + (square + apart.abs_upper()).sqrt())).abs_lower()


class RowSpace:
    """The splitting by the span of the points.

    Parameters
    ----------
    batch : Batch
        The samples; its first step is linear.
    pieces : list of (int, str)
        The weight of the first step, and its bias or not.
    slice_points : bool
        Whether differences are orthogonal to the points.

    Raises
    ------
    RankError
        If the gradients of the samples are not proved to be independent, or the rest not to be injective.
    """

    name = "row-space"

    def __init__(self, batch: Batch, pieces: Pieces, slice_points: bool) -> None:
        self.batch = batch
        self.bias = any(part == "bias" for _, part in pieces)
        first = batch.layers[0]
        self.weights = _Weights(first.gradients, "the samples' gradients at the first layer")
        self.separation = (self.weights.independence * self.weights.least).lower()
        points = first.inputs
        inner = points.transpose() * points
        matrix, metric = forms_on_span(batch, self.bias)
        if slice_points:
            matrix = matrix + _slices(inner, batch.outputs) * _trace(matrix)
        found = relative_lower_eigenvalue(matrix, metric)
        if found is None:
            raise RankError(
                "the derivative along the span of the points is not proved to be injective: dependent points, a zero "
                "coefficient, a rescaling (t x, c/t) or too few neurons"
            )
        self.rest = found.sqrt().abs_lower()
        self.length = spectral_upper(points)

    def kept(self, bounds: Bounds) -> Ball:
        """Part of the numbers at ẑ that is left within a radius.

        Parameters
        ----------
        bounds : Bounds
            What `within` found for it.

        Returns
        -------
        arb
            The smaller one of the parts of s and of t, at most 1.
        """
        separation, rest = (bounds.separation / self.separation).lower(), (bounds.rest / self.rest).lower()
        return separation if separation < rest else rest

    def within(self, radius: Ball) -> Bounds:
        """The lemma's numbers within a radius.

        Parameters
        ----------
        radius : arb
            R > 0, exact.

        Returns
        -------
        Bounds
            s, κ and t.

        Raises
        ------
        KinkError
            If a pre-activation may cross a kink.
        """
        found = self.batch.decline(radius, self.batch.growth(radius), 0)
        length = self.length + radius
        augmented = _upper((length * length + self.batch.size * int(self.bias)).sqrt())
        moved = radius * (augmented * found.second + 2 * largest(found.both))
        deviation = radius * self.weights.largest_quotient(found.both) * _DEVIATION_MARGIN
        return Bounds(
            separation=(self.separation - deviation * self.weights.least).lower(),
            coupling=_upper(self.weights.largest_quotient(found.by_point) * self.weights.least * augmented * _MARGIN),
            rest=(self.rest - moved * _DEVIATION_MARGIN).lower(),
        )


def forms_on_span(batch: Batch, bias: bool) -> tuple[BallMatrix, BallMatrix]:
    """Enclose JᵀJ and the form of squared lengths where every point moves within the span of the batch.

    Parameters
    ----------
    batch : Batch
        The samples; the first step is linear, and its weight gradient is the piece.
    bias : bool
        Whether its bias gradient counts as well.

    Returns
    -------
    tuple of arb_mat
        M and N, in the coordinates (u_1, c_1, u_2, …) with x_i moving by X̂u_i.
    """
    width = batch.size + batch.outputs
    points, gradients = batch.layers[0].inputs, batch.layers[0].gradients
    inner = points.transpose() * points
    lists = [response.tolist() for response in batch.responses(points)]
    responses = flint.arb_mat([list(itertools.chain(*rows)) for rows in zip(*lists, strict=True)])
    squares = (responses.transpose() * responses).tolist()
    mixed = (responses.transpose() * gradients).tolist()  # [i a][k]: column a of G_i times g_k
    products, gram = (gradients.transpose() * gradients).tolist(), inner.tolist()
    span, zero = range(batch.size), flint.arb(0)
    rows, lengths = [], []
    for i in span:
        for a in range(width):
            row, length = [], []
            for j in span:
                factor = gram[i][j] + int(bias)
                left, right = squares[i * width + a], mixed[i * width + a][j]
                for b in range(width):
                    value = factor * left[j * width + b]
                    if b < batch.size:  # (G_iᵀ g_j)(x_iᵀ X)
                        value += right * gram[i][b]
                    if a < batch.size:
                        value += gram[j][a] * mixed[j * width + b][i]
                        if b < batch.size:
                            value += products[i][j] * gram[a][b]
                    row.append(value)
                    same = gram[a][b] if a < batch.size > b else flint.arb(int(a == b))
                    length.append(same if i == j and (a < batch.size) == (b < batch.size) else zero)
            rows.append(row)
            lengths.append(length)
    return flint.arb_mat(rows), flint.arb_mat(lengths)


class LayerInputs:
    """The splitting into points and coefficients, at a deeper layer.

    Parameters
    ----------
    batch : Batch
        The samples.
    pieces : list of (int, str)
        The weight of the layer.
    slice_points : bool
        Whether differences are orthogonal to the points.

    Raises
    ------
    RankError
        If one of the matrices is not proved to be of full rank.
    """

    name = "layer-inputs"

    def __init__(self, batch: Batch, pieces: Pieces, slice_points: bool) -> None:
        self.batch, self.place = batch, batch.place(pieces[0][0])
        layer = batch.layers[self.place]
        self.weights = _Weights(layer.gradients, "the samples' gradients at the layer")
        self.inputs_norm = spectral_upper(layer.inputs)
        inner = layer.inputs.transpose() * layer.inputs
        responses = batch.coefficient_responses(self.place)
        products, copies = (responses.transpose() * responses).tolist(), batch.outputs
        kernel = [
            [entry * inner[r // copies, c // copies] for c, entry in enumerate(row)] for r, row in enumerate(products)
        ]
        found = relative_lower_eigenvalue(flint.arb_mat(kernel))
        if found is None:
            raise RankError("the tangents of the samples at the layer are not proved to be independent")
        self.rest = found.sqrt().abs_lower()
        self.features = self._smallest_feature(layer.inputs, inner, slice_points)
        self.separation = (self.weights.independence * self.weights.least * self.features).lower()

    def _smallest_feature(self, inputs: BallMatrix, inner: BallMatrix, slice_points: bool) -> Ball:
        """Lower bound of all σ_min(Q ∂h(x̂_i))."""
        unit = [[int(i == j) for j in range(self.batch.size)] for i in range(self.batch.size)]
        try:
            inverse = inner.solve(flint.arb_mat(unit))
        except ZeroDivisionError as error:
            raise RankError("the inputs of the layer are not proved to be independent") from error
        least: Ball | None = None
        for sample in range(self.batch.size):
            # the form is far better conditioned than the batch, so that a short precision decides it nearly always
            for bits in (FEATURE_BITS, flint.ctx.prec):
                with flint.ctx.workprec(bits):
                    form = self._form_of_features(sample, inputs, inverse, slice_points)
                    if least is not None and is_positive_definite(_shifted(form, least)) is True:
                        break  # not smaller than what there is
                    if (found := relative_lower_eigenvalue(form)) is not None:
                        least = found
                        break
            else:
                raise RankError(
                    f"the features of sample {sample + 1} outside the span of the batch's are not proved to determine it: "
                    "too few neurons, or a rescaling (t x, c/t)"
                )
        assert least is not None
        return least.sqrt().abs_lower()

    def _form_of_features(self, sample: int, inputs: BallMatrix, inverse: BallMatrix, slice_points: bool) -> BallMatrix:
        tangent = self.batch.tangent(sample, None, self.place)
        assert tangent is not None
        mixed = inputs.transpose() * tangent
        form = tangent.transpose() * tangent - mixed.transpose() * (inverse * mixed)
        if not slice_points:
            return form
        point = flint.arb_mat([[row[sample]] for row in self.batch.layers[0].inputs.tolist()])
        square = (point.transpose() * point)[0, 0]
        return form + point * point.transpose() * (_trace(form) / square)

    def kept(self, bounds: Bounds) -> Ball:
        """Part of the numbers at ẑ that is left within a radius.

        Parameters
        ----------
        bounds : Bounds
            What `within` found for it.

        Returns
        -------
        arb
            The part of s, at most 1.
        """
        return (bounds.separation / self.separation).lower()

    def within(self, radius: Ball) -> Bounds:
        """The lemma's numbers within a radius.

        Parameters
        ----------
        radius : arb
            R > 0, exact.

        Returns
        -------
        Bounds
            s, κ and t.

        Raises
        ------
        KinkError
            If a pre-activation may cross a kink.
        """
        growth = self.batch.growth(radius)
        found, grown, weights = self.batch.decline(radius, growth, self.place), growth[self.place], self.weights
        moved = radius * weights.largest_quotient(found.both) * _DEVIATION_MARGIN
        independence = (weights.independence - moved).lower()
        features = (self.features - radius * grown.derivative * _DEVIATION_MARGIN).lower()
        positive = independence > 0 and features > 0
        coupling = self.inputs_norm * weights.largest_quotient(found.by_point) + (weights.norm + moved) * grown.value
        return Bounds(
            separation=(independence * features * weights.least).lower() if positive else flint.arb(0),
            coupling=_upper(coupling * weights.least * _MARGIN),
            rest=self.rest,
        )


Splitting = RowSpace | LayerInputs


def candidates(batch: Batch, observed: Pieces, slice_points: bool) -> list[tuple[type[Splitting], Pieces]]:
    """Splittings whose counts of equations suffice.

    Parameters
    ----------
    batch : Batch
        The samples.
    observed : list of (int, str)
        The observed pieces.
    slice_points : bool
        Whether differences are orthogonal to the points.

    Returns
    -------
    list of (type, pieces)
        Best first; empty if none applies.
    """
    found: list[tuple[type[Splitting], Pieces]] = []
    size = batch.size
    for place, layer in enumerate(batch.layers):
        if not isinstance(layer.step, LinearStep) or (layer.step.index, "weight") not in observed:
            continue
        pieces = [(layer.step.index, "weight")]
        if layer.gradients.nrows() < size:
            continue
        if place == 0:
            bias = (layer.step.index, "bias")
            if size <= batch.inputs and size * (size + batch.outputs) <= LARGEST_SPAN:
                found.append((RowSpace, [*pieces, bias] if bias in observed else pieces))
        elif layer.inputs.nrows() >= size + batch.inputs - int(slice_points):
            found.append((LayerInputs, pieces))
    return found


FEATURE_BITS = 80
"""Precision at which the features of every sample are tried first."""

LARGEST_SPAN = 1200
"""Most unknowns B(B + C) of the eigenvalue problem in the span of the points; it takes the third power of that."""


class _Weights:
    """The weights d_i, the smallest one, and bounds of the singular values of [ĝ_i / d_i]."""

    def __init__(self, gradients: BallMatrix, what: str) -> None:
        columns = gradients.transpose().tolist()
        self.each = [euclidean_upper(column) for column in columns]
        refusal = f"{what} are not proved to be independent: equal samples, a zero coefficient or too few neurons"
        if not all(weight.is_finite() and weight > 0 for weight in self.each):
            raise RankError(refusal)
        self.least = (1 / largest(_upper(1 / weight) for weight in self.each)).abs_lower()
        scaled = flint.arb_mat([[entry / w for entry in column] for column, w in zip(columns, self.each, strict=True)])
        found = relative_lower_eigenvalue(scaled * scaled.transpose())
        if found is None:
            raise RankError(refusal)
        self.independence, self.norm = found.sqrt().abs_lower(), spectral_upper(scaled)

    def largest_quotient(self, numbers: list[Ball]) -> Ball:
        return largest(_upper(number / weight) for number, weight in zip(numbers, self.each, strict=True))


def _slices(inner: BallMatrix, outputs: int) -> BallMatrix:
    """Σ_i (x̂_iᵀ X̂ u_i)² / ‖x̂_i‖² as a matrix in the coordinates (u_1, c_1, u_2, …)."""
    size = inner.nrows()
    width = size + outputs
    gram = inner.tolist()
    rows = [[flint.arb(0)] * (size * width) for _ in range(size * width)]
    for i in range(size):
        for a in range(size):
            for b in range(size):
                rows[i * width + a][i * width + b] = gram[i][a] * gram[i][b] / gram[i][i]
    return flint.arb_mat(rows)


def _shifted(matrix: BallMatrix, shift: Ball) -> BallMatrix:
    size = matrix.nrows()
    entries = matrix.entries()
    for i in range(size):
        entries[i * (size + 1)] -= shift
    return flint.arb_mat(size, size, entries)


def _trace(matrix: BallMatrix) -> Ball:
    return flint.arb(matrix.trace().mid())


def _upper(number: Ball) -> Ball:
    return number.abs_upper()
