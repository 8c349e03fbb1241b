"""How the recursion reads a network: links, what hides their outputs, where it starts."""

from __future__ import annotations

import pytest

from provable.architectures import (
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Tanh,
)
from provable.architectures.zoo import zoo
from provable.errors import UnsupportedError
from provable.leakage.chain import chain


def network(*layers, shape=(2, 8, 8), loss="cross_entropy"):
    return Architecture("small", shape, layers, loss)


def hidden(*layers):
    return [bool(link.hidden) for link in chain(network(*layers)).links]


def test_links_of_a_block_carry_their_place_and_are_hidden():
    block = Residual((Conv2d(3, 3, padding=1), Tanh(), Conv2d(3, 1)), (Conv2d(3, 1),))
    read = chain(network(Conv2d(2, 1), Tanh(), block, Tanh(), Conv2d(1, 1), Tanh(), Flatten(), Linear(3)))
    assert [link.path for link in read.links] == ["0", "2.0", "2.2", "2.shortcut.0", "4", "7"]
    assert [bool(link.hidden) for link in read.links] == [True, True, True, True, False, False]
    assert [link.is_on_main_path for link in read.links] == [True, True, True, False, True, True]
    assert [link.index for link in read.links] == [0, 2, 2, 2, 4, 7]
    assert [len(link.activations) for link in read.links] == [1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("between", "hides"),
    [
        ((Tanh(),), False),
        ((BatchNorm2d(), Tanh()), False),
        ((Tanh(), BatchNorm2d()), False),
        ((ReLU(),), True),
        ((LeakyReLU(0.0),), True),
        ((Tanh(), AvgPool2d(2)), True),
        ((MaxPool2d(2), Tanh()), True),
        ((Tanh(), AvgPool2d(1)), False),
        ((Tanh(), MaxPool2d(1, 2)), True),
    ],
)
def test_what_hides_the_outputs_of_a_convolution(between, hides):
    assert hidden(Conv2d(3, 3), *between, Flatten(), Linear(3)) == [hides, False]


def test_affine_layers_between_convolutions_confine_sensitivities():
    assert hidden(Conv2d(3, 3), Identity(), Conv2d(2, 3), Tanh(), Flatten(), Linear(3)) == [True, False, False]
    assert hidden(Conv2d(3, 3), BatchNorm2d(), Conv2d(2, 3), Tanh(), Flatten(), Linear(3)) == [True, False, False]


def test_flat_pieces_hide_nothing_from_linear_layers():
    layers = (Linear(4, bias=False), ReLU(), Linear(3, bias=False), ReLU(), Linear(1, bias=False))
    read = chain(network(*layers, shape=(5,), loss="logistic"))
    assert not any(link.hidden for link in read.links)


def test_where_the_recursion_starts():
    def start(*layers, loss="cross_entropy"):
        return chain(network(*layers, loss=loss)).start

    assert start(Conv2d(3, 3), Flatten(), Linear(3), Tanh(), Linear(2)).position == 1
    assert start(Conv2d(3, 3), Flatten(), Linear(3, bias=False), Tanh(), Linear(2)).position == 2
    for layers in (
        (Conv2d(3, 8), Flatten()),
        (Flatten(), Linear(3, bias=False), Tanh()),
        (Flatten(), Residual((Linear(128),))),
    ):
        found = start(*layers)
        assert found.position is None and "ends the network" in found.how


def test_who_sees_the_sample():
    tail = (Tanh(), Flatten(), Linear(3))
    assert chain(network(Conv2d(2, 3), *tail)).sees_sample
    assert chain(network(BatchNorm2d(), Conv2d(2, 3), *tail)).sees_sample
    assert not chain(network(AvgPool2d(2), Conv2d(2, 3), *tail)).sees_sample
    assert not chain(network(Residual((Conv2d(2, 1),)), *tail)).sees_sample


def test_a_network_without_parameters_is_refused():
    with pytest.raises(UnsupportedError, match=r"layer 1 \(flatten\)"):
        chain(network(AvgPool2d(2), Flatten()))


@pytest.mark.parametrize("name", list(zoo()))
def test_every_network_with_a_name_is_read(name):
    architecture = zoo()[name]
    read = chain(architecture)
    weights = [path for path in architecture.parameter_shapes if path.endswith("/weight")]
    paths = {f"{link.path}/weight" for link in read.links}
    assert paths <= set(weights) and read.start.position is not None
