r"""The gradient of a network with one hidden layer, as equations for the samples of a batch and their coefficients.

For :math:`f(x) = A\,\sigma(Wx + b) + b_2` and samples :math:`x_i` with coefficients :math:`c_i \in R^p`, in the order of the
rows here,

.. math::
    \frac{\partial L}{\partial A} = \sum_i c_i\,\sigma(z_i)^T, \quad
    \frac{\partial L}{\partial b_2} = \sum_i c_i, \quad
    \frac{\partial L}{\partial W} = \sum_i (A^T c_i \circ \sigma'(z_i))\, x_i^T, \quad
    \frac{\partial L}{\partial b} = \sum_i A^T c_i \circ \sigma'(z_i), \qquad z_i = W x_i + b.

All are linear in the coefficients: their matrix is the `Equations.design`.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray

from provable.architectures import GELU, Activation, LeakyReLU, Polynomial, ReLU, Sigmoid, SiLU, Softplus
from provable.networks import activations
from provable.recovery.batch.chain import FullyConnected, is_odd, numerical_rank

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Reflection:
    """What turning a sample around does to an activation.

    Parameters
    ----------
    odd : bool
        If true, σ(-z) = k - σ(z); otherwise σ(-z) = σ(z) - k z.
    amount : float
        k.
    """

    odd: bool
    amount: float

    @property
    def free(self) -> str:
        """The unknown of `Equations.free` that takes up the difference."""
        if self.amount == 0:
            return "nothing"
        return "constant" if self.odd else "linear"


@dataclasses.dataclass(frozen=True, eq=False)
class Equations:
    """Known matrices and observed pieces, each piece divided by its norm.

    Parameters
    ----------
    weight : array of shape (m, d)
        W.
    bias : array of shape (m,) or None
        b.
    activation : Activation
        σ.
    head : array of shape (p, m)
        A.
    output_weight, output_bias, hidden_weight, hidden_bias : array or None
        The observed gradients of A (p, m), b₂ (p,), W (m, d) and b (m,); None where nothing was observed.
    unit_norm : bool
        Whether samples are sought on the unit sphere: they are known to have norm 1, or their norm is open.
    norm_open : bool
        Whether (t x, c / t) has the same image as (x, c) for t > 0, but for the gradient of b₂.
    free : {"nothing", "constant", "linear"}
        What is added to the equations as an unknown, for each output, so that a sample and its negative are the same to them:
        a constant in the gradient of A, or the gradients that a linear function in place of σ would have. See `Reflection`.
    """

    weight: Float
    bias: Float | None
    activation: Activation
    head: Float
    output_weight: Float | None
    output_bias: Float | None
    hidden_weight: Float | None
    hidden_bias: Float | None
    unit_norm: bool = False
    norm_open: bool = False
    free: str = "nothing"

    @classmethod
    def of(cls, network: FullyConnected, unit_norm: bool) -> Equations:
        """Read a network with one hidden layer and its observed gradient.

        Parameters
        ----------
        network : FullyConnected
            Of two layers, the second without an activation.
        unit_norm : bool
            Whether the samples are known to have norm 1.

        Returns
        -------
        Equations
            With the outputs in orthonormal coordinates of the column space of the gradient of A if its rank is not full:
            every c_i lies there, the σ(z_i) of so few samples being independent. The norm of samples is fixed also where it
            is open.
        """
        first, last = network.layers
        head, output_weight, output_bias = last.weight, last.weight_gradient, last.bias_gradient
        rank = 1 if output_weight is None else max(1, numerical_rank(output_weight))
        if output_weight is not None and rank < min(output_weight.shape):
            basis = np.linalg.svd(output_weight, full_matrices=False)[0][:, :rank]
            head, output_weight = basis.T @ head, basis.T @ output_weight
            output_bias = None if output_bias is None else basis.T @ output_bias
        norm_open = not unit_norm and first.bias is None and isinstance(first.activation, ReLU | LeakyReLU)
        return cls(
            first.weight,
            first.bias,
            first.activation,
            head,
            output_weight,
            output_bias,
            first.weight_gradient,
            first.bias_gradient,
            unit_norm=unit_norm or norm_open,
            norm_open=norm_open,
        )

    @property
    def outputs(self) -> int:
        """Number of entries p of a coefficient."""
        return len(self.head)

    @property
    def dimension(self) -> int:
        """Number of entries d of a sample."""
        return int(self.weight.shape[1])

    @property
    def constants(self) -> int:
        """Number of unknowns beside samples and coefficients."""
        return {"nothing": 0, "constant": self.outputs, "linear": self.outputs * self.dimension}[self.free]

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether σ'' vanishes, so that the gradients of W and b say little about nearby samples."""
        return isinstance(self.activation, ReLU | LeakyReLU)

    @property
    def reflection(self) -> Reflection | None:
        """What a sample's sign does, None if nothing simple or if the hidden layer has a bias."""
        activation = self.activation
        if self.bias is not None:
            return None
        if isinstance(activation, Softplus | GELU | SiLU | ReLU):
            return Reflection(odd=False, amount=1.0)
        if isinstance(activation, LeakyReLU):
            return Reflection(odd=False, amount=1.0 + activation.negative_slope)
        if isinstance(activation, Sigmoid):
            return Reflection(odd=True, amount=1.0)
        if isinstance(activation, Polynomial):
            constant, slope = (*activation.coefficients, 0.0, 0.0)[:2]
            if not any(activation.coefficients[2::2]):
                return Reflection(odd=True, amount=2 * constant)
            return Reflection(odd=False, amount=2 * slope) if not any(activation.coefficients[3::2]) else None
        return Reflection(odd=True, amount=0.0) if is_odd(activation) else None

    @property
    def is_even(self) -> bool:
        """Whether σ(-z) = σ(z) and nothing breaks the tie, so that samples are known up to their sign."""
        polynomial = isinstance(self.activation, Polynomial) and not any(self.activation.coefficients[1::2])
        return polynomial and self.bias is None

    @property
    def size(self) -> int:
        """Number of observed numbers."""
        return sum(piece.size for piece in self._pieces if piece is not None)

    @property
    def independent(self) -> int:
        """Number of equations that can be independent.

        A polynomial of w·x shows its monomials in w only, however many w there are, and a ReLU that no sample reaches shows
        an inequality.
        """
        if self.output_weight is not None and isinstance(self.activation, ReLU):
            return self.size - int(np.count_nonzero(self.output_weight == 0))
        if self.output_weight is None or not isinstance(self.activation, Polynomial):
            return self.size
        powers = np.flatnonzero(self.activation.coefficients)
        if self.bias is not None:
            powers = np.arange(int(np.max(powers, initial=0)) + 1)
        monomials = sum(math.comb(self.dimension + int(power) - 1, int(power)) for power in powers)
        neurons = int(self.output_weight.shape[1])
        return self.size - self.outputs * max(neurons - monomials, 0)

    def surplus(self, count: int) -> int:
        """Compare the number of independent equations with that of unknowns.

        Parameters
        ----------
        count : int
            Number of samples n.

        Returns
        -------
        int
            Equations minus unknowns: n (d + p), or n (d + p - 1) on the unit sphere, and the constants.
        """
        return self.independent - count * (self.dimension + self.outputs - int(self.unit_norm)) - self.constants

    @property
    def _pieces(self) -> tuple[Float | None, ...]:
        return self.output_weight, self.output_bias, self.hidden_weight, self.hidden_bias

    @functools.cached_property
    def _scales(self) -> tuple[float, ...]:
        """One over the norm of each piece, in the order of the rows."""
        norms = [0.0 if piece is None else float(np.linalg.norm(piece)) for piece in self._pieces]
        largest = max(norms)
        return tuple(1 / norm if norm > 0 else (1 / largest if largest > 0 else 1.0) for norm in norms)

    def observed(self) -> Float:
        """Give the observed numbers.

        Returns
        -------
        array of shape (rows,)
            All pieces, each divided by its norm.
        """
        pairs = zip(self._scales, self._pieces, strict=True)
        return np.concatenate([scale * piece.reshape(-1) for scale, piece in pairs if piece is not None])

    def start_norm(self) -> float:
        """Give the norm of samples whose pre-activations have a standard deviation of 1.

        Returns
        -------
        float
            √(m d) / ‖W‖; 1 on the unit sphere.
        """
        size = float(np.linalg.norm(self.weight))
        return 1.0 if self.unit_norm or size == 0 else math.sqrt(self.weight.size) / size

    def design(self, points: Float) -> Float:
        """Give the matrix of the equations, which are linear in coefficients and constants.

        Parameters
        ----------
        points : array of shape (n, d)
            Samples.

        Returns
        -------
        array of shape (rows, n p + constants)
            Columns: the p coefficients of each sample, then the constants.
        """
        count, outputs = len(points), self.outputs
        scales, blocks = self._scales, []
        values = self._preactivations(points)
        if self.output_weight is not None:
            features = activations.value(self.activation, values)
            block = np.zeros((outputs, len(values), count * outputs + self.constants))
            for output in range(outputs):
                block[output, :, output : count * outputs : outputs] = features
                if self.free == "constant":
                    block[output, :, count * outputs + output] = 1.0
                elif self.free == "linear":
                    start = count * outputs + output * self.dimension
                    block[output, :, start : start + self.dimension] = self.weight
            blocks.append(scales[0] * block.reshape(outputs * len(values), -1))
        if self.output_bias is not None:
            eyes = np.concatenate([np.tile(np.eye(outputs), (1, count)), np.zeros((outputs, self.constants))], axis=1)
            blocks.append(scales[1] * eyes)
        if self.hidden_weight is not None or self.hidden_bias is not None:
            slopes = activations.derivative(self.activation, values)
            sensitivities = slopes[:, :, None] * self.head.T[:, None, :]
            for scale, piece, factor in self._hidden():
                inputs = points.T if factor else np.ones((1, count))
                block = sensitivities[:, None] * inputs[None, :, :, None]
                padded = np.zeros((piece.size, count * outputs + self.constants))
                padded[:, : count * outputs] = scale * block.reshape(piece.size, -1)
                if self.free == "linear" and factor:
                    padded[:, count * outputs :] = scale * np.kron(self.head.T, np.eye(self.dimension))
                blocks.append(padded)
        return np.concatenate(blocks)

    def derivative(self, points: Float, coefficients: Float) -> Float:
        """Differentiate the equations by the samples.

        Parameters
        ----------
        points : array of shape (n, d)
            Samples.
        coefficients : array of shape (n, p)
            Their coefficients.

        Returns
        -------
        array of shape (rows, n d)
            Columns: the d entries of each sample.
        """
        count, dimension = points.shape
        scales, blocks = self._scales, []
        values = self._preactivations(points)
        slopes = activations.derivative(self.activation, values)
        if self.output_weight is not None:
            for output in range(self.outputs):
                factors = (scales[0] * coefficients[:, output]) * slopes
                blocks.append((factors[:, :, None] * self.weight[:, None, :]).reshape(len(values), -1))
        if self.output_bias is not None:
            blocks.append(np.zeros((self.outputs, count * dimension)))
        if self.hidden_weight is not None or self.hidden_bias is not None:
            backwards = self.head.T @ coefficients.T
            bends = backwards * activations.derivative(self.activation, values, 2)
            moved = bends[:, :, None] * self.weight[:, None, :]
            for scale, piece, factor in self._hidden():
                if factor:
                    block = moved[:, None] * points.T[None, :, :, None]
                    straight = backwards * slopes
                    for entry in range(dimension):
                        block[:, entry, :, entry] += straight
                else:
                    block = moved[:, None]
                blocks.append(scale * block.reshape(piece.size, -1))
        return np.concatenate(blocks)

    def _preactivations(self, points: Float) -> Float:
        values: Float = self.weight @ points.T
        return values if self.bias is None else values + self.bias[:, None]

    def _hidden(self) -> list[tuple[float, Float, bool]]:
        """Scale, piece, and whether it has the input as a factor."""
        found = []
        if self.hidden_weight is not None:
            found.append((self._scales[2], self.hidden_weight, True))
        if self.hidden_bias is not None:
            found.append((self._scales[3], self.hidden_bias, False))
        return found
