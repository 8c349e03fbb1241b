"""Descriptions of well-known image classifiers: ResNet-18 and -50, VGG-11, and the patch embeddings of vision transformers.

Batch norm stands in evaluation mode. The last pooling of a residual network takes the mean of the whole image. A vision
transformer is described up to its patch embedding only, which sees the image first, followed by a linear head.

References
----------
He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (stride in the 3×3 convolution of a bottleneck, as in
common implementations). Simonyan and Zisserman, "Very Deep Convolutional Networks", ICLR 2015. Dosovitskiy et al., "An Image
is Worth 16×16 Words", ICLR 2021; Touvron et al., "Training data-efficient image transformers", ICML 2021 (widths S and T).
"""

from __future__ import annotations

from provable.architectures.architecture import Architecture
from provable.architectures.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
)

_CLASSES = 1000
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Width and first stride of the four stages of a residual network."""


def _normalised(channels: int, kernel: int, stride: int = 1) -> tuple[Layer, ...]:
    return Conv2d(channels, kernel, stride, kernel // 2, bias=False), BatchNorm2d()


def resnet(name: str, side: int, blocks: tuple[int, ...], *, bottleneck: bool) -> Architecture:
    """Describe a residual network for square colour images.

    Parameters
    ----------
    name : str
        Its name.
    side : int
        Height and width of the images, a multiple of 32.
    blocks : tuple of int
        Number of residual blocks in each of the four stages.
    bottleneck : bool
        Blocks of three convolutions (1×1, 3×3, 1×1) that widen fourfold, instead of two 3×3 convolutions.

    Returns
    -------
    Architecture
        The description, with 1000 classes.
    """
    layers: list[Layer] = [*_normalised(64, 7, 2), ReLU(), MaxPool2d(3, 2, 1)]
    channels = 64
    for (width, first_stride), count in zip(_STAGES, blocks, strict=True):
        for block in range(count):
            stride = first_stride if block == 0 else 1
            result = 4 * width if bottleneck else width
            if bottleneck:
                inner = (
                    *_normalised(width, 1),
                    ReLU(),
                    *_normalised(width, 3, stride),
                    ReLU(),
                    *_normalised(result, 1),
                )
            else:
                inner = (*_normalised(width, 3, stride), ReLU(), *_normalised(width, 3))
            around = () if stride == 1 and channels == result else _normalised(result, 1, stride)
            layers += [Residual(inner, around), ReLU()]
            channels = result
    layers += [AvgPool2d(side // 32), Flatten(), Linear(_CLASSES)]
    return Architecture(name, (3, side, side), tuple(layers), "cross_entropy")


def vgg11(name: str, side: int) -> Architecture:
    """Describe VGG-11 for square colour images.

    Parameters
    ----------
    name : str
        Its name.
    side : int
        Height and width of the images, a multiple of 32.

    Returns
    -------
    Architecture
        The description, with 1000 classes; dropout, which does nothing in evaluation mode, is left out.
    """
    layers: list[Layer] = []
    for channels, pool in ((64, True), (128, True), (256, False), (256, True), (512, False), (512, True), (512, False)):
        layers += [Conv2d(channels, 3, padding=1), ReLU()] + ([MaxPool2d(2)] if pool else [])
    layers += [Conv2d(512, 3, padding=1), ReLU(), MaxPool2d(2), Flatten()]
    layers += [Linear(4096), ReLU(), Linear(4096), ReLU(), Linear(_CLASSES)]
    return Architecture(name, (3, side, side), tuple(layers), "cross_entropy")


def patch_embedding(name: str, width: int, *, side: int = 224, patch: int = 16) -> Architecture:
    """Describe the patch embedding of a vision transformer, with a linear head.

    Parameters
    ----------
    name : str
        Its name.
    width : int
        Length of a patch's embedding.
    side : int, optional
        Height and width of the images.
    patch : int, optional
        Height and width of a patch.

    Returns
    -------
    Architecture
        The description, with 1000 classes.
    """
    layers = (Conv2d(width, patch, patch), Flatten(), Linear(_CLASSES))
    return Architecture(name, (3, side, side), layers, "cross_entropy")
