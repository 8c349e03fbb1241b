"""The linear system that one layer's gradient sets up for that layer's input."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.architectures.layers import Conv2d, Linear
from provable.errors import InputError
from provable.leakage.layer_systems.axis import Axis

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class LayerSystem:
    r"""The system U x = b that weights and weight gradient of one layer set up for the layer's input x.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of input and output channels (features, for a linear layer).
    input_size : (int, int)
        Height and width of the input, (1, 1) for a linear layer.
    kernel_size, stride, padding : (int, int)
        As in PyTorch, vertical before horizontal.
    batch_size : int
        Number B of samples behind the gradient; every sample has unknowns, forward equations and sensitivities of its own,
        and the gradient is their sum.

    Notes
    -----
    With z = W x the pre-activation (bias subtracted) and D = ∂L/∂z the sensitivity, both known, and G = ∂L/∂weight,

    .. math:: U = \begin{pmatrix} W \\ K \end{pmatrix}, \qquad b = \begin{pmatrix} z \\ \mathrm{vec}\, G \end{pmatrix},

    ``W[(o,p,q),(c,i,j)] = weight[o,c,a,b]`` with i = s p + a - padding, j = s q + b - padding, and
    ``K[(o,c,a,b),(c',i,j)] = [c = c'] D[o,p,q]`` for the same pairs. So K is, after a permutation of its rows,
    I ⊗ K̃ with one block per input channel, where K̃ has the rows (o,a,b) and the columns (i,j). Of B samples the unknowns
    are stacked: W becomes I_B ⊗ W, and K = [K⁽¹⁾ … K⁽ᴮ⁾], since the gradient is summed; pixels and positions of different
    samples are different ones, so K is again I ⊗ K̃ up to the order of rows and columns, K̃ = [K̃⁽¹⁾ … K̃⁽ᴮ⁾].
    A linear layer is the case of a 1×1 kernel on a 1×1 image. An attacker who knows z and D solves U x = b; the
    solution is unique if and only if rank U equals the number of unknowns.

    References
    ----------
    Zhu and Blaschko, "R-GAP: Recursive Gradient Attack on Privacy", ICLR 2021.
    Chen and Campbell, "Understanding training-data leakage from gradients in neural networks", arXiv:2111.10178.
    """

    in_channels: int
    out_channels: int
    input_size: tuple[int, int] = (1, 1)
    kernel_size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"layer system: batch_size is {self.batch_size}; a positive number is accepted")
        numbers = (self.in_channels, self.out_channels, *self.input_size, *self.kernel_size, *self.stride)
        if min(numbers) < 1 or min(self.padding) < 0 or min(self.output_size) < 1:
            raise InputError(
                f"layer system: channels {self.in_channels} -> {self.out_channels}, input {self.input_size}, kernel "
                f"{self.kernel_size}, stride {self.stride}, padding {self.padding} give no output; positive sizes and a "
                "kernel inside the padded input are accepted"
            )

    @classmethod
    def of_layer(cls, layer: Linear | Conv2d, input_shape: Sequence[int], *, batch_size: int = 1) -> LayerSystem:
        """Read the system's sizes off a layer.

        Parameters
        ----------
        layer : Linear or Conv2d
            The layer.
        input_shape : sequence of int
            Shape of its input without the batch axis.
        batch_size : int
            Number of samples behind the gradient.

        Returns
        -------
        LayerSystem
            The system for the layer's input.
        """
        if isinstance(layer, Linear):
            (features,) = input_shape
            return cls(features, layer.out_features, batch_size=batch_size)
        channels, height, width = input_shape
        return cls(
            channels,
            layer.out_channels,
            (height, width),
            layer.kernel_size,
            layer.stride,
            layer.padding,
            batch_size,
        )

    @functools.cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Vertical and horizontal axis."""
        vertical, horizontal = (
            Axis(*sizes) for sizes in zip(self.input_size, self.kernel_size, self.stride, self.padding, strict=True)
        )
        return vertical, horizontal

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the output."""
        return self.axes[0].positions, self.axes[1].positions

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight, (out_channels, in_channels, kernel height, kernel width)."""
        return (self.out_channels, self.in_channels, *self.kernel_size)

    @property
    def sensitivity_shape(self) -> tuple[int, ...]:
        """Shape of the sensitivity D: (out_channels, output height, output width), of several samples behind B."""
        return (*self._samples, self.out_channels, *self.output_size)

    @property
    def _samples(self) -> tuple[int, ...]:
        return () if self.batch_size == 1 else (self.batch_size,)

    @property
    def pixels(self) -> int:
        """Number of pixels of one input channel of one sample."""
        return self.input_size[0] * self.input_size[1]

    @property
    def positions(self) -> int:
        """Number of output positions of one sample."""
        return self.output_size[0] * self.output_size[1]

    @property
    def patch(self) -> int:
        """Number of entries of one patch, in_channels × kernel height × kernel width."""
        return self.in_channels * self.kernel_size[0] * self.kernel_size[1]

    @property
    def unknowns(self) -> int:
        """Number of unknowns, the size of the layer's input times the number of samples."""
        return self.batch_size * self.in_channels * self.pixels

    @property
    def forward_equations(self) -> int:
        """Number of rows of W: one per output."""
        return self.batch_size * self.out_channels * self.positions

    @property
    def gradient_equations(self) -> int:
        """Number of rows of K: one per weight."""
        return self.out_channels * self.patch

    @functools.cached_property
    def covered(self) -> NDArray[np.bool_]:
        """Which pixels of a channel any output position sees, (height, width)."""
        return np.logical_and.outer(self.axes[0].covered, self.axes[1].covered)

    @property
    def uncovered_unknowns(self) -> int:
        """Number of inputs that no output sees: exact zero columns of U."""
        return self.batch_size * self.in_channels * int(np.count_nonzero(~self.covered))

    def touched(self, row: int, column: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """List what the kernel entry (row, column) touches, padding left out.

        Parameters
        ----------
        row, column : int
            Indices into the kernel.

        Returns
        -------
        positions, pixels : ndarray of int
            Equally long flat indices, inside one sample, of output positions and of the pixels that they see through this
            entry.
        """
        vertical, horizontal = (axis.touched(lag) for axis, lag in zip(self.axes, (row, column), strict=True))
        positions = np.add.outer(vertical[0] * self.output_size[1], horizontal[0]).ravel()
        pixels = np.add.outer(vertical[1] * self.input_size[1], horizontal[1]).ravel()
        return positions, pixels

    def touched_in_batch(self, row: int, column: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """List what the kernel entry (row, column) touches in all samples.

        Parameters
        ----------
        row, column : int
            Indices into the kernel.

        Returns
        -------
        positions, pixels : ndarray of int
            As `touched`, numbered on through the samples: sample · positions + position, sample · pixels + pixel.
        """
        samples = np.arange(self.batch_size)
        positions, pixels = self.touched(row, column)
        return (
            np.add.outer(self.positions * samples, positions).ravel(),
            np.add.outer(self.pixels * samples, pixels).ravel(),
        )

    def lags(self) -> list[tuple[int, int]]:
        """List the kernel entries.

        Returns
        -------
        list of (int, int)
            Row and column indices, row-major.
        """
        return [(row, column) for row in range(self.kernel_size[0]) for column in range(self.kernel_size[1])]

    def forward_matrix(self, weight: Array) -> Array:
        """Write the forward map as a dense matrix.

        Parameters
        ----------
        weight : ndarray of shape (out_channels, in_channels, kernel height, kernel width)
            Numbers of any kind; (out, in) is accepted for a linear layer.

        Returns
        -------
        ndarray of shape (forward_equations, unknowns)
            W, with W x = z - bias; of several samples I_B ⊗ W.
        """
        weight = np.asarray(weight).reshape(self.weight_shape)
        matrix = np.zeros((self.out_channels, self.positions, self.in_channels, self.pixels), dtype=weight.dtype)
        for row, column in self.lags():
            positions, pixels = self.touched(row, column)
            matrix[:, positions, :, pixels] = weight[None, :, :, row, column]
        once = matrix.reshape(self.out_channels * self.positions, self.in_channels * self.pixels)
        if self.batch_size == 1:
            return once
        batch = np.zeros((self.batch_size, len(once), self.batch_size, once.shape[1]), dtype=once.dtype)
        for sample in range(self.batch_size):
            batch[sample, :, sample] = once
        return batch.reshape(self.forward_equations, self.unknowns)

    def gradient_block(self, sensitivity: Array) -> Array:
        """Write the gradient as a linear map of one input channel.

        Parameters
        ----------
        sensitivity : ndarray of shape (out_channels, output height, output width), of several samples behind batch_size
            D = ∂L/∂z, numbers of any kind.

        Returns
        -------
        ndarray of shape (out_channels * kernel height * kernel width, batch_size * pixels)
            K̃, rows ordered (o, a, b), columns (sample, i, j).
        """
        stacked = np.asarray(sensitivity).reshape(self.batch_size, self.out_channels, self.positions)
        side_by_side = stacked.transpose(1, 0, 2).reshape(self.out_channels, -1)
        width = self.batch_size * self.pixels
        block = np.zeros((self.out_channels, len(self.lags()), width), dtype=stacked.dtype)
        for index, (row, column) in enumerate(self.lags()):
            positions, pixels = self.touched_in_batch(row, column)
            block[:, index, pixels] = side_by_side[:, positions]
        return block.reshape(-1, width)

    def gradient_matrix(self, sensitivity: Array) -> Array:
        """Write the gradient as a dense matrix; meant for small layers, `gradient_block` holds the same numbers.

        Parameters
        ----------
        sensitivity : ndarray of shape (out_channels, output height, output width), of several samples behind batch_size
            D = ∂L/∂z, numbers of any kind.

        Returns
        -------
        ndarray of shape (gradient_equations, unknowns)
            K, with K x = vec(∂L/∂weight), rows ordered (o, c, a, b), columns (sample, c, i, j).
        """
        block = self.gradient_block(sensitivity)
        block = block.reshape(self.out_channels, -1, self.batch_size, self.pixels)
        matrix = np.zeros(
            (self.out_channels, self.in_channels, block.shape[1], self.batch_size, self.in_channels, self.pixels),
            dtype=block.dtype,
        )
        for channel in range(self.in_channels):
            matrix[:, channel, :, :, channel] = block
        return matrix.reshape(self.gradient_equations, self.unknowns)

    def matrix(self, weight: Array, sensitivity: Array) -> Array:
        """Stack forward and gradient equations; meant for small layers.

        Parameters
        ----------
        weight : ndarray of shape (out_channels, in_channels, kernel height, kernel width)
            Weights.
        sensitivity : ndarray of shape (out_channels, output height, output width), of several samples behind batch_size
            D = ∂L/∂z.

        Returns
        -------
        ndarray of shape (forward_equations + gradient_equations, unknowns)
            U = [W; K].
        """
        return np.vstack([self.forward_matrix(weight), self.gradient_matrix(sensitivity)])

    def patches(self, inputs: Array) -> Array:
        """Cut an input into its zero-padded patches (im2col).

        Parameters
        ----------
        inputs : ndarray of shape (in_channels, height, width), of several samples behind batch_size
            The layer's input, numbers of any kind.

        Returns
        -------
        ndarray of shape (patch, batch_size * positions)
            P, rows ordered (c, a, b), columns (sample, p, q): z = weight P and ∂L/∂weight = D Pᵀ as matrices.
        """
        inputs = np.asarray(inputs).reshape(self.batch_size, self.in_channels, self.pixels)
        side_by_side = inputs.transpose(1, 0, 2).reshape(self.in_channels, -1)
        width = self.batch_size * self.positions
        patches = np.zeros((self.in_channels, len(self.lags()), width), dtype=inputs.dtype)
        for index, (row, column) in enumerate(self.lags()):
            positions, pixels = self.touched_in_batch(row, column)
            patches[:, index, positions] = side_by_side[:, pixels]
        return patches.reshape(self.patch, width)
