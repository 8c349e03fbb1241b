r"""The recursion of R-GAP: from the input of one layer to that of the layer before, down to the sample.

From :math:`x_{i+1} = s(z_i)` and :math:`\partial L/\partial x_{i+1}` follow :math:`z_i = s^{-1}(x_{i+1})` and
:math:`D_i = s'(z_i) \odot \partial L/\partial x_{i+1}`; then :math:`W_i x_i = z_i - b_i` and
:math:`K(D_i)\, x_i = \mathrm{vec}\, \partial L/\partial W_i` are solved for :math:`x_i`, and
:math:`\partial L/\partial x_i = W_i^T D_i`.

Three departures from the published algorithm. What no solution of a layer's system determines is not used further down if
it cannot matter there: an entry with gradient zero (a pixel that no window sees, say) has sensitivity zero whatever its
value, and its equation is dropped. Rows of W count in proportion to s', because an error of x is one of s⁻¹(x) divided by
it. And if solutions of a deficient system lead to different answers further down, the layer in front of it is solved
together with it (`joint`).

References
----------
J. Zhu and M. Blaschko, R-GAP: Recursive gradient attack on privacy, ICLR 2021, Algorithm 1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from provable.architectures import Activation, AvgPool2d, Conv2d, Flatten, Layer, Linear, ReLU
from provable.architectures.fields import Shape
from provable.networks.layers import pull_back
from provable.observations import Observation
from provable.recovery.layerwise.anchors import Anchor
from provable.recovery.layerwise.inequalities import within
from provable.recovery.layerwise.inverses import invert
from provable.recovery.layerwise.joint import LayerInFront, Opening, solve_jointly
from provable.recovery.layerwise.least_squares import Solution, solve
from provable.recovery.layerwise.system import System, forward_matrix, gradient_block, gradient_columns

Float = NDArray[np.float64]

PATIENCE = 1e-4
"""A candidate that misses a layer's equations by more, relatively, is given up while there are others."""


@dataclasses.dataclass(frozen=True)
class Step:
    """What solving one layer's system was like.

    Parameters
    ----------
    index : int
        Position of the layer in the architecture.
    type : str
        Its type.
    unknowns : int
        Entries of its input.
    equations : int
        Rows of the system that were used.
    rank : int
        Numerical rank of the system.
    smallest, dropped : float
        Smallest singular value that counts and largest one that does not, relative to the largest of all.
    misfit : float
        Residual of the system relative to its right side.
    assumed : bool
        Whether the minimum-norm solution was used further down although other solutions lead elsewhere.
    joint : bool
        Whether it was solved together with the deficient layer behind it.
    error : float or None
        Difference between the input found here and the one that the recovered sample gives in a forward evaluation,
        relative to the latter; None if there is no such evaluation.
    """

    index: int
    type: str
    unknowns: int
    equations: int
    rank: int
    smallest: float
    dropped: float
    misfit: float
    assumed: bool = False
    joint: bool = False
    error: float | None = None

    @property
    def nullity(self) -> int:
        """How many equations the system is short of."""
        return self.unknowns - self.rank

    @property
    def condition(self) -> float:
        """Largest singular value by the smallest that counts."""
        return 1 / self.smallest if self.smallest else math.inf

    @property
    def gap(self) -> float:
        """Smallest singular value that counts by the largest that does not; infinite for full rank."""
        return self.smallest / self.dropped if self.dropped else math.inf


@dataclasses.dataclass(frozen=True, eq=False)
class Descent:
    """How far the recursion came from one anchor.

    Parameters
    ----------
    anchor : Anchor
        Where it started.
    inputs : array of input_shape or None
        The sample; None if it was given up.
    steps : tuple of Step
        From the last layer to the first.
    states : dict of int to array
        Inputs of the layers by position, not a number where undetermined.
    """

    anchor: Anchor
    inputs: Float | None
    steps: tuple[Step, ...]
    states: dict[int, Float]

    @property
    def worst_misfit(self) -> float:
        """Largest misfit of a step."""
        return max((step.misfit for step in self.steps), default=0.0)


@dataclasses.dataclass(eq=False)
class _State:
    """Between two layers: values where `known`, gradients, and sizes of the slopes passed since the last weights."""

    values: Float
    known: NDArray[np.bool_]
    gradient: Float
    slopes: Float

    def reshaped(self, shape: Shape) -> _State:
        return _State(
            self.values.reshape(shape),
            self.known.reshape(shape),
            self.gradient.reshape(shape),
            self.slopes.reshape(shape),
        )


Correction = Callable[[int, Solution, System], Float]
"""``correct(index, solution, system)`` gives what is to be taken for a layer's input, an array of any shape."""


