r"""With weight decay the parameters are a combination of the samples' tangents, with the losses' slopes as multipliers.

At a stationary point of Σ_i ℓ(Φ(θ; x_i), t_i) + (w/2)‖θ‖², w > 0,

.. math:: \theta = \sum_i c_i \nabla_\theta \Phi(\theta; x_i), \qquad c_i = -\ell'_i / w,

for any differentiable loss and any network, homogeneous or not; for the squared loss c_i = (t_i − Φ_i)/w. If Φ is homogeneous
of degree L in θ, then also w‖θ‖² = L Σ_i (t_i − Φ_i) Φ_i.

Notes
-----
The first is the stationarity condition divided by w; the second its inner product with θ, by Euler's identity
⟨θ, ∇Φ_i⟩ = L Φ_i. Unlike the multipliers of the max-margin problem, those of the squared loss have either sign: a sample
with the output above its target pulls the other way. All parameters have to decay, biases included, and with the mean of the
losses in the place of their sum the multipliers are divided by n.

Source: the general-loss variant of arXiv:2307.01827, whose wording was not read; statement and proof are derived.
"""

import dataclasses

import numpy as np

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import FLOAT64, RATIONAL
from provable.networks import Parameters, forward
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies.stationary_points import StationaryPoint
from provable.theorems.strategies.weight_decay_points import WeightDecayPoint, regression, weight_decay_points

theorem = Theorem(
    statement=r"""If \theta is stationary for \sum_i \frac12 (\Phi(\theta; x_i) - t_i)^2 + \frac{w}{2} \|\theta\|^2 with
    w > 0, then \theta = \sum_i c_i \nabla_\theta \Phi(\theta; x_i) with c_i = (t_i - \Phi(\theta; x_i)) / w; and if \Phi is
    homogeneous of degree L in \theta, then w \|\theta\|^2 = L \sum_i (t_i - \Phi(\theta; x_i)) \Phi(\theta; x_i).""",
    source=Source("arXiv:2307.01827", "general losses", "from memory; derived here"),
    expected="proved",
    does_not_say="that training with weight decay has reached a stationary point",
)

STATIONARY, HOMOGENEOUS = "stationarity", "homogeneous network"


theorem.instances(weight_decay_points(depths=(2, 1)))


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(point: WeightDecayPoint):
    return bool(np.all(point.objective_gradient(point.points, point.targets) == 0))


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(point):
    return not any(isinstance(layer, Linear) and layer.bias for layer in point.architecture.layers[1:])


@theorem.degenerate
def a_multiplier_is_zero(point):
    return bool(np.any(point.multipliers == 0))


def depth(point):
    """L, the number of layers with parameters."""
    return sum(isinstance(layer, Linear) for layer in point.architecture.layers)


def sizes(point):
    """Bounds on the terms of both identities, every number replaced by its absolute value; None for exact numbers."""
    if point.parameters.kind != "float64":
        return None, None
    absolute = point.parameters.map_numbers(np.abs)
    outputs = forward(point.architecture, absolute, np.abs(point.points))[:, 0]
    multipliers = np.abs(point.multipliers) / point.multiplier_denominator + outputs / point.decay
    positive = dataclasses.replace(point, parameters=absolute, inputs=np.abs(point.inputs))
    largest = float(np.max(positive.explained(multipliers) + absolute.vector()))
    together = point.decay * absolute.vector() @ absolute.vector() + depth(point) * point.decay * multipliers @ outputs
    return largest, float(together)


def chain(point):
    """Longest chain of roundings: sums over parameters and samples, and products through the layers."""
    return point.parameters.vector().size + len(point.multipliers) + 8 * depth(point)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def multipliers_are_residuals(point):
    missing, theta = point.targets - point.outputs, point.parameters.vector()
    largest, together = sizes(point)
    yield equal(
        point.explained(missing / point.decay), theta, operations=chain(point), magnitude=largest, name="θ = Σ c_i ∇Φ_i"
    )
    yield equal(
        point.decay * (theta @ theta),
        depth(point) * (missing @ point.outputs),
        operations=chain(point),
        magnitude=together,
        name="w ‖θ‖² = L Σ (t_i − Φ_i) Φ_i",
    )


