r"""At a stationary point with weight decay the norm of the parameters bounds the number of samples from below.

Let Φ be a chain of L dense layers with one output, activations that are positively homogeneous of degree one and a bias in
the first layer at most, and let θ be stationary for Σ_i log(1 + e^{−q_i}) + (w/2)‖θ‖², q_i = y_i Φ(θ; x_i), with w > 0. Then

.. math:: w \|W_l\|_F^2 = \sum_i \frac{q_i}{1 + e^{q_i}} \quad\text{for every layer } l \text{ (with its bias)}, \qquad
          n \ge \frac{w \|\theta\|^2}{\kappa L}, \qquad \kappa = \max_q \frac{q}{1 + e^q} = 0.278464\ldots

With the exponential loss the sum is Σ_i q_i e^{−q_i}, and κ = 1/e. The bound is an equality if all margins are 1 + κ, or 1
with the exponential loss.

Notes
-----
θ = Σ_i c_i ∇Φ(θ; x_i) with c_i = y_i/(w (1 + e^{q_i})), so that Euler's identity in the parameters of one layer gives the
first equation, and the sum over the layers w‖θ‖² = L Σ_i q_i/(1 + e^{q_i}). A sample adds most at the root of
1 + e^q = q e^q, where q/(1 + e^q) = e^{−q} = q − 1 = κ: samples that are fitted too well hold θ as little as those that are
not fitted. So a network with its weight decay says how many samples it needs at least. Nothing bounds their number from
above, for a sample with a large margin, or with margin zero, is not seen in the norm. If losses are averaged, n cancels.

Source: stationarity with weight decay is the setting of Buzaglo et al. 2023 (arXiv:2307.01827), which was not read; the
statement is derived here.
"""

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, ReLU
from provable.arithmetic import BALL, FLOAT64, exp, to_float
from provable.networks import Parameters, forward, tangents
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import fact, identity

theorem = Theorem(
    statement=r"""If \theta is stationary for \sum_i \ell(q_i) + (w/2) \|\theta\|^2, q_i = y_i \Phi(\theta; x_i), w > 0, for a
    chain \Phi of L dense layers that is homogeneous of degree one in each, then w \|W_l\|_F^2 = -\sum_i \ell'(q_i) q_i for
    every layer (with its bias), and n >= w \|\theta\|^2/(\kappa L) with \kappa = max q/(1 + e^q) < 0.278465 for the
    logistic loss and 1/e for the exponential one.""",
    source=Source("arXiv:2307.01827", "setting of weight decay", "not read; derived here"),
    expected="proved",
    does_not_say="anything of the number of samples from above",
)

HOMOGENEOUS, STATIONARY = "homogeneous chain", "stationarity"
LARGEST = 0.278465
"""Above max q/(1 + e^q) = 0.2784645…"""


@dataclass(frozen=True)
class Decayed:
    """A network with its data and its loss; the weight decay is the one that suits them best."""

    architecture: Architecture
    parameters: Parameters
    points: Any
    labels: Any
    loss: str

    @property
    def margins(self):
        return self.labels * forward(self.architecture, self.parameters, self.points)[:, 0]

    @property
    def slopes(self):
        """−ℓ'(q_i)."""
        return exp(-self.margins) if self.loss == "exponential" else 1 / (1 + exp(self.margins))

    @property
    def pull(self):
        """−∇Σ ℓ."""
        gradients = tangents(self.architecture, self.parameters, self.points)[:, 0]
        return (self.slopes * self.labels) @ gradients

    @property
    def weight_decay(self):
        theta = self.parameters.vector()
        return (theta @ self.pull) / (theta @ theta)

    @property
    def layers(self):
        """‖W_l‖² for all layers, with biases."""
        sums = {}
        for name, array in self.parameters.items():
            path = name.rpartition("/")[0]
            sums[path] = sums.get(path, 0) + (array * array).sum()
        return list(sums.values())


VECTORS = ((5.0,), (3.0, 4.0), (4.0, 3.0), (5.0, 0.0))
"""Of norm five: all numbers of an instance are exact."""


