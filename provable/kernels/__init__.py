"""Kernels of infinitely wide networks: tangent kernel and Gaussian-process kernel of dense networks, in closed form."""

from provable.kernels.dense import DenseKernel, nngp, ntk

__all__ = ["DenseKernel", "nngp", "ntk"]
