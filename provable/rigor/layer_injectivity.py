r"""How strongly a layer's equations determine its input: ‖Δ‖ ≤ α·w + β·k for all Δ with ‖L W Δ‖ ≤ w and ‖K Δ‖ ≤ k.

Pixels that no window sees are left out: Δ is zero there, and the matrices below get diagonal entries there that keep
them from being singular, and matter to no such Δ.

W is the layer as a linear map, L = diag(l) a nonnegative diagonal, and K applies K̃ to every channel of Δ
(`layer_balls`). Floating point chooses among four proofs the one with the smallest bound, and its numbers; balls
prove them.

``gradient``
    ‖KΔ‖ ≥ κ‖Δ‖ with κ² ≤ λ_min(K̃ᵀK̃), a matrix of pixels × pixels.
``forward``
    ‖LWΔ‖ ≥ ω‖Δ‖ with ω² ≤ λ_min(WᵀL²W), which has a band when unknowns are ordered by image rows.
``joint``
    ‖LWΔ‖² + τ²‖KΔ‖² ≥ ω²‖Δ‖² with ω² ≤ λ_min(WᵀL²W + τ²KᵀK), the banded matrix with τK as its border
    (`envelope_definite`).
``gradient-then-forward``
    K̃ alone leaves a space of dimension q undetermined, or nearly so, whose basis is N (pixels × q; *any* matrix will
    do). With H = K̃ᵀK̃ + N Nᵀ: I = H⁻¹K̃ᵀ K̃ + (H⁻¹N) Nᵀ, hence Δ = T KΔ + N'y, y = NᵀΔ, N' = H⁻¹N, T = H⁻¹K̃ᵀ, in
    every channel. As K̃ᵀK̃ ≤ H, ‖T‖² = ‖H⁻¹K̃ᵀK̃H⁻¹‖ ≤ 1/κ² with κ² ≤ λ_min(H). Then W N'y = WΔ - W T KΔ and ω² ≤
    λ_min(N'ᵀWᵀW N') bound y:

    .. math:: \|\Delta\| \le \frac{k}{\kappa} + \frac{\|N'\|}{\omega}\Big(\frac{w}{\min l} + \|W\|\frac{k}{\kappa}\Big).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from provable.arithmetic import Float
from provable.rigor.balls import (
    Ball,
    BallMatrix,
    ball,
    ball_matrix,
    lower_fraction,
    midpoints,
    rounded_down,
    spectral_upper,
)
from provable.rigor.envelope_definite import banded_lower_eigenvalue, dense_lower_eigenvalue
from provable.rigor.layer_balls import AffineLayer, Balls, balls_of, matrix_of, zeros
from provable.rigor.positive_definite import certified_lower_eigenvalue

MOST_PIXELS = 1100
"""Largest K̃ᵀK̃ that is eliminated."""

MOST_UNKNOWNS = 6000
"""Largest WᵀL²W that is eliminated."""

LARGEST_REST = 800
"""Largest (I ⊗ N')ᵀWᵀW(I ⊗ N') that is eliminated."""

LARGEST_BORDER = 700
"""Most rows of K in a border."""

LARGEST_DENSE = 4000
"""Largest matrix that is factored in floating point to guess an eigenvalue."""

_POOR = 1000
"""A bound by so many times the error of the outputs is worth an attempt at ``joint``, which costs more."""

_MARGIN = Fraction(1, 2**20)
"""Relative slack of what is stated, so that a checker with other roundings reaches it."""


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A proof that floating point believes in.

    Parameters
    ----------
    strategy : str
        ``"gradient"``, ``"forward"``, ``"joint"`` or ``"gradient-then-forward"``.
    alpha, beta : float
        Its approximate constants.
    complement : ndarray of float64 (pixels, q) or None
        N.
    smallest : float
        Approximate λ_min((I ⊗ N')ᵀWᵀW(I ⊗ N')), or ω² of ``joint``.
    tau : float
        τ of ``joint``.
    """

    strategy: str
    alpha: float
    beta: float
    complement: Float | None = None
    smallest: float = 0.0
    tau: float = 0.0


@dataclasses.dataclass(frozen=True)
class Injectivity:
    """A proof in balls.

    Parameters
    ----------
    alpha, beta : arb
        Exact upper bounds.
    statement : mapping
        What the certificate says: ``strategy``, and ``kappa``, ``omega``, ``tau`` (rationals), ``complement`` (array).
    """

    alpha: Ball
    beta: Ball
    statement: Mapping[str, Any]


