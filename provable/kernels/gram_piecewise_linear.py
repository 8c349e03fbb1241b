"""The layer recursion of piecewise linear activations, in place on blocks of float64 numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from provable.kernels.arc_cosine import PiecewiseLinear
from provable.kernels.gram_angles import Angles, Numbers
from provable.kernels.layer_recursion import Recursion

ARRAYS = 3
"""Arrays of working memory that `fill` needs, beside the angles and the result."""


@dataclass(frozen=True, eq=False)
class PreparedPoints:
    """Vectors of one set of points, or of some of them, for the recursion.

    Attributes
    ----------
    diagonal : ndarray of shape (n,)
        k(x, x), from the recursion of the variances alone.
    root : ndarray of shape (n,)
        Standard deviations of the outputs.
    signal, bias : tuple of ndarray of shape (n,)
        For each layer r and g with r² + g² = 1, the shares of the signal and of the bias in the standard deviation: the
        correlation u becomes r_i r_j u + g_i g_j, thus q = (1 - u)/2 becomes r_i r_j q + ((r_i - r_j)² + (g_i - g_j)²)/4, and
        p = (1 + u)/2 becomes r_i r_j p + ((r_i - r_j)² + (g_i + g_j)²)/4, sums of nonnegative numbers. Empty if the biases
        are not random.
    offset : tuple of ndarray of shape (n,)
        For each layer the square root of what trained biases add to Θ, over the standard deviation. Empty if nothing.
    """

    diagonal: Numbers
    root: Numbers
    signal: tuple[Numbers, ...]
    bias: tuple[Numbers, ...]
    offset: tuple[Numbers, ...]

    def part(self, chosen: slice) -> PreparedPoints:
        """Take some of the points.

        Parameters
        ----------
        chosen : slice
            Which.

        Returns
        -------
        PreparedPoints
            Views of their numbers.
        """
        signal, bias, offset = (
            tuple(vector[chosen] for vector in vectors) for vectors in (self.signal, self.bias, self.offset)
        )
        return PreparedPoints(self.diagonal[chosen], self.root[chosen], signal, bias, offset)


@dataclass(frozen=True)
class PiecewiseLinearRecursion:
    """The recursion of a dense network whose activation has the slope 1 on the right and a constant one on the left.

    Parameters
    ----------
    constants : Recursion
        The network; its dual activation is piecewise linear, with a negative slope that `of` accepts.

    Notes
    -----
    With a the negative slope, f = (1 + a²)/2 and s = (1 - a)²/(1 + a²), and with the angle θ of a pair, the activation turns
    √(pq) into f√(pq), u into u + s(sin θ - θ cos θ)/π, and K̇ is f(1 - sθ/π). So Θ over the standard deviations of its pair,
    T, follows T ← r_i r_j [(1 - sθ/π)T + γu] + o_i o_j, with γ the gain over σ_w² and r and o of the biases. What is carried
    along is q = sin²(θ/2), which becomes (1 - sθ/π)q + (s/π)(θ/2 - sin(θ/2) cos(θ/2)): the last term is off by a rounding
    error times θ, which q ≈ θ²/4 can bear, as it moves θ by a rounding error.
    """

    constants: Recursion

    @classmethod
    def of(cls, constants: Recursion) -> PiecewiseLinearRecursion | None:
        """Take the constants, if the activation is one of these.

        Parameters
        ----------
        constants : Recursion
            Any network.

        Returns
        -------
        PiecewiseLinearRecursion or None
            None for other activations, negative slopes below zero and those just below one among them: there points that are
            opposite stay so or come close to each other, which this recursion does not follow to the last digit.
        """
        dual = constants.dual
        followed = isinstance(dual, PiecewiseLinear) and (0 <= dual.negative_slope <= 0.95 or dual.negative_slope == 1)
        return cls(constants) if followed else None

    @property
    def negative_slope(self) -> float:
        """The slope of the activation left of zero.

        Returns
        -------
        float
            0 for ReLU, 1 for the identity.
        """
        dual = self.constants.dual
        assert isinstance(dual, PiecewiseLinear)
        return float(dual.negative_slope)

    def prepare(self, squares: Numbers) -> PreparedPoints:
        """Everything that the recursion needs to know of one set of points.

        Parameters
        ----------
        squares : ndarray of shape (n,)
            Squared norms of the inputs.

        Returns
        -------
        PreparedPoints
            Vectors of every layer.
        """
        constants, factor = self.constants, (1 + self.negative_slope**2) / 2
        signal, bias, offset = [], [], []
        before, theta = constants.input_variance * squares, constants.input_gain * squares
        variance = before
        for layer in range(constants.depth + 1):
            if layer > 0:
                theta = constants.gain * factor * variance + constants.weight_variance * factor * theta
                before = constants.weight_variance * factor * variance
            variance = before + constants.bias_variance
            theta = theta + constants.bias_gain
            if constants.bias_variance:
                signal.append(np.sqrt(before / variance))
                bias.append(np.sqrt(constants.bias_variance / variance))
            if constants.bias_gain and constants.tangent:
                offset.append(math.sqrt(constants.bias_gain) / np.sqrt(variance))
        diagonal = theta if constants.tangent else variance
        return PreparedPoints(diagonal, np.sqrt(variance), tuple(signal), tuple(bias), tuple(offset))

    def fill(
        self, angles: Angles, left: PreparedPoints, right: PreparedPoints, workspace: Numbers, result: Numbers
    ) -> None:
        """Evaluate the kernel on a block.

        Parameters
        ----------
        angles : Angles
            Of the block; its arrays are overwritten.
        left, right : PreparedPoints
            The points of its rows and columns.
        workspace : ndarray of shape (ARRAYS, n, m)
            Overwritten.
        result : ndarray of shape (n, m)
            Where the kernel goes.
        """
        constants, near = self.constants, angles.near
        theta = result if constants.tangent else None
        for layer in range(constants.depth + 1):
            if layer > 0 and self.negative_slope != 1:
                self._activate(near, angles.far if layer == 1 else None, workspace, theta)
            if theta is not None:
                correlation = theta if layer == 0 else workspace[0]
                gain = constants.gain / constants.weight_variance
                if layer == 0:
                    gain = constants.input_gain / constants.input_variance
                np.multiply(near, -2 * gain, out=correlation)
                np.add(correlation, gain, out=correlation)
                if layer > 0:
                    np.add(theta, correlation, out=theta)
            if constants.bias_variance:
                _mix(near, angles.far if layer == 0 else None, left, right, layer, workspace, theta)
            if left.offset:
                np.multiply(left.offset[layer][:, None], right.offset[layer], out=workspace[0])
                np.add(result, workspace[0], out=result)
        if theta is None:
            np.multiply(near, -2.0, out=result)
            np.add(result, 1.0, out=result)
        np.multiply(result, left.root[:, None], out=result)
        np.multiply(result, right.root, out=result)
        result[angles.same] = left.diagonal[angles.same[0]]

    def _activate(self, near: Numbers, far: Numbers | None, workspace: Numbers, theta: Numbers | None) -> None:
        """The angles of the activations, and theta times their slopes."""
        share = (1 - self.negative_slope) ** 2 / (1 + self.negative_slope**2) / math.pi
        sine, cosine, half = workspace[:3]
        np.sqrt(near, out=sine)
        if far is None:  # behind an activation 1 + u is of the order s at least, and the error of θ is multiplied by s
            np.subtract(1.0, near, out=cosine)
            np.sqrt(cosine, out=cosine)
            np.arcsin(sine, out=half)
        else:
            np.sqrt(far, out=cosine)
            np.arctan2(sine, cosine, out=half)
        np.multiply(sine, cosine, out=sine)
        np.subtract(half, sine, out=sine)
        np.multiply(sine, share, out=sine)
        np.multiply(half, 2 * share, out=half)
        np.subtract(1.0, half, out=half)
        np.multiply(near, half, out=near)
        np.add(near, sine, out=near)
        np.maximum(near, 0.0, out=near)
        if theta is not None:
            np.multiply(theta, half, out=theta)


def _mix(
    near: Numbers,
    far: Numbers | None,
    left: PreparedPoints,
    right: PreparedPoints,
    layer: int,
    workspace: Numbers,
    theta: Numbers | None,
) -> None:
    """The angles with a random bias, and theta over the new standard deviations."""
    signals, others = left.signal[layer][:, None], right.signal[layer]
    biases, other_biases = left.bias[layer][:, None], right.bias[layer]
    product, distance, shift = workspace[:3]
    np.multiply(signals, others, out=product)
    if theta is not None:
        np.multiply(theta, product, out=theta)
    np.subtract(signals, others, out=distance)
    np.multiply(distance, distance, out=distance)
    for squares, combine in ((near, np.subtract), (far, np.add)):
        if squares is None:
            continue
        combine(biases, other_biases, out=shift)
        np.multiply(shift, shift, out=shift)
        np.add(shift, distance, out=shift)
        np.multiply(shift, 0.25, out=shift)
        np.multiply(squares, product, out=squares)
        np.add(squares, shift, out=squares)
