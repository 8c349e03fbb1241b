r"""How strongly a layer's equations determine its input: ‖Δ‖ ≤ α·w + β·k for all Δ with ‖L W Δ‖ ≤ w and ‖K Δ‖ ≤ k.

Unseen pixels, on which nothing depends, have no part in this: Δ is zero there, and the matrices below get any
diagonal entries there that are large enough, which changes nothing for such Δ.

W is the layer as a linear map, L a nonnegative diagonal matrix, and K Δ applies K̃ to every channel of Δ (`affine`). The
certificate says by which of three proofs.

``gradient``
    kappa² ≤ λ_min(K̃ᵀK̃): α = 0, β = 1/kappa.
``forward``
    omega² ≤ λ_min(WᵀL²W), a matrix with an envelope when unknowns are ordered by image rows: α = 1/omega, β = 0.
``joint``
    omega² ≤ λ_min(WᵀL²W + tau²KᵀK), the first matrix with its envelope and tau·K as its border (`envelope`): α = 1/omega,
    β = tau(1 + 2⁻²⁹)/omega, as ‖Δ‖ ≤ (w² + (1 + 2⁻²⁹)tau²k²)^½/omega.
``gradient-then-forward``
    With any matrix N (pixels × q), H = K̃ᵀK̃ + N Nᵀ and kappa² ≤ λ_min(H), let T = H⁻¹K̃ᵀ and N' = H⁻¹N. Then T K̃ + N' Nᵀ = I,
    so channelwise Δ = T K Δ + N' y with y = Nᵀ Δ. From K̃ᵀK̃ ≤ H follows ‖T‖² = ‖H⁻¹K̃ᵀK̃H⁻¹‖ ≤ ‖H⁻¹‖ ≤ 1/kappa², and with
    omega² ≤ λ_min((I ⊗ N')ᵀ WᵀW (I ⊗ N')) and l > 0 the smallest entry of L,

    .. math:: \|y\| \le (\|W\Delta\| + \|W\| k/\kappa)/\omega, \qquad
              \|\Delta\| \le k/\kappa + \|N'\|\,(w/l + \|W\| k/\kappa)/\omega.

    The Gram matrix comes from the small ones W_cᵀW_c' (channels by channels, kernel entries by kernel entries) and
    (P N')ᵀ(P N'), where P N' are the windows of the columns of N'.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flint import arb, arb_mat

from provable.checker import documents
from provable.checker.affine import Affine
from provable.checker.bounds import exact, spectral
from provable.checker.definiteness import Rows
from provable.checker.envelope import smallest_eigenvalue_exceeds
from provable.checker.verdict import Invalid

STRATEGIES = ("gradient", "forward", "joint", "gradient-then-forward")
"""Names of the proofs."""

_MOST_PIXELS = 1500
_MOST_UNKNOWNS = 8000
_LARGEST_REST = 1500
_LARGEST_BORDER = 1200

_KEYS = {
    "gradient": {"kappa"},
    "forward": {"omega"},
    "joint": {"tau", "omega"},
    "gradient-then-forward": {"kappa", "omega", "complement"},
}


class Proof:
    """One layer's proof as the certificate states it.

    Parameters
    ----------
    document : object
        An entry of ``layers``: ``layer``, ``strategy``, ``error``, and ``kappa``, ``omega``, ``tau``, ``complement``.
    """

    def __init__(self, document: Any) -> None:
        if not isinstance(document, dict) or document.get("strategy") not in STRATEGIES:
            raise Invalid(f"an entry of layers has no strategy of {', '.join(STRATEGIES)}")
        self.strategy: str = document["strategy"]
        documents.keys(document, {"layer", "strategy", "error"} | _KEYS[self.strategy])
        self.layer = documents.natural(document["layer"], "layer")
        self.error = documents.rational(document["error"], "error")
        self.numbers: dict[str, Fraction] = {}
        for key in ("kappa", "omega", "tau"):
            if key in document:
                self.numbers[key] = documents.rational(document[key], key)
                if self.numbers[key] <= 0:
                    raise Invalid(f"{key} is not positive")
        self.complement = (
            documents.rational_rows(document["complement"], "complement") if "complement" in document else []
        )

    def factors(
        self, affine: Affine, sensitivity: list[arb], lowest: list[arb] | None, unseen: list[int]
    ) -> tuple[arb, arb]:
        """Prove α and β.

        Parameters
        ----------
        affine : Affine
            The layer.
        sensitivity : list of arb
            D.
        lowest : list of arb or None
            The diagonal of L, exact and nonnegative; None if nothing is known about W Δ.
        unseen : list of int
            Pixels at which Δ is zero.

        Returns
        -------
        tuple of arb
            Exact upper bounds.

        Raises
        ------
        Invalid
            If ``kappa`` or ``omega`` is too large for the layer.
        """
        if self.strategy != "gradient" and lowest is None:
            raise Invalid("the output of the last layer is not known, so only its gradient determines its input")
        if self.strategy in ("forward", "joint"):
            return self._banded(affine, sensitivity, lowest or [], unseen)
        if affine.pixels > _MOST_PIXELS:
            raise Invalid(f"layer {affine.index} has more than {_MOST_PIXELS} pixels, the most that are checked")
        gradient_map = affine.gradient_map(sensitivity)
        entries = (gradient_map.transpose() * gradient_map).entries()
        for pixel in unseen:
            entries[pixel * (affine.pixels + 1)] += exact(2 * self.numbers["kappa"] ** 2)
        gram = arb_mat(affine.pixels, affine.pixels, entries)
        if self.strategy == "gradient-then-forward":
            return self._both(affine, gram, lowest or [])
        self._prove(gram, "kappa", affine)
        return arb(0), _inverse(self.numbers["kappa"])

    def _banded(self, affine: Affine, sensitivity: list[arb], lowest: list[arb], unseen: list[int]) -> tuple[arb, arb]:
        if affine.inputs > _MOST_UNKNOWNS:
            raise Invalid(f"layer {affine.index} has more than {_MOST_UNKNOWNS} inputs, the most that are checked")
        rows, first = forward_gram(affine, lowest)
        omega, border, beta = self.numbers["omega"], None, arb(0)
        if self.strategy == "joint":
            tau = exact(self.numbers["tau"])
            if affine.channels[0] * affine.channels[1] * len(affine.windows) > _LARGEST_BORDER:
                raise Invalid(
                    f"layer {affine.index} has more than {_LARGEST_BORDER} gradient equations, the most of a border"
                )
            border = [[tau * entry for entry in line] for line in gradient_rows(affine, sensitivity)]
            beta = (tau * _inverse(omega) * (1 + arb(2) ** -29)).abs_upper()
        block = affine.channels[0] * affine.columns
        for pixel in unseen:
            for channel in range(affine.channels[0]):
                place = (pixel // affine.columns) * block + channel * affine.columns + pixel % affine.columns
                rows[place][-1] += exact(2 * omega * omega)
        if not smallest_eigenvalue_exceeds(rows, first, exact(omega * omega), border):
            raise Invalid(f"omega of layer {affine.index} is not proved to be a lower bound")
        return _inverse(omega), beta

    def _both(self, affine: Affine, gram: arb_mat, lowest: list[arb]) -> tuple[arb, arb]:
        if len(self.complement) != affine.pixels or len(self.complement[0]) * affine.channels[0] > _LARGEST_REST:
            raise Invalid(f"the complement of layer {affine.index} has not one row per pixel, or too many columns")
        complement = arb_mat([[exact(entry) for entry in row] for row in self.complement])
        whole = gram + complement * complement.transpose()
        self._prove(whole, "kappa", affine)
        rest = whole.solve(complement)
        self._prove(rest_gram(affine, rest), "omega", affine)
        kappa, omega = _inverse(self.numbers["kappa"]), _inverse(self.numbers["omega"])
        reach = (spectral(rest) * omega).abs_upper()
        least = lowest[0]
        for entry in lowest:
            least = entry if entry < least else least
        if not least > 0:
            raise Invalid(f"an output of layer {affine.index} is unknown, so all of them together prove nothing")
        return (reach / least).abs_upper(), (kappa * (1 + reach * affine.norm())).abs_upper()

    def _prove(self, matrix: arb_mat, key: str, affine: Affine) -> None:
        rows: Rows = matrix.tolist()
        if not smallest_eigenvalue_exceeds(rows, [0] * len(rows), exact(self.numbers[key] * self.numbers[key])):
            raise Invalid(f"{key} of layer {affine.index} is not proved to be a lower bound")


def _inverse(number: Fraction) -> arb:
    return exact(1 / number).abs_upper()


def gradient_rows(affine: Affine, sensitivity: list[arb]) -> Rows:
    """Give K as a matrix, its columns ordered as in `forward_gram`.

    Parameters
    ----------
    affine : Affine
        The layer.
    sensitivity : list of arb
        D.

    Returns
    -------
    list of list of arb
        For every channel of the input the rows of K̃.
    """
    block, columns = affine.channels[0] * affine.columns, affine.columns
    rows: Rows = []
    for line in affine.gradient_map(sensitivity).tolist():
        for channel in range(affine.channels[0]):
            row = [arb(0)] * affine.inputs
            for pixel, entry in enumerate(line):
                row[(pixel // columns) * block + channel * columns + pixel % columns] = entry
            rows.append(row)
    return rows


def forward_gram(affine: Affine, lowest: list[arb]) -> tuple[Rows, list[int]]:
    """Enclose WᵀL²W, unknowns ordered by image row, then channel, then column.

    Parameters
    ----------
    affine : Affine
        The layer.
    lowest : list of arb
        The diagonal of L.

    Returns
    -------
    rows : list of list of arb
        The lower triangle; row i begins with column ``first[i]``.
    first : list of int
        Where the envelope begins.
    """
    channels, columns, lags = affine.channels[0], affine.columns, len(affine.windows)
    block = channels * columns
    places = [
        [(pixel // columns) * block + channel * columns + pixel % columns for pixel in range(affine.pixels)]
        for channel in range(channels)
    ]
    top = list(range(affine.inputs))
    for position in range(affine.positions):
        seen = [
            places[0][pixel] // block for lag in range(lags) if (pixel := affine.windows[lag][position]) is not None
        ]
        for image_row in seen:
            for place in range(image_row * block, (image_row + 1) * block):
                top[place] = min(top[place], min(seen) * block)
    for place in range(len(top) - 2, -1, -1):  # never decreasing
        top[place] = min(top[place], top[place + 1])
    rows = [[arb(0)] * (place + 1 - top[place]) for place in range(affine.inputs)]
    weight = affine.matrix()
    turned = weight.transpose()
    lines = weight.tolist()
    squares = [entry * entry for entry in lowest]
    product: list[list[arb]] | None = None
    for position in range(affine.positions):
        factors = squares[position :: affine.positions]
        if product is None or any(
            not (a - b).is_zero() for a, b in zip(factors, squares[position - 1 :: affine.positions], strict=True)
        ):
            scaled = arb_mat([[factor * entry for entry in line] for factor, line in zip(factors, lines, strict=True)])
            product = (turned * scaled).tolist()
        active = [
            (channel * lags + lag, places[channel][pixel])
            for channel in range(channels)
            for lag in range(lags)
            if (pixel := affine.windows[lag][position]) is not None
        ]
        for index, place in active:
            line, row, start = product[index], rows[place], top[place]
            for other, column in active:
                if column <= place:
                    row[column - start] += line[other]
    return rows, top


def rest_gram(affine: Affine, rest: arb_mat) -> arb_mat:
    """Enclose (I ⊗ N')ᵀ WᵀW (I ⊗ N').

    Parameters
    ----------
    affine : Affine
        The layer.
    rest : arb_mat
        N', pixels × q.

    Returns
    -------
    arb_mat
        Rows and columns ordered by channel, then by column of N'.
    """
    count, lags, channels = rest.ncols(), len(affine.windows), affine.channels[0]
    pixels, zeros = rest.tolist(), [arb(0)] * count
    cut = arb_mat(
        [[entry for pixel in seen for entry in (zeros if pixel is None else pixels[pixel])] for seen in affine.windows]
    ).tolist()
    side_by_side = arb_mat(
        [
            [entry for lag in range(lags) for entry in cut[lag][position * count : (position + 1) * count]]
            for position in range(affine.positions)
        ]
    )
    windows = (side_by_side.transpose() * side_by_side).tolist()  # (lag, n) by (lag', n')
    weight = affine.matrix()
    kernels = (weight.transpose() * weight).tolist()  # (channel, lag) by (channel', lag')
    pairs = arb_mat(
        [
            [kernels[c * lags + t][d * lags + u] for t in range(lags) for u in range(lags)]
            for c in range(channels)
            for d in range(channels)
        ]
    )
    together = arb_mat(
        [
            [entry for n in range(count) for entry in windows[t * count + n][u * count : (u + 1) * count]]
            for t in range(lags)
            for u in range(lags)
        ]
    )
    product = (pairs * together).tolist()
    return arb_mat(
        [
            [entry for d in range(channels) for entry in product[c * channels + d][n * count : (n + 1) * count]]
            for c in range(channels)
            for n in range(count)
        ]
    )
