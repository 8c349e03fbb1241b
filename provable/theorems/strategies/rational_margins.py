"""Labelled samples, in rationals, for which a network of rank-one blocks is a stationary point of the max-margin problem.

A block is a chain of layers ρ u_l u_{l−1}ᵀ with rational unit vectors u_l ≥ 0; its first layer reads the input along a
rational unit vector ±g and its last layer has the sign ±1. With L layers, a sample x sends ±ρ^L σ(±g·x) through it, where σ
has the slope s = 1 where the block is active and s = (negative slope)^{L−1} where it is not. Stationarity of all layers is
then one equation for each block: Σ_i λ_i y_i s_i x_i = ρ^{2−L} g. It is linear in the data, and is solved for them here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import flint
from hypothesis import strategies as st

Vector = list[Fraction]


@dataclass(frozen=True)
class Block:
    """A rank-one chain.

    Parameters
    ----------
    size : Fraction
        ρ > 0.
    direction : list of Fraction
        The unit vector g; with a bias its last entry belongs to the constant input.
    units : list of list of Fraction
        The unit vectors u_1, …, u_{L−1}.
    sign : {1, -1}
        The sign of the last layer.
    """

    size: Fraction
    direction: Vector
    units: list[Vector]
    sign: int

    @property
    def depth(self) -> int:
        """The number of layers.

        Returns
        -------
        int
            L.
        """
        return len(self.units) + 1


@dataclass(frozen=True)
class Sample:
    """A sample with label y and multiplier λ.

    Parameters
    ----------
    point : list of Fraction
        x; with a bias its last entry is the constant input.
    label : {1, -1}
        y.
    multiplier : Fraction
        λ ≥ 0.
    """

    point: Vector
    label: int
    multiplier: Fraction


@dataclass(frozen=True)
class _Class:
    """What the samples of one class have in common.

    The weighted mean of the support vectors has the inner products `products` with the vectors of `frame`. Adding a multiple
    (up to one) of `tilt` to the products keeps the margin and the signs. Multiplying the first `scalable` products by two
    doubles the margin.
    """

    frame: list[Vector]
    products: Vector
    tilt: Vector
    scalable: int
    label: int
    total: Fraction


def dot(x: Sequence[Fraction], y: Sequence[Fraction]) -> Fraction:
    """Inner product.

    Parameters
    ----------
    x, y : sequence of Fraction
        Vectors of one length.

    Returns
    -------
    Fraction
        Σ x_k y_k.
    """
    return sum((a * b for a, b in zip(x, y, strict=True)), Fraction(0))


def unit_vector(integers: Sequence[int]) -> Vector:
    """Divide an integer vector by its norm.

    Parameters
    ----------
    integers : sequence of int
        A vector whose squared norm is a square number.

    Returns
    -------
    list of Fraction
        The unit vector.
    """
    return [Fraction(number, math.isqrt(sum(n * n for n in integers))) for number in integers]


def _matrix(lines: Sequence[Vector]) -> Any:
    entries = [flint.fmpq(x.numerator, x.denominator) for line in lines for x in line]
    return flint.fmpq_mat(len(lines), len(lines[0]), entries)


def _in_span(frame: Sequence[Vector], products: Vector) -> Vector:
    """The vector in the span of independent vectors that has given inner products with them."""
    gram = _matrix([[dot(x, y) for x in frame] for y in frame])
    solution = gram.solve(_matrix([[number] for number in products]))
    factors = [Fraction(int(solution[k, 0].p), int(solution[k, 0].q)) for k in range(len(frame))]
    return [dot(factors, column) for column in zip(*frame, strict=True)]


def _independent(frame: Sequence[Vector]) -> list[int]:
    kept: list[int] = []
    for position, vector in enumerate(frame):
        if _matrix([*(frame[k] for k in kept), vector]).rank() == len(kept) + 1:
            kept.append(position)
    return kept


def _shares(draw: st.DrawFn, count: int) -> list[tuple[Fraction, Fraction]]:
    """Positive shares that add up to one, each with a number in [−1, 1]; with these shares the numbers have mean zero."""
    integers = [draw(st.integers(1, 3)) for _ in range(count)]
    shares = [Fraction(n, sum(integers)) for n in integers]
    numbers = [Fraction(draw(st.integers(-2, 2))) for _ in range(count)]
    centred = [number - dot(shares, numbers) for number in numbers]
    largest = max(map(abs, centred)) or Fraction(1)
    return [(share, number / largest) for share, number in zip(shares, centred, strict=True)]


def _samples(draw: st.DrawFn, members: _Class) -> list[Sample]:
    kept = _independent(members.frame)
    basis = [members.frame[k] for k in kept]
    # dependent vectors have dependent products, which a tilt would not respect
    strength = Fraction(draw(st.integers(0, 2)), 2) if len(kept) == len(members.frame) else Fraction(0)
    noise = [Fraction(draw(st.integers(-1, 1))) for _ in members.frame[0]]
    inside = _in_span(basis, [dot(noise, vector) for vector in basis])
    orthogonal = [a - b for a, b in zip(noise, inside, strict=True)]
    samples = []
    for share, move in _shares(draw, draw(st.integers(1, 3))):
        products = [p + strength * move * t for p, t in zip(members.products, members.tilt, strict=True)]
        point = _in_span(basis, [products[k] for k in kept])
        point = [a + move * b for a, b in zip(point, orthogonal, strict=True)]
        samples.append(Sample(point, members.label, share * members.total))
    if draw(st.booleans()):  # no support vector
        first = len(members.products) - members.scalable
        products = members.products[:first] + [2 * number for number in members.products[first:]]
        samples.append(Sample(_in_span(basis, [products[k] for k in kept]), members.label, Fraction(0)))
    return samples


def _constant(dimension: int) -> Vector:
    return [Fraction(int(k == dimension - 1)) for k in range(dimension)]


def separated_by_a_line(draw: st.DrawFn, block: Block) -> list[Sample]:
    """Samples for a chain of linear layers: x_i = y_i (g + t_i) with t_i orthogonal to g and Σ λ_i t_i = 0.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    block : Block
        The chain.

    Returns
    -------
    list of Sample
        Both labels occur.
    """
    total = block.size ** (2 - block.depth)
    samples = _samples(draw, _Class([block.direction], [Fraction(1)], [Fraction(0)], 1, 1, total))
    labels = [draw(st.sampled_from((1, -1))) for _ in samples]
    return [
        Sample([label * x for x in sample.point], label, sample.multiplier)
        for sample, label in zip(samples, labels, strict=True)
    ]


def one_label(draw: st.DrawFn, block: Block, biased: bool) -> list[Sample]:
    """Samples of label 1 for one positive block of ReLU or leaky ReLU units.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    block : Block
        The block.
    biased : bool
        Whether the last input is constant.

    Returns
    -------
    list of Sample
        If biased, with constant input 1.
    """
    frame, products = [block.direction], [Fraction(1)]
    if biased:
        frame, products = [_constant(len(block.direction)), block.direction], [block.direction[-1], Fraction(1)]
    tilt, total = [Fraction(0)] * len(frame), block.size ** (2 - block.depth)
    return _with_constant_one(_samples(draw, _Class(frame, products, tilt, 1, 1, total)), biased)


def two_labels(draw: st.DrawFn, plus: Block, minus: Block, slope: Fraction, biased: bool) -> list[Sample] | None:
    """Samples of both labels for a positive and a negative block.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    plus, minus : Block
        The blocks. If biased, of one size and with directions whose last entries are opposite.
    slope : Fraction
        The activation's slope left of zero, below one.
    biased : bool
        Whether the last input is constant.

    Returns
    -------
    list of Sample or None
        None if positive samples would not activate the positive block only, and negative ones the negative block. If biased,
        with constant input 1.

    Notes
    -----
    With c = g₊·g₋, s = slope^{L−1} and κ = ρ^{2−L}, the inner products of both stationarity equations with g₊ and g₋ are four
    linear equations for the means of λ g±·x in both classes; the margins then determine Σ λ in each class.
    """
    s, cosine = slope ** (plus.depth - 1), dot(plus.direction, minus.direction)
    kappa, kappa_minus = plus.size ** (2 - plus.depth), minus.size ** (2 - minus.depth)
    gain, gain_minus = plus.size**plus.depth, minus.size**minus.depth
    determinant = 1 - s * s
    first = [(kappa - s * kappa_minus * cosine) / determinant, (kappa * cosine - s * kappa_minus) / determinant]
    second = [(s * kappa - kappa_minus * cosine) / determinant, (s * kappa * cosine - kappa_minus) / determinant]
    if not (first[0] > 0 and first[1] >= 0 and second[0] <= 0 and second[1] < 0):
        return None
    total_first = gain * first[0] + s * gain_minus * first[1]
    total_second = -s * gain * second[0] - gain_minus * second[1]
    first, second = [number / total_first for number in first], [number / total_second for number in second]
    # how far an inner product may move before a sign changes, and what the other one does to keep the margin
    room = first[1] if s == 0 else min(first[1], first[0] * gain / (2 * s * gain_minus))
    room_second = -second[0] if s == 0 else min(-second[0], -second[1] * gain_minus / (2 * s * gain))
    tilt = [-s * gain_minus / gain * room, room]
    tilt_second = [room_second, -s * gain / gain_minus * room_second]
    frame = [plus.direction, minus.direction]
    if biased:
        constant = kappa * plus.direction[-1] / (total_first * (1 - s))
        frame = [_constant(len(plus.direction)), *frame]
        first, second = [constant, *first], [constant, *second]
        tilt, tilt_second = [Fraction(0), *tilt], [Fraction(0), *tilt_second]
    samples = _samples(draw, _Class(frame, first, tilt, 2, 1, total_first))
    samples += _samples(draw, _Class(frame, second, tilt_second, 2, -1, total_second))
    return _with_constant_one(samples, biased)


def _with_constant_one(samples: list[Sample], biased: bool) -> list[Sample]:
    """Scale the inputs so that the constant one is 1; λ x stays."""
    if not biased:
        return samples
    constant = samples[0].point[-1]
    return [Sample([x / constant for x in s.point], s.label, s.multiplier * constant) for s in samples]
