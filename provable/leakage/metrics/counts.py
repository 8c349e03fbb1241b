"""Counts that are used as metrics: widths against sizes, parameters against input values."""

from __future__ import annotations

from provable.architectures import Architecture, Conv2d, Linear
from provable.errors import UnsupportedError
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.metrics.metric import Metric

WIDTH_METRIC = Metric(
    name="width condition",
    question="Is the first layer at least as wide as the sample?",
    definition="outputs of the first layer minus its inputs, |z_1| - |x|; >= 0 is meant to make inversion possible",
    unit="values",
    needs="architecture",
    source="Qian et al. (read: abstracts): h >= (d/d')² C filters of a convolution, or more hidden units than samples",
    cannot_see=(
        "dependent filters: with one filter more than channels, W alone is not injective",
        "the gradient's equations, which can make up for missing outputs: the condition is not necessary",
        "all layers behind the first",
        "noise",
    ),
)

DATA_RATIO_METRIC = Metric(
    name="data ratio",
    question="Are there more gradient entries than input values?",
    definition="number of parameters over number of input values of all samples",
    unit="equations per unknown",
    needs="architecture, batch size",
    source="breaching (Geiping), which prints it before an attack",
    cannot_see=(
        "which layer has the parameters",
        "dependencies between gradient entries",
        "input values that nothing looks at",
        "noise",
    ),
)


def width_surplus(architecture: Architecture) -> int:
    """Outputs minus inputs of the first layer with parameters.

    Parameters
    ----------
    architecture : Architecture
        The network.

    Returns
    -------
    int
        |z_1| - |x_1|; nonnegative if the width condition holds.

    Raises
    ------
    UnsupportedError
        If the network has no convolution or linear layer outside residual blocks.
    """
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Conv2d | Linear):
            system = LayerSystem.of_layer(layer, architecture.shapes[index])
            return system.forward_equations - system.unknowns
    raise UnsupportedError("layers: found no convolution and no linear layer outside residual blocks; one is needed")


def data_ratio(architecture: Architecture, batch_size: int = 1) -> float:
    """Number of parameters for each input value.

    Parameters
    ----------
    architecture : Architecture
        The network.
    batch_size : int
        Number of samples behind one gradient.

    Returns
    -------
    float
        P / (batch_size · n).
    """
    return architecture.parameter_count / (batch_size * architecture.input_size)
