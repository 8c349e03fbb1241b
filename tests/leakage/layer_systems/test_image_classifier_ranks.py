"""Layers of ResNet-18, ResNet-50, VGG-11 and vision transformers: every deficit proved from both sides, and checked.

The shapes are written down from the architectures' definitions; deficits of 1×1 convolutions and patch embeddings have a
closed form, the others are computed, and the sums are compared with c(M) as Chen and Campbell define it.
"""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from provable.architectures import Architecture, Conv2d, Flatten, LeakyReLU, Linear
from provable.checker import check
from provable.leakage.layer_systems import LayerSystem, rank_bounds
from provable.leakage.layer_systems.rank_certificates import lower_certificate, upper_certificate


def square(into, out, side, kernel, stride=1, padding=0):
    return LayerSystem(into, out, (side,) * 2, (kernel,) * 2, (stride,) * 2, (padding,) * 2)


def resnet(blocks, side, *, bottleneck):
    """The convolutions on the main path in their order, and those of the shortcuts."""
    main, shortcuts = [square(3, 64, side, 7, 2, 3)], []
    side = (main[0].output_size[0] + 2 - 3) // 2 + 1  # max-pooling, kernel 3, stride 2, padding 1
    channels = 64
    for stage, number in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(number):
            stride = 2 if stage and not block else 1
            small = (side - 1) // stride + 1
            if bottleneck:
                main += [square(channels, width, side, 1), square(width, width, side, 3, stride, 1)]
                main.append(square(width, 4 * width, small, 1))
            else:
                main += [square(channels, width, side, 3, stride, 1), square(width, width, small, 3, 1, 1)]
            out = 4 * width if bottleneck else width
            if stride > 1 or channels != out:
                shortcuts.append(square(channels, out, side, 1, stride))
            side, channels = small, out
    return main, shortcuts


def vgg11(side):
    """Convolutions with kernel 3 and padding 1; "pool" halves the side."""
    systems, channels = [], 3
    for width in (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512):
        if width == "pool":
            side //= 2
        else:
            systems.append(square(channels, width, side, 3, 1, 1))
            channels = width
    return systems


def deficits(systems):
    """Both bounds, which have to agree."""
    bounds = {system: rank_bounds(system) for system in systems}
    for system, bound in bounds.items():
        assert bound.lower is not None and bound.lower.value == bound.upper.value, system
    return [system.unknowns - bounds[system].upper.value for system in systems]


def c_metric(systems):
    depth = len(systems)
    return -sum(round(Fraction((depth - place) * open_, depth)) for place, open_ in enumerate(deficits(systems)))


def tile_deficit(system):
    """(patch - Cout)₊ (positions - Cout)₊ and what a stride beyond the kernel leaves out."""
    patch, positions = system.patch, system.positions
    return (
        max(patch - system.out_channels, 0) * max(positions - system.out_channels, 0)
        + system.unknowns
        - patch * positions
    )


def test_resnet_18_on_large_images():
    main, shortcuts = resnet((2, 2, 2, 2), 224, bottleneck=False)
    assert (len(main), main[5]) == (17, square(64, 128, 56, 3, 2, 1))
    assert deficits(main) == [0] * 5 + [64 * (3136 - 1568 - 1152 + 256)] + [0] * 11
    assert c_metric(main) == -30359
    assert deficits(shortcuts) == [tile_deficit(system) for system in shortcuts]


def test_resnet_50_on_large_images():
    """Bottlenecks squeeze channels on large images: that is where the equations run out."""
    main, shortcuts = resnet((3, 4, 6, 3), 224, bottleneck=True)
    assert len(main) == 49
    found = dict(zip(main, deficits(main), strict=True))
    for system, open_ in found.items():
        if system.kernel_size == (1, 1):
            assert open_ == tile_deficit(system)
    assert {system: open_ for system, open_ in found.items() if open_ and system.kernel_size != (1, 1)} == {
        square(128, 128, 56, 3, 2, 1): 128 * (3136 - 784 - 1152 + 128)
    }
    assert sum(deficits(main)) == 2_625_536
    assert c_metric(main) == -2_068_939
    assert deficits(shortcuts) == [tile_deficit(system) for system in shortcuts]


@pytest.mark.parametrize("bottleneck", [False, True])
def test_resnets_on_small_images_leave_nothing_open_but_on_shortcuts(bottleneck):
    main, shortcuts = resnet((3, 4, 6, 3) if bottleneck else (2, 2, 2, 2), 32, bottleneck=bottleneck)
    assert not any(deficits(main))
    assert deficits(shortcuts) == [tile_deficit(system) for system in shortcuts]


@pytest.mark.parametrize("side", [32, 224])
def test_vgg_leaves_nothing_open(side):
    assert len(vgg11(side)) == 8
    assert not any(deficits(vgg11(side)))


@pytest.mark.parametrize(("width", "expected"), [(768, 0), (384, 0), (192, 2304)])
def test_patch_embeddings(width, expected):
    """Tiny, small and base vision transformers: (768 - width)₊ (196 - width)₊."""
    assert deficits([square(3, width, 224, 16, 16)]) == [expected]


@pytest.mark.parametrize("side", [40, 60, 82])
def test_resnets_on_sides_between_have_deficits_that_meet_as_well(side):
    for bottleneck in (False, True):
        main, shortcuts = resnet((1, 1, 1, 1), side, bottleneck=bottleneck)
        assert min(deficits(main + shortcuts)) >= 0


@pytest.mark.parametrize("batch", [2, 7, 64])
def test_batches_of_images_are_open_where_one_image_is_not(batch):
    """The gradient rows stay as many: what W alone leaves open is left open in all but the known patches."""
    one, many = (LayerSystem(64, 128, (56, 56), (3, 3), (2, 2), (1, 1), size) for size in (1, batch))
    assert deficits([many])[0] == deficits([one])[0] + (batch - 1) * 64 * (3136 - 2 * 784)


def certified(system):
    """Both certificates of a layer in a network of its own."""
    layer = Conv2d(system.out_channels, system.kernel_size, system.stride, system.padding, bias=False)
    layers = (layer, LeakyReLU(0.2), Flatten(), Linear(2))
    network = Architecture("one layer", (system.in_channels, *system.input_size), layers, "cross_entropy")
    bounds = rank_bounds(system)
    return [
        lower_certificate(network, "0", system, bounds.lower, seed=0),
        upper_certificate(network, "0", system, bounds.upper, seed=0),
    ]


@pytest.mark.parametrize(
    "system",
    [
        square(3, 64, 64, 7, 2, 3),
        square(64, 128, 56, 3, 2, 1),
        square(128, 128, 56, 3, 2, 1),
        square(256, 256, 28, 3, 2, 1),
        square(256, 64, 56, 1),
        square(64, 64, 56, 3, 1, 1),
        square(32, 12, 24, 3, 1, 1),
        LayerSystem(16, 24, (20, 20), (3, 3), (2, 2), (1, 1), 5),
    ],
    ids=str,
)
def test_the_checker_proves_bounds_of_large_layers_again(system):
    lower, upper = certified(system)
    assert lower.data["rank"] == upper.data["bound"]
    for certificate, key, change in ((lower, "rank", 1), (upper, "bound", -1)):
        result = check(certificate.to_json())
        assert result.valid, result.reason
        document = json.loads(certificate.to_json())
        document["data"][key] += change
        assert not check(document).valid
