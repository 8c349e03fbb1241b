r"""Which values of a network are algebraically independent of everything that they are computed from.

A polynomial in the values of transcendental functions may be evaluated at arbitrary points, instead of the values that the
functions have, if the values are algebraically independent over Q of everything else in it: only then does the polynomial
vanish as a function if and only if it vanishes identically. This module decides that for the activations and the loss of a
network, layer by layer, and proves it like this.

Call the entries of a signal *independent* if, for all values of the parameters before it and of the input outside a null
set, no rational combination of them that is not trivial is a rational constant. Call them *fresh* if moreover they are linear
forms in parameters that nothing else depends on, up to terms without these parameters, and no rational combination of the
forms is zero.

1. The input is independent, and fresh with itself as parameters.
2. A convolution or linear layer makes fresh independent values of independent ones, with shared weights, too, and however
   many positions there are: suppose Σ n_{o,p} <W_o, patch_p> is zero as a form in W for rational n. Then for every o
   Σ_p n_{o,p} patch_p = 0, which is for every channel and lag a rational combination of different entries of the input, so
   n_{o,p} = 0 for all p that see any entry. A form that is not zero is not constant for generic W. A bias changes nothing.
   A value that sees nothing but padding and zeros is not fresh.
3. A linear layer makes fresh values of any input that is not identically zero, since its forms have no weight in common.
4. Let ℓ_1, …, ℓ_m be fresh, at fixed values of all else that are algebraically independent numbers. The monomials in exp ℓ_j
   are exponentials of different linear forms, and those are linearly independent over the rational functions of the
   parameters. So the exp ℓ_j are algebraically independent of the parameters, and by induction over the layers (a
   polynomial relation would remain one with the generic values put in) of everything before. tanh ℓ and 1/(1 + exp(-ℓ))
   are birational functions of exp 2ℓ and exp ℓ, and exp ℓ itself stands in ELU on the left of its kink. For softplus, ℓ_j
   and u_j = log(1 + exp ℓ_j) have no rational combination that is constant, because the exp ℓ_j are independent; by Ax's
   theorem the transcendence degree of all ℓ_j, u_j, exp ℓ_j and exp u_j = 1 + exp ℓ_j is at least 2m + dim span ℓ_j, so u_j
   and exp ℓ_j are 2m independent functions over the parameters. SiLU is ℓ times the logistic function.
   For erf and GELU, let also no rational combination of the ℓ_j² be constant. Then the g_j = exp(-ℓ_j²) are independent like
   the exponentials above. If the erf ℓ_j were dependent over K, the rational functions of the parameters and all g_j, then
   f = Σ c_j erf ℓ_j would be in K for some constants that are not all zero (Ostrowski). A derivation multiplies each monomial
   in the g_j by a rational function, so the coefficient a of g_j in an expansion of f into such monomials fulfils
   a' - 2 ℓ_j a = 2 c_j/√π along a direction with ℓ_j' = 1. A pole of a would be worse in a', and a polynomial a ≠ 0 makes
   2 ℓ_j a the term of highest degree, of at least 1: so c_j = 0. Hence the erf ℓ_j and g_j are 2m independent functions.
   Squares: those of the input and of values made by tanh, sigmoid, softplus, SiLU, erf and GELU are independent because the
   values are. A convolution passes it on, since the quadratic part of Σ n_{o,p} <W_o, patch_p>² in W_o is zero only if
   Σ_p n_{o,p} x(c, p + lag)² = 0; a linear layer has it; so do ELU and the operations of 5 and 6, means excepted.
5. Values so made are independent, and so are they plus, or times, what they do not depend on. The same for a sum of the
   branches of a residual block if one of them ends in values that are fresh, or so made, inside of it. If both branches
   have layers, what enters them does not count as fresh, because two activations could meet the same forms.
6. Scaling and shifting per channel (normalisation), nonzero rational slopes (leaky ReLU), choosing different entries
   (maximum pooling without a common winner) and means over windows without padding keep all of this. For means: the first
   pixel of a window belongs to no later one, so rational combinations of windows are nontrivial combinations of pixels.
7. The loss: exp(f_k - f_0), k > 0, and exp f for the logistic loss are independent by 4 if the outputs f are fresh. So the
   softmax probabilities are free but for their sum, and the logistic derivative is free.

Polynomials of a degree above 1 are not followed: what comes after them counts as not independent until a linear layer.

References
----------
Ostrowski, "Sur les relations algébriques entre les intégrales indéfinies", Acta Mathematica 78 (1946), 315-318.
Ax, "On Schanuel's conjectures", Annals of Mathematics 93 (1971), 252-268 (the statement for power series).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.architectures import (
    ELU,
    GELU,
    Activation,
    Architecture,
    AvgPool2d,
    Conv2d,
    Flatten,
    Identity,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
)
from provable.architectures.fields import Shape
from provable.architectures.layers import Erf
from provable.errors import UnsupportedError
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.open_dimensions.activation_cells import Cell


@dataclasses.dataclass(frozen=True)
class _Signal:
    """What is known of the entries of a signal."""

    alive: NDArray[np.bool_]  # in the shape of the signal: not identically zero, and covered by the other two
    independent: bool
    fresh: bool
    squares: bool = True  # no rational combination of the squares is constant
    is_new: bool = True  # made so since the last residual block began

    @property
    def is_all_fresh(self) -> bool:
        return self.fresh and bool(self.alive.all())


def check_free_values(architecture: Architecture, cell: Cell | None) -> None:
    """Prove that the transcendental values of a network may be replaced by free ones.

    Parameters
    ----------
    architecture : Architecture
        The network.
    cell : Cell or None
        Sides of kinks and winners of windows, if there are any.

    Raises
    ------
    UnsupportedError
        If the argument above does not apply; the message names the layer.
    """
    start = _Signal(np.ones(architecture.input_shape, dtype=np.bool_), independent=True, fresh=True)
    end = _walk(architecture.layers, "", start, cell)
    if architecture.loss != "squared" and not end.is_all_fresh:
        raise UnsupportedError(
            f"loss ({architecture.loss}): its derivative is not proved to be free, for which outputs that a linear layer "
            "makes directly are accepted"
        )


def _walk(layers: tuple[Layer, ...], prefix: str, signal: _Signal, cell: Cell | None) -> _Signal:
    for index, layer in enumerate(layers):
        signal = _step(layer, f"{prefix}{index}", signal, cell)
    return signal


def _step(layer: Layer, path: str, signal: _Signal, cell: Cell | None) -> _Signal:
    alive = signal.alive
    match layer:
        case Linear():
            some = bool(alive.any())
            return _Signal(np.full(layer.out_features, some or layer.bias), some or layer.bias, some or layer.bias)
        case Conv2d():
            return _convolve(layer, signal)
        case Flatten():
            return dataclasses.replace(signal, alive=alive.reshape(-1))
        case AvgPool2d():
            whole = bool(alive.all()) and layer.padding == (0, 0)
            shape = layer.output_shape(alive.shape)
            kept = signal.independent and whole
            return _Signal(np.full(shape, kept), kept, signal.fresh and whole, False, signal.is_new)
        case MaxPool2d():
            assert cell is not None
            winners = _winning_pixels(layer, alive.shape, cell.winners[path])
            chosen = np.take_along_axis(alive.reshape(len(alive), -1), winners, axis=1)
            different = all(len(np.unique(row)) == len(row) for row in winners)
            shape = layer.output_shape(alive.shape)
            kept, fresh = signal.independent and different, signal.fresh and different
            return _Signal(chosen.reshape(shape), kept, fresh, signal.squares and different, signal.is_new)
        case Residual():
            # an activation on either branch would make two transcendental functions of the same forms
            entry = dataclasses.replace(signal, fresh=signal.fresh and not layer.shortcut, is_new=False)
            branches = [_walk(layer.layers, f"{path}.", entry, cell)]
            branches.append(_walk(layer.shortcut, f"{path}.shortcut.", entry, cell))
            new = [branch for branch in branches if branch.is_new and branch.independent and branch.alive.all()]
            alive = np.full(branches[0].alive.shape, bool(new))
            squares = bool(new) and all(branch.squares for branch in new)
            return _Signal(alive, bool(new), any(branch.fresh for branch in new), squares, bool(new))
        case Activation():
            return _activate(layer, path, signal, cell)
    return signal  # a normalisation


def _convolve(layer: Conv2d, signal: _Signal) -> _Signal:
    shape = layer.output_shape(signal.alive.shape)
    system = LayerSystem.of_layer(layer, signal.alive.shape)
    visible = signal.alive.any(axis=0).reshape(-1)
    sees = np.zeros(system.positions, dtype=np.bool_)
    for row, column in system.lags():
        positions, pixels = system.touched(row, column)
        sees[positions] |= visible[pixels]
    alive = np.broadcast_to(sees.reshape(shape[1:]), shape)
    if layer.bias and not sees.all():  # one value in several places: neither zero nor independent
        return _Signal(np.ones(shape, dtype=np.bool_), independent=False, fresh=False, squares=False)
    return _Signal(alive, signal.independent, signal.independent, signal.squares)


def _winning_pixels(layer: MaxPool2d, shape: Shape, winners: NDArray[np.intp]) -> NDArray[np.intp]:
    """Flat indices of the pixels that win, (channels, windows)."""
    rows, columns = np.divmod(winners, layer.kernel_size[1])
    tall = np.arange(winners.shape[1])[:, None] * layer.stride[0] - layer.padding[0] + rows
    wide = np.arange(winners.shape[2]) * layer.stride[1] - layer.padding[1] + columns
    return np.asarray(tall * shape[2] + wide).reshape(len(winners), -1)


def _activate(layer: Activation, path: str, signal: _Signal, cell: Cell | None) -> _Signal:
    match layer:
        case Identity():
            return signal
        case Polynomial():
            degree = max((power for power, value in enumerate(layer.coefficients) if value), default=0)
            if degree == 1 and (layer.coefficients[0] == 0 or signal.alive.all()):
                return signal
            some = np.full(signal.alive.shape, degree > 0) & signal.alive
            return _Signal(some, independent=False, fresh=False, squares=False)
        case LeakyReLU() | ReLU():
            if isinstance(layer, LeakyReLU) and layer.negative_slope:
                return signal
            assert cell is not None
            positive = cell.positive[path].reshape(signal.alive.shape)
            return dataclasses.replace(signal, alive=signal.alive & positive)
    if isinstance(layer, ELU) and layer.alpha == 0:
        assert cell is not None
        return dataclasses.replace(signal, alive=signal.alive & cell.positive[path].reshape(signal.alive.shape))
    if not signal.is_all_fresh:
        raise UnsupportedError(
            f"layer {path} ({layer.type}): its values are not proved to be free, for which inputs that a convolution or a "
            "linear layer makes directly, none of them identically zero, are accepted"
        )
    if isinstance(layer, Erf | GELU) and not signal.squares:
        raise UnsupportedError(
            f"layer {path} ({layer.type}): its values are not proved to be free behind a mean over windows and a convolution"
        )
    return _Signal(signal.alive, True, False, signal.squares or not isinstance(layer, ELU))
