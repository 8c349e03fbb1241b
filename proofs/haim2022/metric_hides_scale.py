r"""The published measure of success does not see an image's scale: a candidate off by any factor scores as the image itself.

A candidate z is compared with a training image x by their correlation, and, after both are rescaled to [0, 1] by their own
extremes, by structural similarity. For a > 0 and any number b, with m the mean image added before rescaling, and m constant,

.. math:: \rho(az + b, x) = \rho(z, x), \qquad
          \frac{az + b + m - \min}{\max - \min} = \frac{z + m - \min}{\max - \min}.

So the candidate that is chosen, its correlation and its structural similarity are those of z, for every a > 0, although its
distance from x grows with a. For a network without biases this is the very direction that stationarity leaves open:
(λ/a, a z) and (λ, z) have the same λ∇Φ.

Notes
-----
cov(az + b, x) = a cov(z, x) and var(az + b) = a² var(z); extremes move with the image for a > 0 and change places for a < 0.
A mean image that is not constant breaks the second identity but not the first: correlations are taken before it is added. A
candidate or image that is constant has no correlation; 0 is put in its place. Correlations contain a root; here their squares
and signs are compared, which is the same and exact.

Source: the evaluation of arXiv:2206.07758 and its released code, as described by third parties; derived here.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, constant
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For images x, z, a > 0, any number b and a constant mean image m: the correlation of
    az + b and x is that of z and x, and az + b + m rescaled to [0, 1] by its smallest and largest value is z + m
    rescaled; a constant image has correlation 0 and is rescaled to 0.""",
    source=Source("arXiv:2206.07758", "section 5", "the evaluation as third parties describe it; derived here"),
    expected="proved",
    does_not_say="that candidates of a network with biases may be rescaled without changing the loss",
)

POSITIVE, FLAT = "the factor is positive", "the mean image is constant"


@dataclass(frozen=True)
class Pair:
    """A candidate, a training image, factor and shift, and the mean image, all flat."""

    candidate: np.ndarray
    image: np.ndarray
    factor: np.ndarray
    shift: np.ndarray
    mean: np.ndarray

    @property
    def moved(self):
        """az + b."""
        return self.factor[0] * self.candidate + self.shift[0]


@st.composite
def pairs(draw):
    size = draw(st.integers(2, 5))
    candidate, image = draw(readable_arrays((size,))), draw(readable_arrays((size,)))
    factor = np.array([draw(st.sampled_from((0.5, 2.0, 4.0, 0.0625, 3.0)))])
    mean = np.full(size, draw(st.sampled_from((0.0, 0.5, -1.0))))
    return Pair(candidate, image, factor, draw(readable_arrays((1,))), mean)


theorem.instances(pairs())


@theorem.hypothesis(POSITIVE)
def is_positive(pair):
    return bool(pair.factor[0] > 0)


@theorem.hypothesis(FLAT)
def is_flat(pair):
    return bool(np.all(pair.mean == pair.mean[0]))


@theorem.degenerate
def a_constant_image(pair):
    return any(bool(np.all(array == array[0])) for array in (pair.candidate, pair.image))


def moments(first, second):
    """Covariance and both variances, times the number of pixels."""
    count = constant(len(first), first)
    one, other = first - first.sum() / count, second - second.sum() / count
    return one @ other, one @ one, other @ other


def rescaled(image):
    """The image moved to [0, 1] by its own extremes; zero if it is constant."""
    low, high = min(image), max(image)
    if low == high:
        return 0 * image
    return (image - low) / (high - low)


def same_correlation(first, second, image):
    """Equal signs and equal squares of the correlations with an image, multiplied out."""
    (one, own, norm), (other, foreign, _) = moments(first, image), moments(second, image)
    # numbers up to 4 · 3 + 4, sums of five products of them, multiplied three at a time
    size = None if not isinstance(norm, float) else float(own * foreign * norm + 1) * 1e3
    yield equal(one * one * foreign, other * other * own, operations=40, magnitude=size, name="ρ² agrees")
    rounding = 0 if size is None else 30 * 40 * 2.0**-52 * size
    agree = (one > 0) == (other > 0) or (abs(float(one)) <= rounding and abs(float(other)) <= rounding)
    yield holds(agree, name="the sign of ρ agrees")