def descend(
    observation: Observation,
    anchor: Anchor,
    *,
    patience: float = PATIENCE,
    joint: bool = True,
    correct: Correction | None = None,
) -> Descent:
    """Run the recursion from an anchor to the sample.

    Parameters
    ----------
    observation : Observation
        A gradient in a chain that `provable.recovery.layerwise.method.supports` accepts.
    anchor : Anchor
        The known layer.
    patience : float
        Give up at a layer whose relative misfit is larger.
    joint : bool
        Whether a deficient layer may be solved together with the one in front.
    correct : callable, optional
        Applied to the solution of every convolution and pooling; what it gives is taken for the layer's input.

    Returns
    -------
    Descent
        With every step.
    """
    architecture, count = observation.architecture, len(anchor.inputs)
    state = _State(anchor.inputs, np.ones(count, dtype=np.bool_), anchor.gradient, np.ones(count))
    states = {anchor.index: anchor.inputs}
    steps: list[Step] = []
    opening: Opening | None = None
    first = min((index for index, layer in enumerate(architecture.layers) if _solved(layer)), default=-1)
    for index in reversed(range(anchor.index)):
        layer, shape = architecture.layers[index], architecture.shapes[index]
        if isinstance(layer, Flatten):
            state = state.reshaped(shape)
        elif (
            isinstance(layer, Conv2d | Linear)
            and opening is not None
            and joint
            and (together := _solved_together(observation, index, shape, state, opening))
        ):
            state, step = together
            # What the deficient layer left open is closed now.
            steps = [dataclasses.replace(other, assumed=other.assumed and other is not steps[-1]) for other in steps]
            steps.append(step)
            opening = None
        elif isinstance(layer, Activation):
            inverse = invert(layer, state.values)
            opening = None if opening is None else opening.behind(layer)
            state = _State(
                inverse.values,
                state.known & inverse.known,
                inverse.slopes * state.gradient,
                np.abs(inverse.slopes) * state.slopes,
            )
        else:
            state, step, opening = _solved_layer(observation, index, shape, state, index <= first, correct)
            steps.append(step)
            if not (np.all(np.isfinite(state.values)) and step.misfit <= patience):
                return Descent(anchor, None, tuple(steps), states)
        states[index] = np.where(state.known, state.values, np.nan)
    return Descent(anchor, state.values.reshape(architecture.input_shape), tuple(steps), states)


def _solved(layer: Layer) -> bool:
    return isinstance(layer, Linear | Conv2d | AvgPool2d)


def _solved_layer(
    observation: Observation, index: int, shape: Shape, state: _State, is_first: bool, correct: Correction | None
) -> tuple[_State, Step, Opening | None]:
    layer = observation.architecture.layers[index]
    weight = observation.parameters.get(f"{index}/weight")
    values = state.values
    bias = observation.parameters.get(f"{index}/bias")
    if bias is not None:
        values = values - bias.reshape(-1, *(1,) * (values.ndim - 1))
    gradient = observation.vector.get(f"{index}/weight")
    if isinstance(layer, Linear) and gradient is not None and np.any(state.gradient):
        assert weight is not None
        solution, equations = _linear(weight, gradient, values, state), weight.size + len(weight)
    else:
        system = _system(layer, weight, gradient, shape, dataclasses.replace(state, values=values))
        system = dataclasses.replace(system, size=float(np.linalg.norm(_weights(state) * state.values[_used(state)])))
        inactive = (state.slopes == 0) if _is_cut(observation, index) else np.zeros(values.shape, dtype=np.bool_)
        wants_basis = (not is_first or bool(np.any(inactive))) and correct is None
        solution, equations = solve(system, null_space=wants_basis), system.equations
        if is_first and solution.null is not None and np.any(inactive):
            rows = _forward(layer, weight, shape)[np.flatnonzero(inactive)]
            solution = dataclasses.replace(solution, values=within(solution, rows, values[inactive]))
        if correct is not None:
            guess = correct(index, solution, system).ravel()
            solution = dataclasses.replace(solution, values=guess, determined=np.ones(guess.shape, dtype=np.bool_))
    found = solution.values.reshape(shape)
    below = pull_back(layer, str(index), observation.parameters, found[None], state.gradient[None])[0]
    # Undetermined entries without a gradient do not matter further down, whatever they are.
    open_entries = ~solution.determined.reshape(shape)
    matters = open_entries & (below != 0)
    step = Step(
        index=index,
        type=layer.type,
        unknowns=found.size,
        equations=equations,
        rank=solution.rank,
        smallest=solution.smallest,
        dropped=solution.dropped,
        misfit=solution.misfit,
        assumed=not is_first and bool(np.any(matters)),
    )
    known = np.ones(shape, dtype=np.bool_) if is_first else ~(open_entries & (below == 0))
    opening = None
    basis = solution.rows if solution.null is None else solution.null
    if step.assumed and basis is not None:
        used = np.any(basis != 0, axis=1) | solution.determined
        opening = Opening(solution.values, solution.null, solution.rows, used, below.ravel())
    return _State(found, known, below, np.ones(shape)), step, opening


