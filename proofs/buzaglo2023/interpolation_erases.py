r"""A sample that a squared loss fits exactly has left no trace in the parameters; without training error nothing is left.

Let θ be stationary for Σ_i ½(Φ(θ; x_i) − t_i)² + (w/2)‖θ‖², and let S be samples with Φ(θ; x_i) = t_i. Then θ is stationary

- without S,
- and with every x_i of S moved to any x'_i of the same level set, Φ(θ; x'_i) = t_i, at any distance;

so nothing that starts from θ and from stationarity alone can tell where these samples were. If w > 0 and all samples are
fitted exactly, then θ = 0.

Notes
-----
A sample enters the gradient of the objective as (Φ_i − t_i) ∇Φ_i, which is zero on the level set, whatever ∇Φ_i is there. If
all residuals vanish, what remains is wθ = 0. It is the multiplier that has to be nonzero: a sample fitted with an error may
not be moved along its level set in general, nor dropped; and logistic loss has no residual zero at all.

Source: consequence of the general-loss variant of arXiv:2307.01827, whose wording was not read; statement and proof are
derived.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, constant
from provable.networks import Parameters, forward
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays
from provable.theorems.strategies.weight_decay_points import WeightDecayPoint, weight_decay_points

theorem = Theorem(
    statement=r"""If \theta is stationary for
    \sum_i \frac12 (\Phi(\theta; x_i) - t_i)^2 + \frac{w}{2} \|\theta\|^2, then it is so without any samples that have
    \Phi(\theta; x_i) = t_i, and with these moved to any x'_i with \Phi(\theta; x'_i) = t_i. If w > 0 and all samples have
    \Phi(\theta; x_i) = t_i, then \theta = 0.""",
    source=Source("arXiv:2307.01827", "general losses", "from memory; derived here"),
    expected="proved",
    does_not_say="that training from scratch without these samples would lead to the same parameters",
)

STATIONARY, LEVEL, FITTED = "stationarity", "samples move on level sets", "moved samples are fitted exactly"


@dataclass(frozen=True)
class Erasure:
    """A stationary point, further samples with targets, and where they are moved to."""

    point: WeightDecayPoint
    extra: np.ndarray
    errors: np.ndarray
    moved: np.ndarray

    @property
    def targets(self):
        """Targets of the further samples: the outputs there, and the errors."""
        return self.outputs(self.extra) + self.errors

    def outputs(self, points):
        """Φ(θ; ·)."""
        return forward(self.point.architecture, self.point.parameters, points)[:, 0]

    def gradient(self, points=None):
        """The gradient of the objective with further samples at given points; without any by default."""
        samples, targets = self.point.points, self.point.targets
        if points is not None:
            samples, targets = np.concatenate([samples, points]), np.concatenate([targets, self.targets])
        return self.point.objective_gradient(samples, targets)


def on_the_level_set(point, samples):
    """Three times a sample where the output is the same there, as behind all units; otherwise the sample itself."""
    outputs = forward(point.architecture, point.parameters, samples)[:, 0]
    multiples = 3.0 * samples
    further = forward(point.architecture, point.parameters, multiples)[:, 0]
    return np.where((outputs == further)[:, None], multiples, samples)


@st.composite
def erasures(draw):
    point = draw(weight_decay_points(depths=(2, 1)))
    dimension = point.inputs.shape[1]
    extra = draw(readable_arrays((draw(st.integers(1, 3)), dimension)))
    # along the orthogonal complement of all rows of W_1 nothing changes; with fewer rows than dimensions there is one
    rows = point.parameters["0/weight"]
    kernel = np.zeros(dimension)
    if dimension >= 2 and all(row[0] * rows[0][1] == row[1] * rows[0][0] for row in rows):
        kernel[:2] = [rows[0][1], -rows[0][0]]
        kernel = kernel if not np.any(rows @ kernel) else 0 * kernel
    moved = on_the_level_set(point, extra) + draw(st.sampled_from((0.0, 1.0, -2.0))) * kernel
    return Erasure(point, extra, np.zeros(len(extra)), moved)


theorem.instances(erasures())


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(erasure):
    return bool(np.all(erasure.gradient(erasure.extra) == 0)) or bool(np.any(erasure.errors != 0))


@theorem.hypothesis(LEVEL, arithmetic=RATIONAL)
def on_level_sets(erasure):
    return bool(np.all(erasure.outputs(erasure.moved) == erasure.outputs(erasure.extra)))


@theorem.hypothesis(FITTED, arithmetic=RATIONAL)
def is_fitted(erasure):
    return bool(np.all(erasure.errors == 0))


@theorem.degenerate
def nothing_moves(erasure):
    return bool(np.all(erasure.moved == erasure.extra))


@theorem.claim(arithmetics=(RATIONAL,))
def no_trace(erasure):
    zero = 0 * erasure.gradient()
    yield equal(erasure.gradient(), zero, operations=1, name="stationary without the samples")
    yield equal(erasure.gradient(erasure.moved), zero, operations=1, name="stationary with the samples moved")
    fitted = bool(np.all(erasure.point.targets == erasure.point.outputs))
    yield holds(not fitted or not np.any(erasure.point.parameters.vector() != 0), name="all fitted only if θ = 0")


@theorem.derivation
def nothing_but_the_residual():
    """One entry of θ and one sample beside the others' sum R is generic, since the gradient is a sum."""
    import sympy

    phi, t, g, other, R, w, theta = sympy.symbols("Phi t g g' R w theta")
    gradient = R + (phi - t) * g + w * theta
    yield identity(
        "a fitted sample: its term is zero, whatever ∇Φ is", sympy.expand(gradient.subs(phi, t)), R + w * theta
    )
    yield identity(
        "moved on the level set: the residual is the same zero, in front of another ∇Φ",
        sympy.expand((R + (phi - t) * other + w * theta).subs(phi, t)),
        R + w * theta,
    )
    yield identity("all fitted: R = 0 leaves w θ, and w > 0", gradient.subs({phi: t, R: 0}), w * theta)