@theorem.derivation
def condition_divided_by_the_decay():
    """Everything is linear in the samples and in the entries of θ, so two samples and two entries are generic."""
    import sympy

    theta = sympy.symbols("theta_1:3")
    gradients = [sympy.symbols(f"g_{i}_1:3") for i in (1, 2)]
    slopes, outputs, w, L = (
        sympy.symbols("l_1:3"),
        sympy.symbols("Phi_1:3"),
        sympy.Symbol("w", positive=True),
        sympy.Symbol("L"),
    )
    objective = [sum(slopes[i] * gradients[i][k] for i in (0, 1)) + w * theta[k] for k in (0, 1)]
    combination = [sum(-slopes[i] / w * gradients[i][k] for i in (0, 1)) for k in (0, 1)]
    for k in (0, 1):
        yield identity(
            f"entry {k + 1}: θ − Σ (−ℓ'_i/w) ∇Φ_i is the gradient of the objective over w",
            sympy.expand(theta[k] - combination[k]),
            sympy.expand(objective[k] / w),
        )
    f, t = sympy.symbols("f t")
    yield identity("squared loss: −ℓ' = t − f", -sympy.diff((f - t) ** 2 / 2, f), t - f)
    # Euler's identity ⟨θ, ∇Φ_i⟩ = L Φ_i (theorem foundations.euler_identity) inside ⟨θ, gradient of the objective⟩
    euler = {gradients[i][1]: (L * outputs[i] - theta[0] * gradients[i][0]) / theta[1] for i in (0, 1)}
    yield identity(
        "⟨θ, objective's gradient⟩ = w ‖θ‖² + L Σ ℓ'_i Φ_i",
        sympy.simplify(sum(theta[k] * objective[k] for k in (0, 1)).subs(euler)),
        sympy.expand(w * (theta[0] ** 2 + theta[1] ** 2) + L * sum(slopes[i] * outputs[i] for i in (0, 1))),
    )


def one_unit(*, output_bias=False):
    """Φ(x) = relu(x) (+ 1) at one sample x = 1 with multiplier 1: stationary."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=output_bias))
    architecture = Architecture("one unit", (1,), layers, "logistic")
    parameters = Parameters.from_vector(architecture, np.array([1.0, 1.0] + [1.0] * output_bias))
    return StationaryPoint(architecture, parameters, np.array([[1.0]]), 1.0, np.ones(1), np.ones(1), 1.0)


@theorem.without(STATIONARY)
def another_target():
    return regression(one_unit(), 1.0, shift=1.0)


@theorem.without(HOMOGENEOUS)
def an_output_bias():
    return regression(one_unit(output_bias=True), 1.0)


@theorem.false_twin("multipliers have the sign of the output, as for classifiers", arithmetics=(RATIONAL,))
def one_sign(point):
    missing, outputs = point.targets - point.outputs, point.outputs
    return holds(all(c * f >= 0 for c, f in zip(missing, outputs, strict=True)), name="(t_i − Φ_i) Φ_i ≥ 0")


@theorem.false_twin("the multiplier is the residual, whatever the decay", arithmetics=(RATIONAL,))
def no_decay(point):
    left = point.explained(point.targets - point.outputs)
    return equal(left, point.parameters.vector(), operations=chain(point), name="θ = Σ (t_i − Φ_i) ∇Φ_i")


@theorem.false_twin("the multiplier is the loss's slope over w, not minus that", arithmetics=(RATIONAL,))
def other_sign(point):
    left = point.explained((point.outputs - point.targets) / point.decay)
    return equal(left, point.parameters.vector(), operations=chain(point), name="θ = Σ (Φ_i − t_i)/w ∇Φ_i")


@theorem.false_twin("with the mean of the losses nothing changes", arithmetics=(RATIONAL,))
def averaged(point):
    gradient = point.objective_gradient(point.points, point.targets, reduction="mean")
    return equal(gradient, 0 * gradient, operations=chain(point), name="the mean loss with weight decay is stationary")


@theorem.false_twin(
    "biases need not decay", instances=weight_decay_points(depths=(2, 3), biased=True), arithmetics=(RATIONAL,)
)
def weights_only(point):
    gradient = point.objective_gradient(point.points, point.targets, decayed="weight")
    return equal(gradient, 0 * gradient, operations=chain(point), name="decay of the weights alone is stationary")
