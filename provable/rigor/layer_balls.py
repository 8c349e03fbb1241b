r"""Convolutions and linear layers in balls, as products with window matrices.

Values of an image are object arrays of balls of shape (channels, pixels); a linear layer is a convolution of one pixel by a
kernel of one entry. With the window matrix P(x) of shape (channels·lags, positions), a lag being one entry of the kernel:
z = W P(x) + b, the weight gradient is D P(x)ᵀ, and as a map of x it applies one matrix K̃(D), of shape (output channels·lags,
pixels), to every channel of x.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from provable.architectures import Activation, Architecture, Conv2d, Flatten, Identity, Linear
from provable.arithmetic import Float
from provable.errors import UnsupportedError
from provable.networks import Parameters
from provable.networks.windows import patches as cut_windows
from provable.rigor.balls import Ball, BallMatrix, ball_matrix, spectral_upper

Balls = NDArray[Any]
"""Object array of balls."""


def balls_of(matrix: BallMatrix) -> Balls:
    """Turn a matrix of balls into an array.

    Parameters
    ----------
    matrix : arb_mat
        A matrix.

    Returns
    -------
    ndarray of arb
        Its entries in its shape.
    """
    array = np.empty(matrix.nrows() * matrix.ncols(), dtype=object)
    array[:] = matrix.entries()
    return array.reshape(matrix.nrows(), matrix.ncols())


def matrix_of(array: Balls) -> BallMatrix:
    """Turn a two-dimensional array of balls into a matrix.

    Parameters
    ----------
    array : ndarray of arb
        Rows.

    Returns
    -------
    arb_mat
        The matrix.
    """
    return flint.arb_mat(array.shape[0], array.shape[1], array.ravel().tolist())


def zeros(*shape: int) -> Balls:
    """Make an array of exact zeros.

    Parameters
    ----------
    *shape : int
        Its shape.

    Returns
    -------
    ndarray of arb
        The zeros.
    """
    array = np.empty(shape, dtype=object)
    array.fill(flint.arb(0))
    return array


@dataclasses.dataclass(frozen=True, eq=False)
class AffineLayer:
    """A layer with parameters and the geometry of its windows.

    Parameters
    ----------
    index : int
        Its index in the architecture.
    weight : ndarray of float64 (output channels, channels·lags)
        W.
    bias : ndarray of float64 (output channels,) or None
        b.
    windows : ndarray of int (lags, positions)
        Seen pixels; the number of pixels stands for the padding.
    channels, pixels, columns : int
        Extents of the input; `columns` is its width.
    stride, kernel : tuple of two int
        Of the convolution.
    unseen : ndarray of int
        Pixels on which nothing depends: no window sees them, but at positions that are unseen by the next layer.
    """

    index: int
    weight: Float
    bias: Float | None
    windows: NDArray[np.intp]
    channels: int
    pixels: int
    columns: int
    stride: tuple[int, int]
    kernel: tuple[int, int]
    unseen: NDArray[np.intp]

    @property
    def outputs(self) -> tuple[int, int]:
        """Channels and positions of the output."""
        return len(self.weight), self.windows.shape[1]

    def patches(self, image: Balls) -> Balls:
        """Give P(x).

        Parameters
        ----------
        image : ndarray of arb (channels, pixels)
            x.

        Returns
        -------
        ndarray of arb (channels·lags, positions)
            The windows.
        """
        padded = np.concatenate([image, zeros(len(image), 1)], axis=1)
        return padded[:, self.windows].reshape(-1, self.windows.shape[1])

    def forward(self, patches: Balls) -> Balls:
        """Evaluate the layer.

        Parameters
        ----------
        patches : ndarray of arb
            P(x).

        Returns
        -------
        ndarray of arb (output channels, positions)
            z.
        """
        result = balls_of(ball_matrix(self.weight) * matrix_of(patches))
        if self.bias is not None:
            result = result + balls_of(ball_matrix(self.bias))
        return result

    def adjoint(self, sensitivity: Balls) -> Balls:
        """Bring D back to the input.

        Parameters
        ----------
        sensitivity : ndarray of arb (output channels, positions)
            D.

        Returns
        -------
        ndarray of arb (channels, pixels)
            Wᵀ D.
        """
        spread = balls_of(ball_matrix(self.weight.T.copy()) * matrix_of(sensitivity))
        lags = len(self.windows)
        padded = zeros(self.channels, self.pixels + 1)
        for lag, seen in enumerate(self.windows):  # a lag sees a pixel at most once, but for the padding
            padded[:, seen] = padded[:, seen] + spread[lag::lags]
        return padded[:, :-1]

    def gradient_map(self, sensitivity: Balls) -> Balls:
        """Give K̃(D).

        Parameters
        ----------
        sensitivity : ndarray of arb (output channels, positions)
            D.

        Returns
        -------
        ndarray of arb (output channels·lags, pixels)
            The matrix.
        """
        result = zeros(len(sensitivity), len(self.windows), self.pixels + 1)
        for lag, seen in enumerate(self.windows):
            result[:, lag, seen] = sensitivity
        return result[:, :, :-1].reshape(-1, self.pixels)

    def overlap(self) -> int:
        """Count windows.

        Returns
        -------
        int
            The largest number of windows that see one pixel.
        """
        return int(np.bincount(self.windows.ravel(), minlength=self.pixels + 1)[:-1].max())

    def norm_upper(self) -> Ball:
        """Bound ‖W‖₂ as a linear map of x.

        Returns
        -------
        arb
            Exact upper bound: per phase of the stride, norms of the channel matrices of the lags add up, and phases, which
            see disjoint pixels, add up by squares.
        """
        lags = len(self.windows)
        taps = self.weight.reshape(len(self.weight), -1, lags)
        phase = np.arange(self.kernel[0])[:, None] % self.stride[0] * self.stride[1]
        phases = (phase + np.arange(self.kernel[1]) % self.stride[1]).ravel()
        total = flint.arb(0)
        for members in (np.flatnonzero(phases == value) for value in np.unique(phases)):
            part = sum(
                (spectral_upper(ball_matrix(np.ascontiguousarray(taps[:, :, t]))) for t in members), flint.arb(0)
            )
            total += part * part
        return total.abs_upper().sqrt().abs_upper()


def layers_in_turn(architecture: Architecture, parameters: Parameters) -> tuple[list[AffineLayer], list[Activation]]:
    """Read a chain in which layers with parameters and activations take turns.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        θ, float64.

    Returns
    -------
    affine : list of AffineLayer
        Layers with parameters; the last one is linear.
    activations : list of Activation
        What stands between them, one less.

    Raises
    ------
    UnsupportedError
        If the network has another layer, two activations in a row, one before the first or one after the last layer with
        parameters.
    """
    affine: list[AffineLayer] = []
    activations: list[Activation] = []
    for index, layer in enumerate(architecture.layers):
        shape = architecture.shapes[index]
        if isinstance(layer, Conv2d | Linear):
            if len(activations) < len(affine):
                activations.append(Identity())
            affine.append(_affine(index, layer, shape, parameters))
        elif isinstance(layer, Activation):
            if len(activations) != len(affine) - 1:
                raise UnsupportedError(
                    f"layer {index} ({layer.type}): an activation behind a layer with parameters is accepted"
                )
            activations.append(layer)
        elif not isinstance(layer, Flatten):
            raise UnsupportedError(
                f"layer {index} ({layer.type}): convolutions, linear layers, flatten and activations are accepted"
            )
    if not affine or len(activations) != len(affine) - 1 or affine[-1].pixels != 1:
        raise UnsupportedError("the last layer: a linear one is accepted")
    dead = np.zeros(0, dtype=np.intp)
    for place in range(len(affine) - 1, -1, -1):
        found = affine[place]
        live = np.setdiff1d(np.arange(found.windows.shape[1]), dead)
        unseen = np.setdiff1d(np.arange(found.pixels), found.windows[:, live])
        affine[place] = dataclasses.replace(found, unseen=unseen)
        # what is flattened is seen as a whole
        dead = unseen if place and affine[place - 1].outputs[0] == found.channels else dead[:0]
    return affine, activations


def _affine(index: int, layer: Conv2d | Linear, shape: tuple[int, ...], parameters: Parameters) -> AffineLayer:
    kernel, stride, padding, extents = (1, 1), (1, 1), (0, 0), (1, 1)
    if isinstance(layer, Conv2d):
        kernel, stride, padding, extents = layer.kernel_size, layer.stride, layer.padding, (shape[1], shape[2])
    pixels = math.prod(extents)
    # pixels are numbered from 1, so that the zeros of the padding become the number `pixels` after the shift below
    numbers = np.arange(1.0, pixels + 1.0).reshape(1, 1, *extents)
    seen = cut_windows(numbers, kernel, stride, padding).reshape(math.prod(kernel), -1).astype(np.intp) - 1
    weight = np.asarray(parameters[f"{index}/weight"], dtype=np.float64)
    return AffineLayer(
        index,
        weight.reshape(len(weight), -1),
        np.asarray(parameters[f"{index}/bias"], dtype=np.float64) if layer.bias else None,
        np.where(seen < 0, pixels, seen),
        shape[0],
        pixels,
        extents[1],
        stride,
        kernel,
        np.zeros(0, dtype=np.intp),
    )