def blocks(vectors, halvings, lengths, activation, loss):
    """Rank-one layers of one norm, 25/2^h, and samples along their direction with margins next to `lengths`."""
    depth = len(vectors)
    weights = [np.outer(behind, before) / 2**halvings for before, behind in itertools.pairwise([*vectors, (5.0,)])]
    layers = []
    for weight in weights:
        layers += [Linear(len(weight), bias=False), activation]
    architecture = Architecture("blocks", (len(vectors[0]),), tuple(layers[:-1]), "logistic")
    parameters = Parameters.from_vector(architecture, np.concatenate([weight.reshape(-1) for weight in weights]))
    # Φ = (25/2^h)^L 5 t 2^{−s} at t 2^{−s} times the first vector
    size = 2.0 ** -round(math.log2(5 * (25 / 2**halvings) ** depth))
    points = size * np.array(lengths)[:, None] * np.array(vectors[0])
    return Decayed(architecture, parameters, points, np.ones(len(lengths)), loss)


def one_unit(first, last, length, loss, output_bias=None):
    """Φ = last relu(first x) (+ b) for one sample."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=output_bias is not None))
    architecture = Architecture("one unit", (1,), layers, "logistic")
    theta = [first, last] + ([] if output_bias is None else [output_bias])
    parameters = Parameters.from_vector(architecture, np.array(theta))
    return Decayed(architecture, parameters, np.array([[length]]), np.ones(1), loss)


@st.composite
def instances(draw):
    depth = draw(st.sampled_from((2, 3, 2, 1)))
    return blocks(
        [draw(st.sampled_from(VECTORS)) for _ in range(depth)],
        draw(st.integers(2, 5)),
        draw(st.lists(st.sampled_from((1.0, 2.0, 0.5, 1.25, 3.0)), min_size=1, max_size=4)),
        draw(st.sampled_from((ReLU(), LeakyReLU(negative_slope=0.25)))),
        draw(st.sampled_from(("logistic", "exponential"))),
    )


theorem.instances(instances())


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(case):
    return not any(isinstance(layer, Linear) and layer.bias for layer in case.architecture.layers[1:])


@theorem.hypothesis(STATIONARY)
def is_stationary(case):
    gap = np.abs(to_float(case.pull - case.weight_decay * case.parameters.vector()))
    # the pull is a sum of at most four products through up to three layers
    return bool(gap.max() <= 30 * 16 * 2.0**-52 * np.abs(to_float(case.pull)).max())


@theorem.degenerate
def one_layer(case):
    return len(case.architecture.layers) == 1


def budget(case, largest, count=None, degree=None):
    """w‖θ‖² ≤ κ L n."""
    theta = case.parameters.vector()
    degree = len(case.layers) if degree is None else degree
    count = len(case.labels) if count is None else count
    left = case.weight_decay * (theta @ theta)
    right = count * degree * (largest + 0 * left)
    return at_most(left, right, operations=len(theta) + 32, name="w‖θ‖² ≤ κ L n")


def constant(case):
    """κ of the loss."""
    return exp(-1 + 0 * case.margins)[0] if case.loss == "exponential" else LARGEST


@theorem.claim(arithmetics=(FLOAT64, BALL))
def norm_and_number(case):
    total = case.slopes @ case.margins
    for number, norm in enumerate(case.layers, 1):
        # products through up to three layers and sums over up to eight parameters in each, and over samples
        yield equal(case.weight_decay * norm, total, operations=64 + len(case.labels), name=f"w‖W_{number}‖² = Σ −ℓ' q")
    yield budget(case, constant(case))


@theorem.derivation
def euler_and_the_largest_share():
    """Euler's identity for one layer and one sample, and the maximum of one function of one variable."""
    import sympy

    q, L, n = sympy.symbols("q L n", positive=True)
    p1, p2, q1, q2, w1, w2 = sympy.symbols("p_1 p_2 q_1 q_2 W_1 W_2", real=True)
    d11, d12, d21, d22 = sympy.symbols("d_11 d_12 d_21 d_22", real=True)
    # w W = Σ p_i y_i ∂Φ_i/∂W, and W·(y_i ∂Φ_i/∂W) = q_i because Φ has degree one in W
    pairing = w1 * (p1 * d11 + p2 * d21) + w2 * (p1 * d12 + p2 * d22)
    euler = {d11: (q1 - w2 * d12) / w1, d21: (q2 - w2 * d22) / w1}
    yield identity(
        "W·(w W) = Σ p_i W·(y_i ∂Φ_i/∂W) = Σ p_i q_i", sympy.simplify(pairing.subs(euler)), p1 * q1 + p2 * q2
    )
    share = q / (1 + sympy.exp(q))
    slope = sympy.together(sympy.diff(share, q))
    sign = 1 + sympy.exp(q) - q * sympy.exp(q)
    yield identity(
        "(q/(1 + e^q))' has the sign of h = 1 + e^q − q e^q", sympy.simplify(slope * (1 + sympy.exp(q)) ** 2 - sign)
    )
    yield identity("h' = −q e^q < 0: one maximum over q > 0", sympy.simplify(sympy.diff(sign, q) + q * sympy.exp(q)))
    low, high = sympy.Rational(1278464, 10**6), sympy.Rational(1278465, 10**6)
    yield fact("h(1.278464) > 0", bool(sign.subs(q, low) > 0))
    yield fact("h(1.278465) < 0", bool(sign.subs(q, high) < 0))
    root = sympy.Symbol("r", positive=True)
    at_root = share.subs(q, root).subs(sympy.exp(root), 1 / (root - 1))  # h(r) = 0 is e^r = 1/(r − 1)
    yield identity("there q/(1 + e^q) = q − 1, which is below 0.278465", sympy.simplify(at_root - (root - 1)))
    yield fact("q/(1 + e^q) ≤ 0 for q ≤ 0: the numerator's sign", sympy.Symbol("s", nonpositive=True).is_nonpositive)
    bump = q * sympy.exp(-q)
    yield identity("(q e^{−q})' = (1 − q) e^{−q}", sympy.simplify(sympy.diff(bump, q) - (1 - q) * sympy.exp(-q)))
    yield identity("so q e^{−q} ≤ 1/e", bump.subs(q, 1), sympy.exp(-1))
    kappa = sympy.Symbol("kappa", positive=True)
    yield identity("L layers and n samples: w‖θ‖² ≤ L n κ, so n ≥ w‖θ‖²/(κ L)", (L * n * kappa) / (kappa * L), n)


