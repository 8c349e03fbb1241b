r"""A stationary point of two layers of ReLUs says d + 1 numbers per distinct neuron, and N more by margins: the rest is open.

f(x) = Σ_k v_k relu(w_k·x̃), x̃ = (x, 1), N samples with coefficients c_i, and S the N × m matrix of their active units. The
map (x, c) ↦ Σ_i c_i ∇_θ f(x_i) has a Jacobian of rank exactly (d + 1) rank S, and with the margins f(x_1), …, f(x_N) beside
it the rank is at most (d + 1) rank S + N. Neurons with (w_k, v_k) on one ray have equal columns in S, so rank S is at most
the number of distinct neurons. Where these ranks are below N (d + 1) other data exist, at every small distance, with
*exactly* the same Σ c_i ∇f(x_i) and the same outputs: not to first order only.

Notes
-----
Proof. Let M be the N × (d + 1) matrix of the rows c_i x̃_i. Where c_i ≠ 0 it is as good as (x, c): c_i is its last entry and
x_i the quotient of the others by it. While no unit changes its state, the gradients by (w_k, b_k) are v_k (SᵀM)_k, and that
by v_k is w_k·(SᵀM)_k, a function of them if v_k ≠ 0. So the Jacobian has the rank of M ↦ SᵀM, which is (d + 1) rank S. With
u_i = Σ_k v_k s_ik w_k an output is f(x_i) = u_i·x̃_i, and f(x_i) = m_i reads (u_i - m_i e)·M_i = 0 with e the last unit
vector: N more linear equations. All being linear in M, what solves them to first order solves them exactly.

At a stationary point θ = Σ c_i ∇f(x_i) and w_k = v_k (SᵀM)_k: distinct neurons are those of distinct states, and the N
margins leave one more unknown if their common value is not known. So N samples can be determined only if N d <= n (d + 1),
or n (d + 1) - 1, for n distinct neurons. Without bias M has the rows c_i x_i, the rank is d rank S, and scales are open.

At a kink, w_k·x̃_i = 0, the state s_ik is any number in [0, 1] (Clarke): one unknown and one equation more, which leaves the
difference of the two numbers as it was.

Source: derived; against the count of arXiv:2509.21296 for random features, and the claim that N (d + 1) parameters suffice.
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, constant, full, positive, rank
from provable.measures import Measure
from provable.networks import Parameters, embed, forward
from provable.theorems import Source, Theorem, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""
    Let $f(x) = \sum_{k \le m} v_k\,\mathrm{relu}(w_k\cdot\tilde x)$, $\tilde x = (x, 1) \in \mathbb{R}^{d+1}$, with
    all $v_k \ne 0$, $S \in \{0, 1\}^{N \times m}$ the active units at $x_1, \dots, x_N$, none of them on a kink, and all
    $c_i \ne 0$. Then the Jacobian of $(x, c) \mapsto \sum_i c_i\nabla_\theta f(x_i)$ has rank $(d + 1)\,\mathrm{rank}\,S$, at
    most $(d + 1) n$ for $n$ distinct rays $(w_k, v_k)$; with $f(x_1), \dots, f(x_N)$ beside it at most $N$ more. Where that
    is less than $N (d + 1)$ there are other $(x', c')$, arbitrarily near, with the same $\sum_i c_i'\nabla_\theta f(x_i')$
    and the same outputs, exactly.""",
    source=Source(
        "derived", note="against the count p = dn of arXiv:2509.21296, which is of parameters, not of neurons"
    ),
    expected="proved",
    does_not_say="where the ranks suffice, that no data far away have the same stationary point",
)

BIAS, OFF_KINKS = "the first layer has a bias", "no unit is on a kink"
WEIGHTED, ALIVE = "no coefficient is zero", "no output weight is zero"

STEP = 2.0**-40
"""Far below the distance to any kink: pre-activations are multiples of 1/16, unless they are zero."""


