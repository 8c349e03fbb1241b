r"""What the neurons of a two-layer network with a polynomial activation say of a measure on its inputs.

With θ = Σ_i c_i ∇_θ f(x_i; θ), f(x) = Σ_k v_k φ(w_k·z), z = x or (x, 1), and P(w) = Σ_i c_i φ(w·z_i), every neuron shows
P(w_k) = v_k and v_k ∇P(w_k) = w_k.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Activation, Polynomial
from provable.observations import Observation
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.stationary_point.polynomial_moments import MomentSolution, MomentSystem, solved
from provable.symmetries import scaling_name

Float = NDArray[np.float64]

SPAN_LEVEL = 1e-9
"""Singular values of the neurons below this multiple of the largest are those of no further direction."""

SAME = 1e-6
"""Neurons that differ by less than this, relative to their norm, count as one; equal ones of a trained network do by 1e-9."""


@dataclasses.dataclass(frozen=True, eq=False)
class Neurons:
    """The neurons that are not zero, and what each says of P.

    Parameters
    ----------
    inner : array of shape (k, r)
        w_k in coordinates of the span, over `scale`.
    outer : array of shape (k,)
        v_k.
    values : array of shape (k,)
        P(w_k), the observed piece of the last layer.
    gradients : array of shape (k, r)
        v_k ∇P(w_k) by the coordinates, the observed piece of the first layer.
    basis : array of shape (e, r)
        Orthonormal basis of the span or a larger space, e = d or d + 1; with a bias its first column is along the bias' own
        axis as seen there.
    scale : float
        Median norm of the w_k, by which they were divided.
    anchored : float
        Norm of the linear form in the coordinates that is one on all z_i; 0 without a bias.
    mass : float or None
        Σ_i c_i, if the last layer has a bias.
    activation : tuple of float
        a_0, …, a_p with a_p ≠ 0.
    """

    inner: Float
    outer: Float
    values: Float
    gradients: Float
    basis: Float
    scale: float
    anchored: float
    mass: float | None
    activation: tuple[float, ...]

    @classmethod
    def of(cls, observation: Observation, samples: int | None = None) -> Neurons | None:
        """Read the neurons.

        Parameters
        ----------
        observation : Observation
            One that `supports` accepts.
        samples : int, optional
            A number of samples to work with. If the span of the neurons has fewer dimensions, coordinates are those of a
            larger space: as many dimensions, and with a bias one more, which holds the axis of the bias. It need not hold
            the samples, but some that explain as much, since an isometry that fixes the neurons (and that axis) moves them
            there.

        Returns
        -------
        Neurons or None
            None if all are zero, or the bias of all is zero in a layer with one.
        """
        chain = FullyConnected.of(observation)
        first, last = chain.layers
        gradient, values = first.gradient, last.weight_gradient
        assert gradient is not None and values is not None
        inner = first.weight if first.bias is None else np.column_stack([first.weight, first.bias])
        norms = np.linalg.norm(inner, axis=1)
        alive = (norms > 0) & (norms > SAME * np.max(norms, initial=0.0))
        if not np.any(alive):
            return None
        inner, norms = inner[alive], norms[alive]
        _, singular, right = np.linalg.svd(inner / norms[:, None], full_matrices=False)
        basis = right[singular > SPAN_LEVEL * singular[0]].T
        if samples is not None and samples > basis.shape[1]:
            axes = np.eye(len(basis))
            more = axes if first.bias is None else axes[:, ::-1]
            size = min(samples + int(first.bias is not None), len(basis))
            whole = _completed(basis, more)
            basis = whole[:, :size]
        scale, anchored = float(np.median(norms)), 0.0
        if first.bias is not None:
            form = basis[-1]
            anchored = float(np.linalg.norm(form)) / scale
            if np.linalg.norm(form) <= SPAN_LEVEL:
                return None
            basis = basis @ np.linalg.qr(np.column_stack([form, np.eye(len(form))]))[0]
            basis = basis * np.where(basis[-1] < 0, -1.0, 1.0)
        return cls(
            inner @ basis / scale,
            last.weight[0, alive],
            values[0, alive],
            scale * gradient[alive] @ basis,
            basis,
            scale,
            anchored,
            None if last.bias_gradient is None else float(last.bias_gradient[0]),
            trimmed(first.activation),
        )

    @property
    def system(self) -> MomentSystem:
        """The moments that are unknown."""
        total = not self.anchored and (self.mass is not None or self.activation[0] != 0)
        return MomentSystem(self.activation, self.inner.shape[1], self.anchored, total)

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Symmetries of single atoms that no neuron sees, as words of a fibre."""
        degrees = [int(degree) for degree in np.flatnonzero(self.activation)]
        if self.anchored:
            return ()
        scaling = (scaling_name(degrees[0]),) if len(degrees) == 1 else ()
        if len({degree % 2 for degree in degrees}) > 1:
            return scaling
        return (*scaling, "joint-sign" if degrees[0] % 2 else "point-sign")

    @property
    def distinct(self) -> int:
        """How many neurons differ, where w and -w are not told apart by even and odd activations."""
        degrees = {int(degree) % 2 for degree in np.flatnonzero(self.activation)}
        signs = (1.0,) if len(degrees) > 1 else (1.0, -1.0)
        found: list[Float] = []
        for vector in self.inner:
            size = SAME * float(np.linalg.norm(vector))
            if not any(np.linalg.norm(vector - sign * other) <= size for other in found for sign in signs):
                found.append(vector)
        return len(found)

    @property
    def freedoms(self) -> int:
        """Unknowns of one sample: coordinates and coefficient, without the scale where it is open."""
        return int(self.inner.shape[1]) + int(not self.anchored and np.count_nonzero(self.activation) > 1)

    def moments(self) -> MomentSolution:
        """Solve for the moments.

        Returns
        -------
        MomentSolution
            Moments of least norm, and how many are open.
        """
        system = self.system
        values, gradients = system.rows(self.inner)
        matrix = [values, (self.outer[:, None, None] * gradients).reshape(-1, system.unknowns)]
        right = [self.values, self.gradients.reshape(-1)]
        if self.mass is not None:
            matrix.append(system.mass()[None])
            right.append(np.array([self.mass]))
        return solved(np.concatenate(matrix), np.concatenate(right))

    def lifted(self, points: Float) -> Float:
        """Give points in the coordinates of the input.

        Parameters
        ----------
        points : array of shape (n, r)
            In those of `inner`.

        Returns
        -------
        array of shape (n, d)
            x_i, without the entry of the bias.
        """
        inputs: Float = points @ self.basis.T / self.scale
        return inputs[:, :-1] / inputs[:, -1:] if self.anchored else inputs


def _completed(basis: Float, more: Float) -> Float:
    """Orthonormal columns: those given, then what more ones add to their span, in their order."""
    columns = list(basis.T)
    for vector in more.T:
        rest = vector
        for _ in range(2):  # the second pass removes what rounding left of the first
            for column in columns:
                rest = rest - (column @ rest) * column
        length = float(np.linalg.norm(rest))
        if length > SPAN_LEVEL:
            columns.append(rest / length)
    return np.array(columns).T


def trimmed(activation: Activation) -> tuple[float, ...]:
    """Give the coefficients of a polynomial without zeros behind the last one that is not.

    Parameters
    ----------
    activation : Activation
        φ.

    Returns
    -------
    tuple of float
        a_0, …, a_p with a_p ≠ 0; empty for zero and for another activation than a polynomial.
    """
    numbers = activation.coefficients if isinstance(activation, Polynomial) else ()
    degrees = np.flatnonzero(numbers)
    return tuple(float(number) for number in numbers[: degrees[-1] + 1]) if len(degrees) else ()