@theorem.without(HOMOGENEOUS)
def an_output_bias():
    """Φ = relu(x) + 1 at x = 1: −ℓ' is the derivative in both weights and the bias, all of which are one."""
    return one_unit(1.0, 1.0, 1.0, "exponential", output_bias=1.0)


@theorem.without(STATIONARY)
def one_weight_too_large():
    return one_unit(2.0, 1.0, 1.0, "logistic")


def at_the_maximum(copies, loss):
    """Margins next to 1 + κ, and 1 for the exponential loss."""
    one = one_unit(1.0, 1.0, 1.0 if loss == "exponential" else 1.28125, loss)
    return dataclasses.replace(one, points=np.repeat(one.points, copies, axis=0), labels=np.ones(copies))


@theorem.false_twin(
    "one part in a thousand less is enough for the logistic loss",
    instances=st.builds(at_the_maximum, st.integers(1, 4), st.just("logistic")),
    arithmetics=(FLOAT64, BALL),
)
def smaller_constant(case):
    return budget(case, 0.2782)


@theorem.false_twin(
    "the exponential loss has the logistic one's constant",
    instances=st.builds(at_the_maximum, st.integers(1, 4), st.just("exponential")),
    arithmetics=(FLOAT64, BALL),
)
def logistic_constant(case):
    return budget(case, LARGEST)


@theorem.false_twin(
    "the number of layers does not enter",
    instances=st.builds(at_the_maximum, st.integers(1, 4), st.sampled_from(("logistic", "exponential"))),
    arithmetics=(FLOAT64, BALL),
)
def without_the_layers(case):
    return budget(case, constant(case), degree=1)


@theorem.false_twin(
    "the bound does not need the number of samples",
    instances=st.builds(at_the_maximum, st.integers(2, 4), st.sampled_from(("logistic", "exponential"))),
    arithmetics=(FLOAT64, BALL),
)
def without_the_samples(case):
    return budget(case, constant(case), count=1)


@theorem.false_twin("every layer has the norm of all samples' slopes: w‖W_l‖² = Σ −ℓ'", arithmetics=(FLOAT64, BALL))
def slopes_alone(case):
    return equal(case.weight_decay * case.layers[0], case.slopes.sum(), operations=64, name="w‖W_1‖² = Σ −ℓ'")