def same_rescaling(first, second, mean):
    """Equal images after the mean is added and the extremes are moved to 0 and 1."""
    left, right = rescaled(first + mean), rescaled(second + mean)
    # differences of numbers up to 20 over differences of at least 1/64
    return equal(left, right, operations=10, magnitude=20.0 * 64, name="rescaled images agree")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def scores_agree(pair):
    yield from same_correlation(pair.moved, pair.candidate, pair.image)
    yield same_rescaling(pair.moved, pair.candidate, pair.mean)


@theorem.derivation
def moments_and_extremes():
    """Sums over pixels are linear, so two pixels are generic; of the extremes only that they are pixels is used."""
    import sympy

    z, x = sympy.symbols("z_1:3"), sympy.symbols("x_1:3")
    b, m = sympy.symbols("b m")
    a = sympy.Symbol("a", positive=True)

    def covariance(first, second):
        one, other = ([value - sum(pixels) / 2 for value in pixels] for pixels in (first, second))
        return sum(p * q for p, q in zip(one, other, strict=True))

    moved = [a * value + b for value in z]
    yield identity(
        "cov(az + b, x) = a cov(z, x)", sympy.expand(covariance(moved, x)), sympy.expand(a * covariance(z, x))
    )
    yield identity(
        "var(az + b) = a² var(z)", sympy.expand(covariance(moved, moved)), sympy.expand(a**2 * covariance(z, z))
    )
    yield identity("the root of a² is a: ρ keeps its sign", sympy.sqrt(a**2), a)
    value, low, high = sympy.symbols("z l h")
    left = (a * value + b + m - (a * low + b + m)) / ((a * high + b + m) - (a * low + b + m))
    yield identity(
        "az + b + m has its extremes where z has, for a > 0: the same rescaled pixel",
        sympy.simplify(left),
        sympy.simplify((value + m - (low + m)) / (high - low)),
    )


def pair(factor=1.0, shift=0.0, image=(0.0, 1.0), mean=(0.0, 0.0)):
    """A candidate (0, 2) beside an image."""
    return Pair(np.array([0.0, 2.0]), np.array(image), np.array([factor]), np.array([shift]), np.array(mean))


SMALL = st.builds(
    pair,
    factor=st.sampled_from((1.0, 2.0, 0.5)),
    shift=st.sampled_from((0.0, 1.0)),
    image=st.sampled_from(((0.0, 1.0), (1.0, 0.0), (2.0, 0.5))),
)
"""Two pixels, for the false twins: nothing to shrink."""


@theorem.without(POSITIVE)
def a_negative():
    return pair(factor=-1.0)


@theorem.without(FLAT)
def a_mean_that_varies():
    return Pair(
        np.array([0.0, 2.0, 1.0]), np.array([0.0, 1.0, 5.0]), np.array([2.0]), np.zeros(1), np.array([0.0, 0.0, 1.0])
    )


@theorem.false_twin("a negative of the image scores the same", instances=SMALL, arithmetics=(RATIONAL,))
def negative(pair):
    yield from same_correlation(0 - pair.moved, pair.candidate, pair.image)


@theorem.false_twin("the Euclidean distance does not see the scale either", instances=SMALL, arithmetics=(RATIONAL,))
def distances(pair):
    far, near = pair.moved - pair.image, pair.candidate - pair.image
    return equal(far @ far, near @ near, operations=10, name="‖az + b − x‖ = ‖z − x‖")


@theorem.false_twin("each pixel may have a factor of its own, of either sign", instances=SMALL, arithmetics=(RATIONAL,))
def gains(pair):
    gain = 0 * pair.candidate + pair.factor[0]
    gain[1] = gain[1] * 0 - 1
    yield from same_correlation(gain * pair.candidate, pair.candidate, pair.image)


@theorem.false_twin(
    "any mean image may be added", without=(FLAT,), instances=st.builds(a_mean_that_varies), arithmetics=(RATIONAL,)
)
def any_mean(pair):
    mean = 0 * pair.mean
    mean[0] = mean[0] + 5
    return same_rescaling(pair.moved, pair.candidate, mean)
