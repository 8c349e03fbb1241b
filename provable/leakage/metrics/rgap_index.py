"""R-GAP's rank analysis index: unknowns minus equations of every convolution, with virtual constraints.

Notes
-----
For the convolutions n = 1, 2, … from the input on, with input size |x_n|, number of weights |W_n| and output size
|z_n|,

    RA-i = max_i ( |x_i| - |W_i| - |z_i| - |V_i| ),
    |V_i| = Σ_{n<i} ( max(|z_n| - |x_n|, 0) - max(|x_n| - |z_n| - |W_n|, 0) ).

A positive index is meant to say that the gradient leaves dimensions open. |V_i| are the virtual constraints: if an earlier
layer has more outputs than inputs, its outputs lie on a surface of lower dimension.

It counts equations and does not ask whether they are independent. They are not: Wₘ Gᵀ = Z Dᵀ holds identically (Wₘ, G, Z
and D are kernel, its gradient, output and sensitivity as matrices), which is Cout² dependencies in each layer, and strides
and borders make more. The index is negative for ``rgap-figure-4``, whose second layer is 336 equations short, and 316 for
``rgap-figure-5``, where 38 dimensions stay open.
"""

from __future__ import annotations

from dataclasses import dataclass

from provable.architectures import Activation, Architecture, BatchNorm2d, Conv2d, Flatten, Linear
from provable.errors import UnsupportedError
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.metrics.metric import Metric

METRIC = Metric(
    name="R-GAP's rank analysis index (RA-i)",
    question="Has some layer more unknowns than equations?",
    definition="max over convolutions of |x_i| - |W_i| - |z_i| - |V_i|, V_i the virtual constraints of earlier layers",
    unit="equations missing (negative: surplus)",
    needs="architecture",
    source=(
        "Zhu and Blaschko, R-GAP, ICLR 2021; the formula of |V_i| and the maximum are recalled, and give the five values of "
        "the authors' figure"
    ),
    cannot_see=(
        "dependencies between the equations (Cout² in every layer)",
        "input values that no output position reaches",
        "outputs that ReLU hides",
        "conditioning",
        "noise",
    ),
)


@dataclass(frozen=True)
class CountedLayer:
    """The counts of one convolution.

    Parameters
    ----------
    index : int
        Its position in the architecture.
    unknowns : int
        |x|, the size of its input.
    weights : int
        |W|, the number of its weights without bias: one gradient equation each.
    outputs : int
        |z|, the size of its output: one forward equation each.
    virtual : int
        |V|, the virtual constraints that earlier layers put on its input; negative if they are short of equations.
    """

    index: int
    unknowns: int
    weights: int
    outputs: int
    virtual: int

    @property
    def missing(self) -> int:
        """Unknowns minus equations, virtual constraints included."""
        return self.unknowns - self.weights - self.outputs - self.virtual


@dataclass(frozen=True)
class RGapIndex:
    """R-GAP's index and the counts behind it.

    Parameters
    ----------
    value : int or None
        The index; None if there is no convolution.
    layers : tuple of CountedLayer
        The convolutions from the input on.
    """

    value: int | None
    layers: tuple[CountedLayer, ...]


def rgap_index(architecture: Architecture) -> RGapIndex:
    """R-GAP's rank analysis index of an architecture; see the module for the formula.

    Parameters
    ----------
    architecture : Architecture
        Convolutions with activations (and batch normalisations) between them, then linear layers.

    Returns
    -------
    RGapIndex
        The index and the counts of every convolution.

    Raises
    ------
    UnsupportedError
        For pooling and residual blocks, for which the authors' count has no rule.
    """
    counted: list[CountedLayer] = []
    virtual = 0
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Conv2d):
            system = LayerSystem.of_layer(layer, architecture.shapes[index])
            sizes = system.unknowns, system.gradient_equations, system.forward_equations
            counted.append(CountedLayer(index, *sizes, virtual))
            unknowns, weights, outputs = sizes
            virtual += max(outputs - unknowns, 0) - max(unknowns - outputs - weights, 0)
        elif not isinstance(layer, Activation | Linear | Flatten | BatchNorm2d):
            raise UnsupportedError(
                f"layer {index} ({layer.type}): R-GAP's index has no rule for it; convolutions, linear layers, batch "
                "normalisations and activations are accepted"
            )
    return RGapIndex(max((layer.missing for layer in counted), default=None), tuple(counted))