@dataclass(frozen=True)
class Data:
    """A network, points (N, d) and coefficients (N,)."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray


def network(dimension, width, biased=True):
    layers = (Linear(width, bias=biased), ReLU(), Linear(1, bias=False))
    return Architecture("two layers", (dimension,), layers, "logistic")


def data(*, biased=True, nonzero=True, dimensions=(1, 2), samples=(1, 2, 3), copies=(1, 2)):
    def strategy(draw):
        dimension, distinct = draw(st.sampled_from(dimensions)), draw(st.integers(1, 3))
        count, repeated = draw(st.sampled_from(samples)), draw(st.sampled_from(copies))
        net = network(dimension, distinct * repeated, biased)
        lines = [dimension + biased + 1] * distinct
        numbers = draw(readable_arrays((sum(lines) + count * (dimension + 1),), nonzero=nonzero))
        neurons = np.split(numbers[: sum(lines)], distinct)
        rows = np.array([2.0**copy * neuron for copy in range(repeated) for neuron in neurons])
        pieces = {"0/weight": rows[:, :dimension], "2/weight": rows[:, -1][None]}
        if biased:
            pieces["0/bias"] = rows[:, dimension]
        points, weights = np.split(numbers[sum(lines) :], [count * dimension])
        return Data(Parameters(net, pieces), points.reshape(count, dimension), weights)

    return strategy


theorem.instances(data())


def has_bias(instance):
    return instance.parameters.architecture.layers[0].bias


def preactivations(instance, points):
    theta = instance.parameters
    values = points @ theta["0/weight"].T
    return values + theta["0/bias"] if has_bias(instance) else values


@theorem.hypothesis(BIAS)
def first_layer_has_a_bias(instance):
    return has_bias(instance)


@theorem.hypothesis(OFF_KINKS, arithmetic=RATIONAL)
def no_unit_on_a_kink(instance):
    return all(value != 0 for value in preactivations(instance, instance.points).reshape(-1))


@theorem.hypothesis(WEIGHTED, arithmetic=RATIONAL)
def no_zero_coefficient(instance):
    return all(number != 0 for number in instance.coefficients)


@theorem.hypothesis(ALIVE, arithmetic=RATIONAL)
def no_zero_output_weight(instance):
    return all(number != 0 for number in instance.parameters["2/weight"].reshape(-1))


@theorem.degenerate
def nothing_is_active(instance):
    return not np.any(positive(preactivations(instance, instance.points)))


def states(instance, points=None):
    """S, numbers 0 and 1."""
    values = preactivations(instance, instance.points if points is None else points)
    return np.where(positive(values), constant(1, values), constant(0, values))


def image(instance, points, coefficients):
    return embed(instance.parameters.architecture, instance.parameters, Measure(points, coefficients)).vector()


def outputs(instance, points):
    return forward(instance.parameters.architecture, instance.parameters, points)[:, 0]


def jacobian(instance, *, margins=False):
    """One row for each unknown, by difference quotients: exact, for between kinks all is affine in each unknown."""
    points, weights = instance.points, instance.coefficients
    step = constant(STEP, points)
    here, values = image(instance, points, weights), outputs(instance, points)
    rows = []
    for place in np.ndindex(points.shape):
        moved = points.copy()
        moved[place] = moved[place] + step
        row = (image(instance, moved, weights) - here) / step
        rows.append(np.concatenate([row, (outputs(instance, moved) - values) / step]) if margins else row)
    for place in range(len(weights)):
        moved = weights.copy()
        moved[place] = moved[place] + step
        row = (image(instance, points, moved) - here) / step
        rows.append(np.concatenate([row, full((len(weights),), 0, row)]) if margins else row)
    return np.array(rows)


def distinct_rays(instance):
    """How many neurons (w_k, b_k, v_k) differ by more than a positive factor."""
    theta = instance.parameters
    blocks = [theta["0/weight"], theta["2/weight"].T]
    neurons = np.concatenate([*blocks, theta["0/bias"][:, None]] if has_bias(instance) else blocks, axis=1)
    kept = []
    for neuron in neurons:
        if not any(rank(np.array([neuron, other])) < 2 and positive(neuron @ other) for other in kept):
            kept.append(neuron)
    return len(kept)


def equations_in_moments(instance):
    """The linear equations on the rows M_i = c_i (x_i, 1) that keep the image and the outputs, one in each row."""
    active, theta = states(instance), instance.parameters
    count, units = active.shape
    dimension = instance.points.shape[1] + 1
    incoming = np.concatenate([theta["0/weight"], theta["0/bias"][:, None]], axis=1)
    slopes = (active * theta["2/weight"]) @ incoming
    rows = []
    for unit in range(units):
        for axis in range(dimension):
            row = full((count, dimension), 0, active)
            row[:, axis] = active[:, unit]
            rows.append(row.reshape(-1))
    for sample, value in enumerate(outputs(instance, instance.points)):
        row = full((count, dimension), 0, active)
        row[sample] = slopes[sample]
        row[sample, -1] = row[sample, -1] - value
        rows.append(row.reshape(-1))
    return np.array(rows)


def null_vectors(matrix):
    """A basis of the kernel of a rational matrix."""
    reduced, found = flint.fmpq_mat(*matrix.shape, list(matrix.reshape(-1))).rref()
    width = matrix.shape[1]
    pivots = [next(k for k in range(width) if reduced[row, k] != 0) for row in range(found)]
    for free in sorted(set(range(width)) - set(pivots)):
        vector = [flint.fmpq(0)] * width
        vector[free] = flint.fmpq(1)
        for row, pivot in enumerate(pivots):
            vector[pivot] = -reduced[row, free]
        yield np.array(vector, dtype=object)


def moved_along(instance, direction):
    """Other data on a line of moments, so near that no unit changes its state and no coefficient its sign."""
    moments = instance.coefficients[:, None] * np.column_stack(
        [instance.points, full((len(instance.points),), 1, direction)]
    )
    step = constant(0.5, direction)
    while True:
        there = moments + step * direction.reshape(moments.shape)
        signs = positive(there[:, -1] * moments[:, -1])
        if np.all(signs):
            points = there[:, :-1] / there[:, -1:]
            if np.all(states(instance, points) == states(instance)):
                return points, there[:, -1]
        step = step / 2


@theorem.claim(arithmetics=(RATIONAL,))
def numbers_that_are_said(instance):
    dimension, seen = instance.points.shape[1] + 1, rank(states(instance))
    yield holds(rank(jacobian(instance)) == dimension * seen, name="rank J = (d + 1) rank S")
    yield holds(seen <= distinct_rays(instance), name="rank S <= the number of distinct neurons")
    both = rank(jacobian(instance, margins=True))
    yield holds(both <= dimension * seen + len(instance.points), name="with the margins at most N more")
    yield from other_data(instance, both)


def other_data(instance, both):
    """As many lines of other data as the rank leaves directions."""
    if not (has_bias(instance) and no_zero_coefficient(instance) and no_unit_on_a_kink(instance)):
        return  # where a hypothesis is dropped
    matrix = equations_in_moments(instance)
    unknowns = instance.points.size + len(instance.points)
    yield holds(rank(matrix) == both, name="the linear equations have the rank of the Jacobian")
    directions = list(null_vectors(matrix))
    yield holds(len(directions) == unknowns - both, name="as many directions as the ranks leave")
    for direction in directions:
        points, weights = moved_along(instance, direction)
        same = np.all(image(instance, points, weights) == image(instance, instance.points, instance.coefficients))
        yield holds(bool(same), name="other data have the same image")
        same = np.all(outputs(instance, points) == outputs(instance, instance.points))
        yield holds(bool(same), name="and the same outputs")
        moved = np.any(points != instance.points) or np.any(weights != instance.coefficients)
        yield holds(bool(moved), name="and are other data")


@theorem.derivation
def linear_in_moments():
    """One sample, one unit and two coordinates stand for all: images are sums over samples, one block for each unit."""
    import sympy as sp

    x, c, w, b, v, s, m, t = sp.symbols("x c w b v s m t")
    p, q = c * x, c  # the moments M_i = c (x, 1)
    yield identity("by the weight: c v s x = v s p", c * v * s * x, v * s * p)
    yield identity("by the bias: c v s = v s q", c * v * s, v * s * q)
    yield identity(
        "by the output weight: a multiple of the others",
        v * (c * s * (w * x + b)),
        w * (c * v * s * x) + b * (c * v * s),
    )
    yield identity("moments are as good as (x, c): x = p / q", p / q, x)
    jacobian_ = sp.Matrix([p, q]).jacobian(sp.Matrix([x, c]))
    yield identity("with the determinant c for one coordinate, c^d for d", jacobian_.det(), c)
    slope, offset = v * s * w, v * s * b
    yield identity("f = m times c is linear in the moments", c * (slope * x + offset - m), slope * p + (offset - m) * q)
    P, Q = sp.symbols("P Q")
    line = (slope * (p + t * P) + (offset - m) * (q + t * Q)) - (slope * p + (offset - m) * q)
    yield identity("so a first-order solution is one at every t", line, t * (slope * P + (offset - m) * Q))
    k = sp.Symbol("k", positive=True)
    yield identity("a neuron on the same ray repeats the equations", (k * v) * s * p, k * (v * s * p))


def one_unit(weight, bias, output, point, coefficient, biased=True):
    net = network(1, 1, biased)
    pieces = {"0/weight": np.array([[weight]]), "2/weight": np.array([[output]])}
    if biased:
        pieces["0/bias"] = np.array([bias])
    return Data(Parameters(net, pieces), np.array([[point]]), np.array([coefficient]))


@theorem.without(BIAS)
def a_length_is_not_seen():
    return one_unit(1.0, 0.0, 1.0, 1.0, 1.0, biased=False)


@theorem.without(OFF_KINKS)
def one_side_of_a_kink():
    return one_unit(1.0, 0.0, 1.0, 0.0, 1.0)


@theorem.without(WEIGHTED)
def a_sample_without_weight():
    return one_unit(1.0, 1.0, 1.0, 1.0, 0.0)


@theorem.without(ALIVE)
def a_unit_that_nothing_reads():
    return one_unit(1.0, 1.0, 0.0, 1.0, 1.0)


@theorem.false_twin("every neuron counts, also one on the ray of another", instances=data(copies=(2,), samples=(2, 3)))
def every_neuron_counts(instance):
    count, dimension = instance.points.shape
    units = states(instance).shape[1]
    return holds(rank(jacobian(instance)) == (dimension + 1) * min(count, units), name="rank J = (d + 1) min(N, m)")


@theorem.false_twin("d + 2 equations for a distinct neuron: its output weight is one more", instances=data(copies=(1,)))
def output_weights_count(instance):
    count, dimension = instance.points.shape
    wanted = min(count * (dimension + 1), (dimension + 2) * rank(states(instance)))
    return holds(rank(jacobian(instance)) == wanted, name="rank J = min(N (d + 1), (d + 2) rank S)")


@theorem.false_twin("data are determined once there are as many parameters as unknowns", instances=data(samples=(2, 3)))
def as_many_parameters(instance):
    unknowns, parameters = instance.points.size + len(instance.points), instance.parameters.vector().size
    if parameters < unknowns:
        return holds(True, name="nothing is claimed")
    return holds(rank(jacobian(instance, margins=True)) == unknowns, name="the rank is the number of unknowns")


@theorem.false_twin("margins always add N", instances=data())
def margins_add_as_many(instance):
    count, dimension = instance.points.shape
    wanted = min(count * (dimension + 1), (dimension + 1) * rank(states(instance)) + count)
    return holds(rank(jacobian(instance, margins=True)) == wanted, name="rank = min(N (d + 1), (d + 1) rank S + N)")


@theorem.false_twin("without bias lengths are seen as well", without=(BIAS,), instances=data(biased=False))
def lengths_are_seen(instance):
    dimension = instance.points.shape[1] + 1
    return holds(rank(jacobian(instance)) == dimension * rank(states(instance)), name="rank J = (d + 1) rank S")
