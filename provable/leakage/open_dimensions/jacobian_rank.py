r"""A lower bound of the generic rank of x ↦ all gradients, by its rank modulo a prime at one random point.

Let J = ∂²L/∂θ∂x be the derivative of the map from one input to all parameter gradients. A row wᵀJ is the derivative of ∂L/∂x
along the change w of the parameters, so one pass forward and back with tangents gives it
(`modular_tangents`), and as many random w as J may have rank give rows of the same rank.

Polynomial form. Values, slopes and curvatures of the activations are polynomials in the pre-activation z and in values t
that are transcendental: t = tanh z has the slope 1 - t² and the curvature -2t (1 - t²); t = 1/(1 + exp(-z)) has t (1 - t)
and t (1 - t) (1 - 2t); softplus has the slope t and SiLU the value z t with the same t; ELU has α exp z; erf and GELU the
normal distribution and its density, whose derivative is -z times itself up to scaling. The loss adds softmax probabilities
or the logistic function of the output. So the rows are polynomials with rational coefficients, whose denominators the
prime does not divide, in parameters, input, label, w and the values t.

Proof of the bound. A minor that is not zero modulo p at one point, *with arbitrary residues in place of the values t*, is
not the zero polynomial. If the values t are algebraically independent of all else (`free_values` proves it
or refuses), then the minor is not the zero function, so it vanishes on a null set only, because it is analytic. Hence the
rank of J is at least the rank modulo p outside a null set. That w = u vᵀ for every weight matrix loses nothing: such w span
the parameter space and form an irreducible variety, so as many generic ones are as independent under J as any.

Piecewise activations and maxima. All of this is true of the analytic function that equals the network on a cell, a nonempty
open set (`activation_cells`). So the bound holds almost everywhere in that cell, and this is all that is
said: other cells can have other ranks, for instance where two channels never change sign.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from provable.architectures import Architecture, Linear
from provable.errors import InputError, UnsupportedError
from provable.leakage.open_dimensions.activation_cells import Cell, find_cell, is_piecewise
from provable.leakage.open_dimensions.balanced_residues import PRIME, Draws, Residues, rank, reduce_in_place, residue
from provable.leakage.open_dimensions.free_values import check_free_values
from provable.leakage.open_dimensions.modular_tangents import ChainStep, step_of

LARGEST_MEMORY = 2 * 10**9
"""Bytes that the computation may take."""

LARGEST_WORK = 2 * 10**12
"""Multiplications of the longest computation that is begun (some minutes)."""

_CHUNK_MEMORY = 2 * 10**8
_WIDEST_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class JacobianRank:
    """A proved lower bound of the rank of the derivative of x ↦ all gradients.

    Parameters
    ----------
    value : int
        The rank is at least this almost everywhere, for piecewise networks almost everywhere in one open cell.
    unknowns : int
        Size of the input.
    prime : int
        The modulus.
    seed : int
        Seed of the witness.
    how : str
        The argument.
    assumptions : tuple of str
        What the bound is restricted to; empty if it holds for all parameters, inputs and labels outside a null set.
    """

    value: int
    unknowns: int
    prime: int
    seed: int
    how: str
    assumptions: tuple[str, ...]

    @property
    def nullity(self) -> int:
        """At most so many dimensions of the input change no gradient to first order: an upper bound of N*."""
        return self.unknowns - self.value


@dataclasses.dataclass(frozen=True)
class JacobianRefusal:
    """Why the rank was not bounded.

    Parameters
    ----------
    reason : str
        In a sentence.
    memory : int or None
        Bytes that the computation would take; None if it was not planned.
    """

    reason: str
    memory: int | None = None


def jacobian_rank(
    architecture: Architecture, *, seed: int = 0, target: int | None = None
) -> JacobianRank | JacobianRefusal:
    """Bound the generic rank of the derivative of x ↦ all gradients of one sample from below.

    Parameters
    ----------
    architecture : Architecture
        The network. Batch norm is in evaluation mode with generic statistics.
    seed : int
        Seed of the witness.
    target : int, optional
        A proved upper bound of the rank: no more rows than this are computed.

    Returns
    -------
    JacobianRank or JacobianRefusal
        The bound, or why there is none: a layer that is not supported, or too much memory or work.

    Raises
    ------
    InputError
        If `seed` or `target` is no nonnegative integer.
    """
    for name, value in (("seed", seed), ("target", 0 if target is None else target)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise InputError(f"{name}: found {str(value)[:40]!r}; a nonnegative integer is accepted")
    unknowns = architecture.input_size
    rows = min(unknowns, architecture.parameter_count, unknowns if target is None else int(target))
    matrix = 16 * rows * unknowns + 32 * architecture.parameter_count
    if matrix > LARGEST_MEMORY:
        reason = (
            f"{rows} rows of {unknowns} derivatives and {architecture.parameter_count} parameters need {matrix} bytes"
        )
        return JacobianRefusal(reason, matrix)
    plan = step_of(architecture.layers, architecture.input_shape, Draws(int(seed)), None)
    chunk = max(1, min(_WIDEST_CHUNK, rows, _CHUNK_MEMORY // _bytes_per_direction(plan)))
    memory = matrix + chunk * _bytes_per_direction(plan)
    work = rows * plan.multiplications + rows**2 * unknowns
    if memory > LARGEST_MEMORY or work > LARGEST_WORK:
        reason = f"{rows} rows of {unknowns} derivatives need {memory} bytes and {work} multiplications"
        return JacobianRefusal(reason, memory)
    cell = find_cell(architecture, seed=int(seed)) if is_piecewise(architecture) else None
    if cell is None and is_piecewise(architecture):
        return JacobianRefusal("rounding leaves open on which side of a kink a unit is, at every point that was tried")
    try:
        check_free_values(architecture, cell)
    except UnsupportedError as error:
        return JacobianRefusal(str(error))
    draws = Draws(int(seed))
    step = step_of(architecture.layers, architecture.input_shape, draws, cell)
    found = rank(_rows(architecture, step, draws, rows, chunk), target) if rows else 0
    return JacobianRank(found, unknowns, PRIME, int(seed), _how(cell, seed), _assumptions(architecture, cell))


def _bytes_per_direction(step: ChainStep) -> int:
    return 8 * (1 + step.numbers_kept + step.numbers_in_use)


def _rows(architecture: Architecture, step: ChainStep, draws: Draws, rows: int, chunk: int) -> Residues:
    """Random combinations of the rows of J, (rows, input size)."""
    outputs = step.forward(draws.residues(architecture.input_size))
    sensitivity, curvature = _loss(architecture.loss, outputs, draws)
    step.backward(sensitivity)
    result = np.empty((rows, architecture.input_size))
    for start in range(0, rows, chunk):
        count = min(chunk, rows - start)
        tangents = step.push(None, draws, count)
        moved = (
            np.zeros((architecture.output_size, count)) if tangents is None else reduce_in_place(curvature @ tangents)
        )
        result[start : start + count] = step.pull(moved).T
    return result


def _loss(loss: str, outputs: Residues, draws: Draws) -> tuple[Residues, Residues]:
    """First and second derivative of the loss with respect to the outputs."""
    size = len(outputs)
    if loss == "squared":
        return reduce_in_place(outputs - draws.residues(size)), np.eye(size)
    if loss == "logistic":
        other = draws.residues(1)  # 1 / (1 + exp(y f)), for y = 1
        return -other, reduce_in_place(other * (1 - other))[:, None]
    chances = draws.residues(size)
    chances[0] = residue(1 - int(chances[1:].sum()))
    curvature = np.diag(chances) - reduce_in_place(np.multiply.outer(chances, chances))
    return reduce_in_place(chances - np.eye(size)[0]), reduce_in_place(curvature)


def _how(cell: Cell | None, seed: int) -> str:
    where = "with free values of the transcendental functions"
    if cell is not None:
        where += ", on the cell of a point whose signs float64 decides with certainty"
    return f"rank modulo {PRIME} at a random point (seed {seed}) {where}"


def _assumptions(architecture: Architecture, cell: Cell | None) -> tuple[str, ...]:
    found = []
    if cell is not None:
        found.append(
            "parameters and inputs in one open cell, in which no unit crosses the kink of its activation and no window of a "
            "maximum pooling changes its winner; other cells can have other ranks"
        )
    if architecture.loss == "squared":
        found.append("a generic label of the squared loss")
    elif not isinstance(architecture.layers[-1], Linear):  # whose outputs can be renamed and change their signs
        label = "0 of the cross entropy" if architecture.loss == "cross_entropy" else "1 of the logistic loss"
        found.append(f"the label {label}")
    return tuple(found)