def proposals(
    layer: AffineLayer, sensitivity: Float | None, lowest: Float | None, error: float, known: float
) -> list[Proposal]:
    """Propose proofs.

    Parameters
    ----------
    layer : AffineLayer
        The layer.
    sensitivity : ndarray of float64 (output channels, positions) or None
        D; None if the weight gradient was not observed.
    lowest : ndarray of float64 (output channels, positions) or None
        l; None for the last layer, whose output is not known.
    error, known : float
        The w and k for which bounds are wanted.

    Returns
    -------
    list of Proposal
        What is possible, the one with the smallest bound first.
    """

    def bound(proposal: Proposal) -> float:
        return proposal.alpha * error + proposal.beta * known

    found = list(_simple(layer, sensitivity, lowest))
    best = min(map(bound, found), default=np.inf)
    if sensitivity is not None and lowest is not None and best > _POOR * error and error > 0 and known > 0:
        found += _joint(layer, sensitivity, lowest, error / known)
    return sorted(found, key=bound)


def _simple(layer: AffineLayer, sensitivity: Float | None, lowest: Float | None) -> Iterator[Proposal]:
    values, vectors = np.zeros(0), np.zeros((0, 0))
    if sensitivity is not None and layer.pixels <= MOST_PIXELS:
        taps = _float_gradient_map(layer, sensitivity)
        gram = taps.T @ taps
        gram[layer.unseen, layer.unseen] = gram.max()
        values, vectors = np.linalg.eigh(gram)
        if values[0] > 1e-13 * values[-1]:
            yield Proposal("gradient", 0.0, 1 / float(np.sqrt(values[0])))
    if lowest is None:
        return
    unknowns = layer.channels * layer.pixels
    if unknowns <= MOST_UNKNOWNS and unknowns - layer.channels * len(layer.unseen) <= np.count_nonzero(lowest):
        smallest = _smallest_forward(layer, lowest)
        if smallest > 0:
            yield Proposal("forward", 1 / smallest, 0.0)
    if values.size and values[-1] > 0 and lowest.min() > 0:
        yield from _both(layer, values, vectors, float(lowest.min()))


