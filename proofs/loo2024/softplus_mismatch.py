r"""With softplus in the place of ReLU the training data are not a zero of the reconstruction loss, at any sharpness.

The attack of Loo et al. evaluates candidates with softplus_β(z) = log(1 + e^{βz})/β, β up to 200, while the change of
parameters comes from ReLUs. For every z

    0 < softplus_β(z) - relu(z) = log(1 + e^{-β|z|})/β <= log(2)/β,

so that at the truth the misfit in the output weight of unit k is Σ_j α_j log(1 + e^{-β|z_jk|})/β. If all α_j have the same
sign nothing cancels: the loss at the truth is positive for every β, and an optimiser that goes on ends elsewhere, below it.
Of wide random networks a share of order 1/β of the units has |z| < 1/β, where also the slope is wrong by up to a half: with
layers of equal weight the relative loss at the truth falls like 1/β, measured. It has to be reported beside the loss that
an attack reaches.

Notes
-----
Proof. For z >= 0, log(1 + e^{βz}) - βz = log(e^{-βz} + 1); for z < 0 the left side is log(1 + e^{-β|z|}) already. The
logarithm of a number in (1, 2] is positive and at most log 2. A sum of numbers of one sign that are not zero is not zero.

Source: derived here; the schedule of β was read in the authors' released code.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, constant, exp, log, positive
from provable.theorems import Source, Theorem, at_most, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $g_\beta(z) = \log(1 + e^{\beta z})/\beta - \max(z, 0)$. Then
    $g_\beta(z) = \log(1 + e^{-\beta|z|})/\beta$ and $0 < g_\beta \le \log(2)/\beta$. So for a training set whose
    $\alpha_j$ are nonzero and of one sign, the reconstruction loss with softplus is at the truth at least
    $\sum_k (\sum_j |\alpha_j|\, g_\beta(z_{jk}))^2 > 0$, for every $\beta > 0$; this part, of the output weights, is at
    most $m (\sum_j |\alpha_j| \log(2)/\beta)^2$.""",
    source=Source("derived", note="on the attack of Loo et al., arXiv:2302.01428v2, as released"),
    expected="proved",
    does_not_say="that the relative loss at the truth falls like 1/β in wide networks is measured, not proved",
)

ONE_SIGN = "all coefficients have the same sign, and are not zero"


@dataclass(frozen=True)
class Truth:
    """Weights with a last column for the biases (m, d + 1), points with a last one (N, d + 1), α (N,), and β."""

    weight: np.ndarray
    points: np.ndarray
    coefficients: np.ndarray
    sharpness: np.ndarray


def truths(*, signs=False):
    def strategy(draw):
        width, count, dimension = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        sizes = [width * (dimension + 1), count * dimension, count, 1]
        weight, points, weights, sharpness = np.split(
            draw(readable_arrays((sum(sizes),), nonzero=True)), np.cumsum(sizes)[:-1]
        )
        points = np.column_stack([points.reshape(count, dimension), np.ones(count)])
        weights = weights if signs else np.abs(weights) * draw(st.sampled_from((1.0, -1.0)))
        # small products β z, of which e^{-β|z|} is seen at two hundred bits
        return Truth(weight.reshape(width, dimension + 1) / 8, points, weights, np.abs(sharpness))

    return strategy


theorem.instances(truths())


@theorem.hypothesis(ONE_SIGN)
def one_sign(truth):
    return bool(np.all(truth.coefficients > 0) or np.all(truth.coefficients < 0))


def preactivations(truth):
    """z_jk, one row per sample."""
    return truth.points @ truth.weight.T


def relu(z):
    return np.where(positive(z), z, constant(0, z) * z)


def size_of(z):
    return np.where(positive(z), z, -z)


def softplus(z, beta):
    return log(constant(1, z) + exp(beta * z)) / beta


def gap(z, beta):
    """log(1 + e^{-β|z|}) / β."""
    return log(constant(1, z) + exp(-beta * size_of(z))) / beta


def output_misfit(truth, difference):
    """Misfit in the output weights: for every unit the sum over samples of α_j times what softplus has more than ReLU."""
    return truth.coefficients @ difference


def same(left, right, size, name):
    """Equality of transcendental numbers: balls decide it to as many digits as one asks for."""
    return at_most(abs(left - right), size / 2**100 + 0 * (left - right), operations=8, name=name)


