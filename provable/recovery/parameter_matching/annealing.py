r"""Minimising the reconstruction loss in the row space of the first layer's change, while softplus sharpens to ReLU.

At every step of every training by gradients, the first layer's weight moves by :math:`\sum_j \delta_j x_j^T`: its change has
the samples' span as its row space. Candidates are kept there, which is an exact constraint, and fewer unknowns.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.recovery.parameter_matching.reconstruction_loss import ReconstructionLoss

Float = NDArray[np.float64]

RANK = 1e-9
"""Singular values of the first layer's change below this, relative to the largest, are rounding."""


LARGEST_WORK = 10**13
"""Operations of one minimisation, at most: some minutes."""

FEWEST_STEPS = 200
"""With fewer nothing is found, however large the network."""


@dataclasses.dataclass(frozen=True)
class Annealing:
    """A schedule.

    Parameters
    ----------
    steps : int
        Steps of Adam.
    learning_rate : float
        Size of the first steps, of coordinates and, in units of a typical one, of coefficients.
    first_sharpness, last_sharpness : float
        β grows from the first to the last, geometrically.
    constant : float
        Share of the steps after which the learning rate falls, to a hundredth at the end.
    """

    steps: int = 3000
    learning_rate: float = 0.02
    first_sharpness: float = 10.0
    last_sharpness: float = 200.0
    constant: float = 0.6

    def at(self, step: int) -> tuple[float, float]:
        """Give sharpness and learning rate of a step.

        Parameters
        ----------
        step : int
            From 0 to ``steps`` - 1.

        Returns
        -------
        sharpness, learning_rate : float
            Those of this step.
        """
        share = step / self.steps
        sharpness = self.first_sharpness * (self.last_sharpness / self.first_sharpness) ** min(1.0, 1.5 * share)
        fallen = max(0.0, share - self.constant) / (1 - self.constant)
        return float(sharpness), float(self.learning_rate * 10 ** (-2 * fallen))


def row_space(loss: ReconstructionLoss) -> Float:
    """Give an orthonormal basis of the row space of the first layer's change.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss.

    Returns
    -------
    array of shape (r, d)
        Orthonormal rows; all of space if that change was not observed.
    """
    key = loss.networks[0].keys[0][0]
    if key not in loss.target:
        return np.eye(loss.dimension)
    _, singular, rows = np.linalg.svd(loss.target[key], full_matrices=False)
    rank = int(np.count_nonzero(singular > RANK * singular[0])) if singular[0] > 0 else 0
    return np.asarray(rows[:rank])


def typical_coefficient(loss: ReconstructionLoss, points: Float) -> float:
    """Give the size of coefficients with which candidates would have the observed change's size, were they orthogonal.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss.
    points : array of shape (M, d)
        Candidates.

    Returns
    -------
    float
        ‖Δθ‖ over √M and a tangent's norm at the first few of them.
    """
    sizes = []
    unit = np.ones((1, loss.outputs)) / np.sqrt(loss.outputs)
    for point in points[:16]:
        passed = loss.networks[0].forward(point[None])
        image = loss.networks[0].embedding(passed, loss.networks[0].sensitivities(passed, unit))
        sizes.append(sum(float(np.vdot(image[key], image[key])) for key in loss.target))
    typical = float(np.sqrt(np.mean(sizes) * len(points)))
    return float(np.sqrt(loss.scale)) / typical if typical > 0 else 1.0


def fitted_coefficients(loss: ReconstructionLoss, points: Float, ridge: float = 1e-3) -> Float:
    """Fit the coefficients of given candidates, cautiously.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss of a network with one output.
    points : array of shape (M, d)
        Candidates.
    ridge : float, optional
        Penalty of the squared coefficients, relative to the mean squared norm of a tangent.

    Returns
    -------
    array of shape (number of networks, M, 1)
        The minimiser of the loss with ReLU and the penalty.
    """
    unit = np.ones((len(points), 1))
    passed = [network.forward(points) for network in loss.networks]
    deltas = [network.sensitivities(one, unit) for network, one in zip(loss.networks, passed, strict=True)]
    count = len(loss.networks) * len(points)
    gram = np.zeros((count, count))
    for layer, (weight, bias) in enumerate(loss.networks[0].keys):
        back = np.concatenate([some[layer] for some in deltas])
        ahead = np.concatenate([one.inputs[layer] for one in passed])
        # ⟨δ hᵀ, δ' h'ᵀ⟩ = ⟨δ, δ'⟩ ⟨h, h'⟩
        similarity = (ahead @ ahead.T if weight in loss.target else 0.0) + float(bias in loss.target)
        gram += (back @ back.T) * similarity
    gram[np.diag_indices(count)] += ridge * np.trace(gram) / count
    wanted = np.concatenate(
        [
            network.pairing(one, some, loss.target)[0][:, 0]
            for network, one, some in zip(loss.networks, passed, deltas, strict=True)
        ]
    )
    solution = np.linalg.lstsq(gram, wanted, rcond=None)[0]
    return np.asarray(solution).reshape(len(loss.networks), len(points), 1)


def affordable_steps(loss: ReconstructionLoss, count: int, steps: int) -> int:
    """Shorten a schedule for large networks.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss.
    count : int
        Number of candidates M.
    steps : int
        Steps wanted.

    Returns
    -------
    int
        As many as stay within `LARGEST_WORK` operations, but `FEWEST_STEPS` at least (or the number wanted).
    """
    # Six products of every candidate with every weight per step: forwards, backwards, embedding, and the gradient of these.
    per_step = 12 * count * sum(weight.size for network in loss.networks for weight in network.weights)
    return min(steps, max(FEWEST_STEPS, LARGEST_WORK // max(1, per_step)))


def annealed(
    loss: ReconstructionLoss, points: Float, coefficients: Float, schedule: Annealing
) -> tuple[Float, Float, float]:
    """Minimise the loss from given candidates, inside the row space.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss.
    points : array of shape (M, d)
        The first candidates, in the row space or not.
    coefficients : array of shape (number of networks, M, C)
        Their coefficients.
    schedule : Annealing
        What to do.

    Returns
    -------
    points : array of shape (M, d)
        The last candidates, in the row space.
    coefficients : array of shape (number of networks, M, C)
        Their coefficients.
    value : float
        The loss there at the last sharpness, relative to ‖Δθ‖².
    """
    basis = row_space(loss)
    inside = loss.in_coordinates(basis)
    unit = typical_coefficient(loss, points)
    values = [points @ basis.T, coefficients / unit]
    means = [np.zeros_like(one) for one in values]
    squares = [np.zeros_like(one) for one in values]
    for step in range(schedule.steps):
        sharpness, rate = schedule.at(step)
        _, by_points, by_coefficients = inside.value_and_gradient(values[0], unit * values[1], sharpness)
        for index, gradient in enumerate((by_points, unit * by_coefficients)):
            means[index] += 0.1 * (gradient - means[index])
            squares[index] += 0.001 * (gradient * gradient - squares[index])
            size = np.sqrt(squares[index] / (1 - 0.999 ** (step + 1)))
            # Where nothing ever moved there is nothing to divide.
            moved = means[index] / (1 - 0.9 ** (step + 1))
            values[index] = values[index] - rate * np.divide(moved, size, out=np.zeros_like(moved), where=size > 0)
    found, weights = values[0] @ basis, unit * values[1]
    return found, weights, loss.value(found, weights, schedule.last_sharpness) / loss.scale