def one_unit(error=0.0, moved=1.0, shift=0.0):
    """Φ(x) = relu(x) with the sample x = 1 of multiplier 1 and w = 1, and a further sample at x = 1."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=False))
    parameters = Parameters.from_vector(Architecture("one unit", (1,), layers, "squared"), np.ones(2))
    point = WeightDecayPoint(parameters, np.ones((1, 1)), 1.0, np.ones(1), 1.0, 1.0, shift)
    return Erasure(point, np.ones((1, 1)), np.array([error]), np.array([[moved]]))


@theorem.without(STATIONARY)
def another_target():
    return one_unit(shift=1.0)


@theorem.without(LEVEL)
def moved_off_the_level_set():
    return one_unit(moved=2.0)


@theorem.without(FITTED)
def a_sample_with_an_error():
    return one_unit(error=1.0)


@theorem.false_twin("samples may be moved anywhere", without=(LEVEL,), arithmetics=(RATIONAL,))
def anywhere(erasure):
    gradient = erasure.gradient(erasure.moved + constant(1, erasure.moved))
    return equal(gradient, 0 * gradient, operations=1, name="stationary with the samples moved off")


@theorem.false_twin("any sample may be dropped", arithmetics=(RATIONAL,))
def drop_the_first(erasure):
    point = erasure.point
    gradient = point.objective_gradient(point.points[1:], point.targets[1:])
    return equal(gradient, 0 * gradient, operations=1, name="stationary without the first sample")


@theorem.false_twin("all samples can be fitted by a nonzero stationary point", arithmetics=(RATIONAL,))
def fitted_and_alive(erasure):
    point = erasure.point
    gradient = point.objective_gradient(point.points, point.outputs)
    return equal(gradient, 0 * gradient, operations=1, name="stationary with the outputs as targets")


@theorem.false_twin("small errors may be ignored", without=(FITTED,), arithmetics=(RATIONAL,))
def nearly_fitted(erasure):
    nearly = dataclasses.replace(erasure, errors=erasure.errors + constant(2.0**-40, erasure.errors))
    gradient = nearly.gradient(nearly.extra)
    return equal(gradient, 0 * gradient, operations=1, name="stationary with errors of 2^-40")