@theorem.claim(arithmetics=(BALL,))
def mismatch(truth):
    z, beta = preactivations(truth), truth.sharpness[0]
    size = (size_of(z)).sum() + log(constant(2, z)) / beta
    yield same(softplus(z, beta) - relu(z), gap(z, beta), size, "the excess is log(1 + e^{-β|z|})/β, to 30 digits")
    yield less(0 * z, gap(z, beta), operations=4, name="it is positive")
    # at z = 0 both sides are log(2)/β
    most = log(constant(2, z)) / beta
    yield at_most(gap(z, beta), most + most / 2**100 + 0 * z, operations=4, name="and at most log(2)/β, to 30 digits")
    misfit = output_misfit(truth, gap(z, beta))
    total = (misfit * misfit).sum()
    yield less(0 * total, total, operations=8, name="the loss at the truth is positive")
    weights = size_of(truth.coefficients)
    bound = len(truth.weight) * (weights.sum() * most) * (weights.sum() * most)
    yield at_most(total, bound + bound / 2**100, operations=16, name="the output weights' part is small, to 30 digits")
    alone = weights @ gap(z, beta)
    yield same(total, (alone * alone).sum(), bound, "nothing cancels, to 30 digits")


@theorem.derivation
def excess_of_softplus():
    import sympy as sp

    beta, z = sp.symbols("beta z", positive=True)
    yield identity(
        "for z > 0: e^{βz} (1 + e^{-βz}) = 1 + e^{βz}, whose logarithms differ by βz",
        sp.exp(beta * z) * (1 + sp.exp(-beta * z)),
        1 + sp.exp(beta * z),
    )
    yield identity("for z < 0, |z| = -z and relu(z) = 0", sp.exp(-beta * sp.Abs(-z)), sp.exp(beta * (-z)))
    # 1 < 1 + e^{-u} <= 2 for u >= 0, in the form of products that are not negative
    u = sp.Symbol("u", nonnegative=True)
    yield identity("2 - (1 + e^{-u}) = e^{-u} (e^u - 1)", 2 - (1 + sp.exp(-u)), sp.exp(-u) * (sp.exp(u) - 1))


@theorem.rate(
    exponent=-1.0,
    sizes=(16, 32, 64, 128),
    false_exponents={"it falls like the square": -2.0, "it falls like the square root": -0.5},
)
def loss_at_truth(beta, rng):
    """Relative loss at the truth of five samples in eight dimensions and 4000 random units of weights of order one."""
    weight, outer = rng.standard_normal((4000, 9)) / 3.0, rng.standard_normal(4000)
    points, alpha = np.column_stack([rng.standard_normal((5, 8)), np.ones(5)]), np.ones(5)
    z = points @ weight.T
    sharp, slope = np.maximum(z, 0.0), (z > 0).astype(float)
    decay = np.exp(-beta * np.abs(z))
    soft, soft_slope = sharp + np.log1p(decay) / beta, np.where(z > 0, 1.0, decay) / (1.0 + decay)
    wrong = (outer * (soft_slope - slope)).T @ (alpha[:, None] * points)
    right = (outer * slope).T @ (alpha[:, None] * points)
    misfit = np.sum(wrong**2) + np.sum((alpha @ (soft - sharp)) ** 2)
    return float(misfit / (np.sum(right**2) + np.sum((alpha @ sharp) ** 2)))


@theorem.without(ONE_SIGN)
def opposite_samples():
    """|z| is the same for x = 1 and x = -1 without a bias, and the two α cancel."""
    return Truth(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0], [-1.0, 1.0]]), np.array([1.0, -1.0]), np.array([1.0]))


def part_at_truth(truth):
    misfit = output_misfit(truth, gap(preactivations(truth), truth.sharpness[0]))
    return (misfit * misfit).sum()


@theorem.false_twin("the truth is a zero of the loss", arithmetics=(BALL,))
def a_zero(truth):
    total = part_at_truth(truth)
    return at_most(total, 0 * total, operations=16, name="the loss at the truth is 0")


@theorem.false_twin(
    "coefficients of both signs do not cancel either",
    without=(ONE_SIGN,),
    instances=truths(signs=True),
    arithmetics=(BALL,),
)
def both_signs(truth):
    weights = size_of(truth.coefficients) @ gap(preactivations(truth), truth.sharpness[0])
    size = (weights * weights).sum()
    return same(part_at_truth(truth), size, size, "nothing cancels, to 30 digits")


@theorem.false_twin("the excess is at most 1/(2β)", arithmetics=(BALL,))
def smaller_excess(truth):
    z, beta = preactivations(truth), truth.sharpness[0]
    return at_most(gap(z, beta), 1 / (2 * beta) + 0 * z, operations=8, name="g <= 1/(2β)")


@theorem.false_twin("softplus lies above ReLU on the inactive side only", arithmetics=(BALL,))
def one_side_only(truth):
    z, beta = preactivations(truth), truth.sharpness[0]
    left = np.where(positive(z), softplus(z, beta) - relu(z), 0 * z)
    return at_most(left, 1 / (beta * 2**100) + 0 * z, operations=8, name="softplus(z) = z for z > 0, to 30 digits")
