"""Small networks with every layer type, as parametrised fixtures."""

from __future__ import annotations

import pytest

from provable.architectures import (
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
from provable.architectures.layers import ELU, GELU, Erf, Sigmoid, SiLU, Softplus, Tanh

Case = tuple[tuple[int, ...], tuple[Layer, ...]]

# affine in every single parameter between kinks: exact rational difference quotients are exact derivatives
PIECEWISE_LINEAR: dict[str, Case] = {
    "one-weight": ((1,), (Linear(1, bias=False),)),
    "linear": ((3,), (Linear(2),)),
    "dense": ((3,), (Linear(4), ReLU(), Linear(3, bias=False), LeakyReLU(0.2), Linear(2))),
    "convolution": ((2, 5, 4), (Conv2d(3, (3, 2), (2, 1), (1, 0)), ReLU(), Conv2d(2, 2, bias=False), Flatten())),
    "average": ((1, 5, 5), (Conv2d(2, 2), AvgPool2d((3, 2), (2, 1), 1), Flatten(), Linear(1))),
    "maximum": ((1, 6, 5), (Conv2d(2, 2, padding=1), MaxPool2d((3, 2), (2, 1), 1), Flatten(), Linear(2))),
    "pool-first": ((1, 4, 4), (MaxPool2d(2), AvgPool2d(2), Flatten(), ReLU(), Linear(1))),
    "residual": (
        (3,),
        (
            Residual((Linear(3), ReLU(), Residual((Linear(3), LeakyReLU(-0.5))))),
            Residual((Linear(2), Identity()), (Linear(2, bias=False),)),
            Linear(2),
        ),
    ),
    "residual-convolution": (
        (1, 4, 4),
        (Residual((Conv2d(2, 3, 2, 1), ReLU()), (AvgPool2d(2), Conv2d(2, 1))), Flatten(), Linear(2)),
    ),
}
SMOOTH: dict[str, Case] = {
    activation.type: ((2,), (Linear(3), activation, Linear(2), activation, Linear(2)))
    for activation in (
        Tanh(), Sigmoid(), Softplus(), Erf(), GELU(), SiLU(), ELU(0.75), Polynomial((0.5, 1.0, -0.25, 0.125)),
    )
} | {
    "tanh-convolution": ((1, 4, 3), (Conv2d(2, 2, 1, 1), Tanh(), AvgPool2d(2), Flatten(), Linear(1))),
    "gelu-residual": ((2,), (Residual((Linear(2), GELU())), Residual((Linear(3), Erf()), (Linear(3),)), Linear(1))),
}  # fmt: skip


def build(name: str) -> Architecture:
    """Make the named network."""
    shape, layers = (PIECEWISE_LINEAR | SMOOTH)[name]
    return Architecture(name, shape, layers, "squared")


@pytest.fixture(params=list(PIECEWISE_LINEAR), scope="session")
def piecewise_linear(request: pytest.FixtureRequest) -> Architecture:
    """A network that can be evaluated in rationals."""
    return build(request.param)


@pytest.fixture(params=list(SMOOTH), scope="session")
def smooth(request: pytest.FixtureRequest) -> Architecture:
    """A network with smooth (or, for ELU, once differentiable) activations."""
    return build(request.param)


@pytest.fixture(params=list(PIECEWISE_LINEAR | SMOOTH), scope="session")
def network(request: pytest.FixtureRequest) -> Architecture:
    """Any of the networks."""
    return build(request.param)