def _solved_together(
    observation: Observation, index: int, shape: Shape, state: _State, opening: Opening
) -> tuple[_State, Step] | None:
    layer = observation.architecture.layers[index]
    weight = observation.parameters[f"{index}/weight"]
    outputs = observation.architecture.shapes[index + 1]
    bias = observation.parameters.get(f"{index}/bias", np.zeros(len(weight)))
    gradient = observation.vector.get(f"{index}/weight")
    matrix, columns = _forward(layer, weight, shape), np.zeros((0, shape[0]))
    if gradient is not None:
        columns = gradient_columns(gradient) if isinstance(layer, Conv2d) else gradient

    def block(sensitivity: Float) -> Float:
        if gradient is None:
            return np.zeros((0, math.prod(shape[1:])))
        if isinstance(layer, Conv2d):
            return gradient_block(layer, sensitivity.reshape(outputs), shape)
        return sensitivity[:, None]

    front = LayerInFront(matrix, np.repeat(bias, math.prod(outputs[1:])), columns, block)
    solution = solve_jointly(opening, front, state.values.ravel())
    if solution is None:
        return None
    found = solution.values.reshape(shape)
    # The sensitivity follows from the pre-activations of the solution.
    slopes = opening.through(matrix @ solution.values + front.bias)[1]
    sensitivity = (slopes * opening.gradient).reshape(outputs)
    below = pull_back(layer, str(index), observation.parameters, found[None], sensitivity[None])[0]
    step = Step(
        index=index,
        type=layer.type,
        unknowns=found.size,
        equations=opening.equations + columns.size,
        rank=solution.rank,
        smallest=solution.smallest,
        dropped=0.0,
        misfit=solution.misfit,
        joint=True,
    )
    # What no equation sees has no gradient either, so it does not matter further down.
    return _State(found, solution.determined.reshape(shape), below, np.ones(shape)), step


def _is_cut(observation: Observation, index: int) -> bool:
    """Whether a ReLU follows a layer immediately."""
    layers = observation.architecture.layers
    return index + 1 < len(layers) and isinstance(layers[index + 1], ReLU)


def _forward(layer: Layer, weight: Float | None, shape: Shape) -> Any:
    if isinstance(layer, Conv2d | AvgPool2d):
        return forward_matrix(layer, weight, shape)
    assert weight is not None
    return scipy.sparse.csr_array(weight)


def _used(state: _State) -> NDArray[np.bool_]:
    """Entries of a layer's output whose equations count."""
    return np.asarray(state.known & (state.slopes > 0))


def _weights(state: _State) -> Float:
    """How much they count: in proportion to the slopes behind, the largest being 1."""
    slopes = state.slopes[_used(state)]
    return slopes / np.max(slopes, initial=np.finfo(np.float64).tiny)


def _system(layer: Layer, weight: Float | None, gradient: Float | None, shape: Shape, state: _State) -> System:
    used, weights = _used(state).ravel(), _weights(state)
    channels, pixels = shape[0], math.prod(shape[1:])
    matrix = _forward(layer, weight, shape)
    block, columns = np.zeros((0, pixels)), np.zeros((0, channels))
    if isinstance(layer, Conv2d) and gradient is not None:
        block, columns = gradient_block(layer, state.gradient, shape), gradient_columns(gradient)
    rows = scipy.sparse.diags_array(weights).tocsr() @ matrix[np.flatnonzero(used)]
    return System(scipy.sparse.csr_array(rows), weights * state.values.ravel()[used], block, columns)


def _linear(weight: Float, gradient: Float, values: Float, state: _State) -> Solution:
    """Divide the rank-one gradient of a linear layer by its known sensitivity."""
    sensitivity = state.gradient / np.max(np.abs(state.gradient))
    scaled = gradient / np.max(np.abs(state.gradient))
    found = (scaled.T @ sensitivity) / (sensitivity @ sensitivity)
    used, weights = _used(state), _weights(state)
    forward = _relative(weights * (weight[used] @ found - values[used]), weights * values[used])
    backward = _relative(scaled - np.outer(sensitivity, found), scaled)
    size = len(found)
    return Solution(found, size, np.ones(size, dtype=np.bool_), 1.0, 0.0, max(forward, backward))


def _relative(difference: Float, whole: Float) -> float:
    size = float(np.linalg.norm(whole))
    return float(np.linalg.norm(difference)) / size if size else 0.0
