r"""Normal equations of the tangent embedding of one hidden layer, without its Jacobian.

Notes
-----
For :math:`f(x) = A\,\sigma(Wx + b) + a_0` with m hidden units, C outputs, and atoms :math:`(x_i, c_i)`, let
:math:`z_i = W x_i + b` and :math:`h_i = A^T c_i`. The embedding :math:`\sum_i \sum_k c_{ik} \nabla_\theta f_k(x_i)` is

.. math:: \partial A_{kj} = \sum_i c_{ik} \sigma(z_{ij}), \quad \partial a_{0k} = \sum_i c_{ik}, \quad
          \partial W_{jp} = \sum_i h_{ij} \sigma'(z_{ij}) x_{ip}, \quad \partial b_j = \sum_i h_{ij} \sigma'(z_{ij}).

The rows of its Jacobian J that belong to one hidden unit share the factors σ, σ', σ'' of the samples there. Summing over
these rows first gives JᵀΩJ, Ω a diagonal matrix of weights, from :math:`n^2` products of size d × m × d, without J itself,
which has more than m (d + C) rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from provable.architectures import Activation, Architecture, Flatten, Identity, Linear
from provable.arithmetic import Float
from provable.networks import activations
from provable.networks.parameters import Parameters


@dataclass(frozen=True, eq=False)
class OneHiddenLayer:
    """A network x ↦ A σ(W x + b) + a₀ with float64 parameters; `of` finds it in an architecture.

    Attributes
    ----------
    activation : Activation
        σ.
    hidden : ndarray of shape (m, d)
        W.
    hidden_bias : ndarray of shape (m,)
        b, zero if there is none.
    outer : ndarray of shape (C, m)
        A.
    keys : tuple of str
        Names of the gradients of W, b, A and a₀, whether the biases exist or not.
    """

    activation: Activation
    hidden: Float
    hidden_bias: Float
    outer: Float
    keys: tuple[str, str, str, str]

    @classmethod
    def of(cls, architecture: Architecture, parameters: Parameters) -> OneHiddenLayer | None:
        """Recognise a network with one hidden layer.

        Parameters
        ----------
        architecture : Architecture
            Any architecture.
        parameters : Parameters
            Its parameters.

        Returns
        -------
        OneHiddenLayer or None
            None if the layers are not linear, activation, linear, apart from ``flatten`` and ``identity`` in front, or
            if the parameters are no floats.
        """
        if parameters.kind != "float64":
            return None
        chain = list(enumerate(architecture.layers))
        while chain and isinstance(chain[0][1], Identity | Flatten):
            chain.pop(0)
        if len(chain) != 3:
            return None
        (first, inner), (_, activation), (last, outer) = chain
        if not (isinstance(inner, Linear) and isinstance(activation, Activation) and isinstance(outer, Linear)):
            return None
        hidden = parameters[f"{first}/weight"]
        return cls(
            activation,
            hidden,
            parameters[f"{first}/bias"] if inner.bias else np.zeros(len(hidden)),
            parameters[f"{last}/weight"],
            (f"{first}/weight", f"{first}/bias", f"{last}/weight", f"{last}/bias"),
        )

    def normal_equations(
        self, points: Float, coefficients: Float, weights: Mapping[str, Float], misfit: Mapping[str, Float]
    ) -> tuple[Float, Float]:
        """JᵀΩJ and JᵀΩF at a measure; the unknowns are all points, then all coefficients.

        Parameters
        ----------
        points : ndarray of shape (n, d)
            The atoms.
        coefficients : ndarray of shape (n, C)
            Their coefficients.
        weights : mapping of str to ndarray
            Ω by the names of the parameters, each in its shape; what is absent has weight zero.
        misfit : mapping of str to ndarray
            F in the same way; what is absent is zero.

        Returns
        -------
        matrix : ndarray of shape (n (d + C), n (d + C))
            Symmetric.
        vector : ndarray of shape (n (d + C),)
            The other side, with the sign of F.
        """
        values = _Values(self, points, coefficients)
        w_hidden, w_bias, w_outer, w_last = (
            np.asarray(weights.get(key, np.zeros(shape))) for key, shape in zip(self.keys, self._shapes, strict=True)
        )
        f_hidden, f_bias, f_outer, f_last = (
            np.asarray(weights[key] * misfit[key]) if key in weights and key in misfit else np.zeros(shape)
            for key, shape in zip(self.keys, self._shapes, strict=True)
        )
        n, d = points.shape
        outputs = coefficients.shape[1]
        matrix = np.empty((n * (d + outputs),) * 2)
        blocks = matrix[: n * d, : n * d].reshape(n, d, n, d)
        mixed = matrix[: n * d, n * d :].reshape(n, d, n, outputs)
        coefficient = matrix[n * d :, n * d :].reshape(n, outputs, n, outputs)
        hidden = self.hidden
        first_layer = bool(np.any(w_hidden) or np.any(w_bias))
        for i in range(n):
            slopes = coefficients[i][:, None] * values.first[i] * w_outer
            for k in range(n):
                mixed[i, :, k] = hidden.T @ (slopes * values.value[k]).T
                if k < i:
                    continue
                factors = (coefficients[k] @ slopes) * values.first[k]
                blocks[i, :, k] = (hidden.T * factors) @ hidden
                coefficient[i, :, k] = np.diag(w_outer @ (values.value[i] * values.value[k]) + w_last)
        if first_layer:
            self._add_first_layer(values, points, w_hidden, w_bias, (blocks, mixed, coefficient))
        for i in range(n):
            for k in range(i):
                blocks[i, :, k] = blocks[k, :, i].T
                coefficient[i, :, k] = coefficient[k, :, i].T
        matrix[n * d :, : n * d] = matrix[: n * d, n * d :].T
        inner = points @ f_hidden.T + f_bias  # (n, m): F paired with (x_i, 1) for every unit
        pulled = values.first * (coefficients @ f_outer) + values.back * values.second * inner
        by_points = pulled @ hidden + (values.back * values.first) @ f_hidden
        by_coefficients = values.value @ f_outer.T + f_last + (values.first * inner) @ self.outer.T
        matrix = (matrix + matrix.T) / 2  # products of one matrix with itself are symmetric up to rounding only
        return matrix, np.concatenate([by_points.reshape(-1), by_coefficients.reshape(-1)])

    def _add_first_layer(
        self, values: _Values, points: Float, w_hidden: Float, w_bias: Float, parts: tuple[Float, Float, Float]
    ) -> None:
        """Add the gradient of the first layer to the blocks i <= k of points and of coefficients, and to all mixed ones."""
        blocks, mixed, coefficient = parts
        n, d = points.shape
        hidden = self.hidden
        bent, straight = values.back * values.second, values.back * values.first
        for i in range(n):
            for k in range(n):
                # Σ_p Ω_jp x_ip x_kp + Ω_j of the bias, for every unit j: all rows of ∂W, ∂b that share σ factors
                shared = w_hidden @ (points[i] * points[k]) + w_bias
                seen = self.outer * values.first[k]
                mixed[i, :, k] += hidden.T @ (bent[i] * shared * seen).T
                mixed[i, :, k] += points[k][:, None] * (w_hidden.T @ (straight[i] * seen).T)
                if k < i:
                    continue
                block = (hidden.T * (bent[i] * bent[k] * shared)) @ hidden
                block += (hidden.T * (bent[i] * straight[k])) @ w_hidden * points[i]
                block += ((hidden.T * (straight[i] * bent[k])) @ w_hidden * points[k]).T
                block[np.diag_indices(d)] += (straight[i] * straight[k]) @ w_hidden
                blocks[i, :, k] += block
                coefficient[i, :, k] += (self.outer * values.first[i] * shared) @ seen.T

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.hidden.shape, self.hidden_bias.shape, self.outer.shape, (len(self.outer),)


class _Values:
    """σ, σ', σ'' at every (sample, unit), and h = Aᵀ c."""

    def __init__(self, network: OneHiddenLayer, points: Float, coefficients: Float) -> None:
        before = points @ network.hidden.T + network.hidden_bias
        self.value = activations.value(network.activation, before)
        self.first = activations.derivative(network.activation, before)
        self.second = activations.derivative(network.activation, before, order=2)
        self.back = coefficients @ network.outer
