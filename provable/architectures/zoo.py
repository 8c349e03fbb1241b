"""Networks of published studies of gradient leakage, and small ones for 8×8 digits, by name.

Chen and Campbell's networks (``cnn2_c0`` … ``cnn4_c3``, ``lenet``, ``lenet2``) take 3×32×32 images, have convolutions
without bias, one activation after each, and a last linear layer of 10 outputs with bias under cross-entropy. The
activation given here is tanh (sigmoid for ``lenet``, whose convolutions have biases); the published variants with other
injective activations share the shapes, and with them every rank.

R-GAP's networks (``cnn6``, ``cnn6-d``, ``fcn3`` and the five of its rank-analysis figure, ``rgap-figure-1`` …) have no
biases, leaky ReLU with slope 0.2, and one logit under the logistic loss.

``margin-relu`` has a bias in its first layer only, so that it is homogeneous in its parameters, and one logit under the
logistic loss: training without weight decay takes it towards a stationary point of the maximal margin.

Then well-known classifiers of colour images of 224 or 32 pixels a side (`provable.architectures.image_classifiers`).

References
----------
Chen and Campbell, "Understanding training-data leakage from gradients in neural networks for image classification",
arXiv:2111.10178, with the released code. Zhu and Blaschko, "R-GAP: Recursive Gradient Attack on Privacy", ICLR 2021, with the
released code. Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019 (``lenet``).
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from types import MappingProxyType

from provable.architectures.architecture import Architecture
from provable.architectures.image_classifiers import patch_embedding, resnet, vgg11
from provable.architectures.layers import (
    Activation,
    Conv2d,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Sigmoid,
    Tanh,
)
from provable.errors import InputError

Convolution = tuple[int, int, int, int]
"""Output channels, kernel size, stride, padding."""

_IMAGE = (3, 32, 32)
_DIGIT = 64
_CLASSES = 10

_CHEN_CAMPBELL: dict[str, tuple[Convolution, ...]] = {
    "cnn2_c0": ((1, 3, 2, 0),),
    "cnn2_c1": ((6, 3, 1, 0),),
    "cnn2_c2": ((6, 4, 2, 0),),
    "cnn2_c4": ((1, 3, 1, 0),),
    "cnn2_c5": ((3, 3, 1, 1),),
    "cnn2_c6": ((12, 5, 2, 0),),
    "cnn3_c1": ((6, 3, 1, 0), (3, 4, 2, 0)),
    "cnn3_c2": ((6, 4, 2, 0), (3, 3, 2, 0)),
    "cnn3_c3": ((6, 3, 1, 0), (9, 3, 1, 0)),
    "cnn3_c4": ((1, 3, 1, 0), (6, 3, 1, 0)),
    "cnn3_c8": ((9, 3, 1, 0), (3, 4, 2, 0)),
    "cnn3_c9": ((5, 3, 1, 0), (7, 3, 1, 0)),
    "cnn4_c1": ((6, 3, 1, 0), (5, 4, 2, 0), (3, 4, 1, 0)),
    "cnn4_c2": ((16, 5, 1, 0), (6, 5, 2, 0), (32, 5, 1, 2)),
    "cnn4_c3": ((6, 5, 1, 0), (16, 5, 2, 0), (16, 5, 1, 2)),
    "lenet2": ((12, 3, 2, 1), (12, 5, 2, 2), (12, 5, 1, 2)),
}

_RGAP: dict[str, tuple[tuple[Convolution, ...], tuple[int, ...]]] = {
    "cnn6": (((12, 4, 2, 2), (36, 3, 2, 1), (36, 3, 1, 1), (36, 3, 1, 1), (64, 3, 2, 1), (128, 3, 1, 1)), (1,)),
    "cnn6-d": (((12, 4, 2, 2), (20, 3, 2, 1), (36, 3, 1, 1), (36, 3, 1, 1), (64, 3, 2, 1), (128, 3, 1, 1)), (1,)),
    "rgap-figure-1": (((4, 4, 1, 0),), (1,)),
    "rgap-figure-2": (((3, 4, 1, 0),), (1,)),
    "rgap-figure-3": (((3, 4, 1, 0),), (500, 1)),
    "rgap-figure-4": (((4, 3, 1, 0), (4, 3, 1, 0)), (1,)),
    "rgap-figure-5": (((4, 5, 1, 0), (4, 4, 1, 0)), (1,)),
}


def _convolutional(
    name: str,
    convolutions: tuple[Convolution, ...],
    widths: tuple[int, ...],
    activation: Activation,
    loss: str,
    *,
    convolution_bias: bool,
    linear_bias: bool,
) -> Architecture:
    layers: list[Layer] = []
    for channels, kernel, stride, padding in convolutions:
        layers += [Conv2d(channels, kernel, stride, padding, convolution_bias), activation]
    layers.append(Flatten())
    for width in widths:
        layers += [Linear(width, linear_bias), activation]
    return Architecture(name, _IMAGE, tuple(layers[:-1]), loss)


def _fully_connected(
    name: str, inputs: int, widths: tuple[int, ...], activation: Activation, loss: str, *, bias: bool
) -> Architecture:
    layers: list[Layer] = []
    for width in widths:
        layers += [Linear(width, bias), activation]
    return Architecture(name, (inputs,), tuple(layers[:-1]), loss)


def _networks() -> list[Architecture]:
    networks = [
        _convolutional(name, shapes, (_CLASSES,), Tanh(), "cross_entropy", convolution_bias=False, linear_bias=True)
        for name, shapes in _CHEN_CAMPBELL.items()
    ]
    networks.append(
        _convolutional(
            "lenet",
            ((12, 5, 2, 2), (12, 5, 2, 2), (12, 5, 1, 2)),
            (_CLASSES,),
            Sigmoid(),
            "cross_entropy",
            convolution_bias=True,
            linear_bias=True,
        )
    )
    leaky = LeakyReLU(0.2)
    networks += [
        _convolutional(name, shapes, widths, leaky, "logistic", convolution_bias=False, linear_bias=False)
        for name, (shapes, widths) in _RGAP.items()
    ]
    networks.append(_fully_connected("fcn3", 784, (1000, 100, 1), leaky, "logistic", bias=False))
    for suffix, side in (("", 224), ("-32", 32)):
        networks += [
            resnet(f"resnet18{suffix}", side, (2, 2, 2, 2), bottleneck=False),
            resnet(f"resnet50{suffix}", side, (3, 4, 6, 3), bottleneck=True),
            vgg11(f"vgg11{suffix}", side),
        ]
    networks += [
        patch_embedding(f"vit-{size}16-patches", width) for size, width in (("b", 768), ("s", 384), ("t", 192))
    ]
    networks += [
        _fully_connected("two-layer-tanh", _DIGIT, (32, _CLASSES), Tanh(), "cross_entropy", bias=True),
        _fully_connected("two-layer-relu", _DIGIT, (32, _CLASSES), ReLU(), "cross_entropy", bias=True),
        _fully_connected("wide-tanh", _DIGIT, (256, _CLASSES), Tanh(), "cross_entropy", bias=True),
        _fully_connected("wide-relu", _DIGIT, (512, _CLASSES), ReLU(), "cross_entropy", bias=True),
        _fully_connected("mlp-digits", _DIGIT, (64, 32, _CLASSES), ReLU(), "cross_entropy", bias=True),
    ]
    networks += [
        _fully_connected("kernel-relu", _DIGIT, (1000, 1), ReLU(), "squared", bias=True),
        _fully_connected("kernel-relu-bias-free", _DIGIT, (1000, 1), ReLU(), "squared", bias=False),
    ]
    two_layers = (Linear(200), ReLU(), Linear(1, bias=False))
    networks.append(Architecture("margin-relu", (_DIGIT,), two_layers, "logistic"))
    digits = (Conv2d(4, 3, padding=1), Tanh(), Flatten(), Linear(_CLASSES))
    networks.append(Architecture("cnn-digits", (1, 8, 8), digits, "cross_entropy"))
    return networks


@functools.cache
def zoo() -> Mapping[str, Architecture]:
    """List the architectures that have a name.

    Returns
    -------
    mapping of str to Architecture
        Read-only, in the order of the studies.
    """
    return MappingProxyType({network.name: network for network in _networks()})


def from_zoo(name: str) -> Architecture:
    """Look an architecture up.

    Parameters
    ----------
    name : str
        Its name in the zoo; capitals and the difference between ``-`` and ``_`` do not matter.

    Returns
    -------
    Architecture
        The architecture.

    Raises
    ------
    InputError
        If there is none of that name; the message lists the names that are nearest.
    """
    plain = {key.replace("_", "-"): network for key, network in zoo().items()}
    wanted = name.lower().replace("_", "-")
    if wanted in plain:
        return plain[wanted]
    near = difflib.get_close_matches(wanted, plain, n=3, cutoff=0.5)
    names = [plain[key].name for key in near] or list(zoo())
    raise InputError(f"architecture: found {name[:60]!r}, which is no name of the zoo; accepted are {', '.join(names)}")