def _both(layer: AffineLayer, values: Float, vectors: Float, least: float) -> Iterator[Proposal]:
    scale = float(np.sqrt(values[-1]))
    most = min(layer.pixels, LARGEST_REST // layer.channels)
    least_count = max(int(np.searchsorted(values, 1e-13 * values[-1])), 1)
    if most < least_count:
        return
    norm = float(layer.norm_upper())
    for count in np.unique(np.linspace(least_count, most, 8).astype(int)).tolist():
        rest = vectors[:, :count] / scale
        smallest = np.linalg.eigvalsh(_rest_gram(layer, rest))[0]
        if smallest > 1e-26 / scale**2:
            left = values[count] if count < layer.pixels else scale**2
            reach, kappa = 1 / (scale * float(np.sqrt(smallest))), float(np.sqrt(max(left, 1e-15 * scale**2)))
            # rounded to few bits, which is no loss, since N may be anything
            unit = float(2.0 ** np.round(np.log2(scale)))
            complement = np.round(vectors[:, :count] * 2.0**24) / 2.0**24 * unit
            # N' is about V/unit, while the Gram matrix was that of V/scale
            yield Proposal(
                "gradient-then-forward",
                reach / least,
                (1 + reach * norm) / kappa,
                complement,
                float(smallest) * (scale / unit) ** 2,
            )


def _float_gradient_map(layer: AffineLayer, sensitivity: Float) -> Float:
    result = np.zeros((len(sensitivity), len(layer.windows), layer.pixels + 1))
    for lag, seen in enumerate(layer.windows):
        result[:, lag, seen] = sensitivity
    return result[:, :, :-1].reshape(-1, layer.pixels)


def _joint(layer: AffineLayer, sensitivity: Float, lowest: Float, ratio: float) -> Iterator[Proposal]:
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    taps = _float_gradient_map(layer, sensitivity)
    unknowns = layer.channels * layer.pixels
    if len(taps) * layer.channels > LARGEST_BORDER or unknowns > LARGEST_DENSE:
        return
    forward = _forward_matrix(layer, lowest)
    gram = (forward.T @ forward).toarray()
    added = np.kron(np.eye(layer.channels), taps.T @ taps)
    unseen = (np.arange(layer.channels)[:, None] * layer.pixels + layer.unseen).ravel()
    gram[unseen, unseen] = gram.max()
    for tau in (ratio, 8 * ratio):
        try:
            factors = cho_factor(gram + tau**2 * added, lower=True)
        except LinAlgError:
            continue
        smallest = _inverse_iteration(functools.partial(cho_solve, factors), unknowns)
        if smallest > 1e-13 * float(np.abs(gram).sum(axis=0).max()):
            omega = float(np.sqrt(smallest))
            yield Proposal("joint", 1 / omega, tau / omega, None, smallest, tau)


def _inverse_iteration(solve: Callable[[Float], Float], size: int) -> float:
    """Approximate the smallest eigenvalue of a positive definite matrix, from above."""
    vector = np.random.default_rng(0).standard_normal(size)
    for _ in range(30):
        vector = solve(vector / np.linalg.norm(vector))
    return 1 / float(np.linalg.norm(vector))


def _forward_matrix(layer: AffineLayer, lowest: Float) -> Any:
    """L W as a sparse matrix."""
    from scipy.sparse import csc_matrix

    channels, positions = layer.outputs
    lags, unknowns = len(layer.windows), layer.channels * layer.pixels
    inside = layer.windows < layer.pixels
    lag, position = np.nonzero(inside)
    pixel = layer.windows[inside]
    taps = layer.weight.reshape(channels, layer.channels, lags)
    rows, columns, entries = [], [], []
    for o in range(channels):
        for c in range(layer.channels):
            rows.append(o * positions + position)
            columns.append(c * layer.pixels + pixel)
            entries.append(taps[o, c, lag] * lowest[o, position])
    places = np.concatenate(rows), np.concatenate(columns)
    return csc_matrix((np.concatenate(entries), places), (channels * positions, unknowns))


def _smallest_forward(layer: AffineLayer, lowest: Float) -> float:
    """Approximate σ_min(L W); 0 if it looks singular."""
    from scipy.sparse import diags, identity
    from scipy.sparse.linalg import splu

    matrix = _forward_matrix(layer, lowest)
    gram = (matrix.T @ matrix).tocsc()
    unseen = (np.arange(layer.channels)[:, None] * layer.pixels + layer.unseen).ravel()
    scale = float(abs(gram).sum(axis=0).max())
    if scale == 0:  # of an input none of which is seen, for instance
        return 0.0
    filled = np.zeros(gram.shape[0])
    filled[unseen] = gram.max()
    gram = gram + diags(filled)
    factors = splu((gram + 1e-14 * scale * identity(gram.shape[0])).tocsc())
    value = _inverse_iteration(factors.solve, gram.shape[0])
    return float(np.sqrt(value)) if value > 1e-12 * scale else 0.0


def _rest_gram(layer: AffineLayer, rest: Float) -> Float:
    padded = np.vstack([rest, np.zeros((1, rest.shape[1]))])
    windows = padded[layer.windows]  # (lags, positions, q)
    lags, _, count = windows.shape
    products = np.tensordot(windows, windows, axes=(1, 1))  # (t, n, u, m)
    taps = layer.weight.reshape(-1, layer.channels, lags)
    kernels = np.tensordot(taps, taps, axes=(0, 0))  # (c, t, d, u)
    gram = np.tensordot(kernels, products, axes=((1, 3), (0, 2)))  # (c, d, n, m)
    return np.asarray(gram.transpose(0, 2, 1, 3).reshape(layer.channels * count, -1))


def prove(
    proposal: Proposal, layer: AffineLayer, sensitivity: Balls, lowest: Balls | None, bits: int
) -> Injectivity | None:
    """Prove a proposal.

    Parameters
    ----------
    proposal : Proposal
        What to prove.
    layer : AffineLayer
        The layer.
    sensitivity : ndarray of arb (output channels, positions)
        D.
    lowest : ndarray of arb (output channels, positions) or None
        l, exact and nonnegative.
    bits : int
        The working precision, at which `flint.ctx` is.

    Returns
    -------
    Injectivity or None
        The proof; None if balls do not confirm it.
    """
    if proposal.strategy == "forward":
        if lowest is None:
            return None
        omega = _root(banded_lower_eigenvalue(layer, lowest, proposal.alpha**-2))
        return (
            None
            if omega is None
            else Injectivity(_upper(1 / ball(omega)), flint.arb(0), {"strategy": "forward", "omega": omega})
        )
    if proposal.strategy == "joint":
        return None if lowest is None else _prove_joint(proposal, layer, sensitivity, lowest)
    gradient_map = matrix_of(layer.gradient_map(sensitivity))
    entries = balls_of(gradient_map.transpose() * gradient_map)
    entries[layer.unseen, layer.unseen] = max(
        np.diag(entries).tolist(), key=float
    )  # no eigenvalue of the rest is below all
    gram = matrix_of(entries)
    if proposal.complement is None:
        kappa = _root(certified_lower_eigenvalue(gram, bits=bits))
        if kappa is None:
            return None
        return Injectivity(flint.arb(0), _upper(1 / ball(kappa)), {"strategy": "gradient", "kappa": kappa})
    if lowest is None:
        return None
    complement = ball_matrix(proposal.complement)
    whole = gram + complement * complement.transpose()
    kappa = _root(certified_lower_eigenvalue(whole, bits=bits))
    if kappa is None:
        return None
    try:
        rest = whole.solve(complement)
    except ZeroDivisionError:
        return None
    omega = _root(dense_lower_eigenvalue(_rest_gram_balls(layer, rest), proposal.smallest))
    if omega is None:
        return None
    reach = _upper(spectral_upper(rest) / ball(omega))
    least = min(lowest.ravel().tolist(), key=float)
    alpha, beta = _upper(reach / least), _upper((1 + reach * layer.norm_upper()) / ball(kappa))
    statement = {
        "strategy": "gradient-then-forward",
        "kappa": kappa,
        "omega": omega,
        "complement": proposal.complement,
    }
    return Injectivity(alpha, beta, statement)


def _prove_joint(proposal: Proposal, layer: AffineLayer, sensitivity: Balls, lowest: Balls) -> Injectivity | None:
    tau = Fraction(proposal.tau)
    taps = layer.gradient_map(sensitivity) * ball(tau)
    border = zeros(layer.channels, len(taps), layer.channels, layer.pixels)
    for channel in range(layer.channels):
        border[channel, :, channel] = taps
    border = border.reshape(-1, layer.channels, layer.pixels)
    omega = _root(banded_lower_eigenvalue(layer, lowest, proposal.smallest, border))
    if omega is None:
        return None
    beta = _upper(ball(tau) * (1 + ball(2.0**-28)) / ball(omega))
    return Injectivity(_upper(1 / ball(omega)), beta, {"strategy": "joint", "omega": omega, "tau": tau})


def _root(square: float) -> Fraction | None:
    """A rational number a little below the root of a proved lower bound; None if that is not positive."""
    if not square > 0:
        return None
    return rounded_down(lower_fraction(ball(square).sqrt()) * (1 - _MARGIN), bits=32)


def _upper(number: Ball) -> Ball:
    return number.abs_upper()


def _rest_gram_balls(layer: AffineLayer, rest: BallMatrix) -> BallMatrix:
    """Balls around (I ⊗ N')ᵀWᵀW(I ⊗ N'), unknowns ordered by channel, then by column of N'."""
    columns = balls_of(rest)
    count, lags = rest.ncols(), len(layer.windows)
    padded = np.vstack([columns, np.full((1, count), flint.arb(0))])
    windows = matrix_of(padded[layer.windows].transpose(1, 0, 2).reshape(-1, lags * count))
    products = balls_of(windows.transpose() * windows).reshape(lags, count, lags, count)
    taps = ball_matrix(layer.weight)
    kernels = balls_of(taps.transpose() * taps).reshape(layer.channels, lags, layer.channels, lags)
    left = matrix_of(kernels.transpose(0, 2, 1, 3).reshape(-1, lags * lags))
    right = matrix_of(products.transpose(0, 2, 1, 3).reshape(lags * lags, -1))
    gram = balls_of(left * right).reshape(layer.channels, layer.channels, count, count)
    return matrix_of(gram.transpose(0, 2, 1, 3).reshape(layer.channels * count, -1))


def approximate(array: Balls) -> Float:
    """Midpoints of an array of balls.

    Parameters
    ----------
    array : ndarray of arb, two-dimensional
        Balls.

    Returns
    -------
    ndarray of float64
        Nothing rigorous may rest on it.
    """
    return midpoints(matrix_of(array))
