"""Ranks of layer systems: proved bounds against dense singular values, and how their time grows with the image.

Run it with one thread of BLAS, ``OPENBLAS_NUM_THREADS=1 python benchmarks/layer_ranks.py``. The dense route builds
U = [W; K] at random float64 weights and sensitivities and counts singular values above 10⁻¹⁰ of the largest; it gives a
number that is very likely the generic rank. `provable.leakage.rank_bounds` gives proved bounds of it. Both have to agree.
The largest U of the first table takes about 1 GB, and its singular values as much again; ``--small`` leaves out the layers
above 0.3 GB.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np

from provable.architectures.zoo import from_zoo
from provable.leakage.chain import chain
from provable.leakage.layer_systems import LayerSystem, rank_bounds

LEAST_RATIO = 100


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def convolutions(name: str) -> list[LayerSystem]:
    """The layer systems of a network of the zoo that are convolutions, each once."""
    links = chain(from_zoo(name)).links
    return list(dict.fromkeys(link.system for link in links if link.is_convolution))


def dense_rank(system: LayerSystem, rng: np.random.Generator) -> int:
    """Numerical rank of U at a random point, K scaled to the same size as W."""
    weight, sensitivity = rng.standard_normal(system.weight_shape), rng.standard_normal(system.sensitivity_shape)
    values = np.linalg.svd(system.matrix(weight, sensitivity), compute_uv=False)
    return int(np.count_nonzero(values > 1e-10 * values[0]))


def proved_rank(system: LayerSystem) -> int:
    """The generic rank, where both proved bounds meet."""
    bounds = rank_bounds(system)
    if bounds.lower is None or bounds.lower.value < bounds.upper.value:
        raise SystemExit(f"{system}: the bounds do not meet: {bounds}")
    return bounds.lower.value


def shape(system: LayerSystem) -> str:
    """Channels, kernel, stride, padding and side, briefly."""
    return (
        f"{system.in_channels}->{system.out_channels} k{system.kernel_size[0]} s{system.stride[0]} "
        f"p{system.padding[0]} @{system.input_size[0]}"
    )


def against_dense(small: bool) -> None:
    """First table: CNN6 and its variant, layer by layer."""
    rng = np.random.default_rng(0)
    total = [0.0, 0.0]
    say(f"{'layer':28}{'unknowns':>9}{'rank':>7}{'dense GB':>10}{'dense s':>10}{'proved s':>10}{'ratio':>9}")
    rank_bounds(LayerSystem(1, 1))  # so that no import is timed
    for system in dict.fromkeys([*convolutions("cnn6"), *convolutions("cnn6-d")[1:2]]):
        size = 8e-9 * (system.forward_equations + system.gradient_equations) * system.unknowns
        if small and size > 0.3:
            continue
        start = time.perf_counter()
        found = dense_rank(system, rng)
        middle = time.perf_counter()
        proved = proved_rank(system)
        end = time.perf_counter()
        if found != proved:
            raise SystemExit(f"{system}: {found} singular values, and the proved rank is {proved}")
        spent = (middle - start, end - middle)
        total = [total[0] + spent[0], total[1] + spent[1]]
        say(
            f"{shape(system):28}{system.unknowns:9}{proved:7}{size:10.2f}{spent[0]:10.2f}{spent[1]:10.4f}"
            f"{spent[0] / spent[1]:9.0f}"
        )
    say(f"{'all':28}{'':9}{'':7}{'':10}{total[0]:10.2f}{total[1]:10.4f}{total[0] / total[1]:9.0f}")
    if total[0] < LEAST_RATIO * total[1]:
        raise SystemExit(f"the ratio is below {LEAST_RATIO}")


def growth() -> None:
    """Second table: one strided convolution and one stack on growing images."""
    say(f"\n{'side':>5}{'64->128 k3 s2: unknowns':>26}{'deficit':>10}{'s':>9}{'ResNet-18 stack: unknowns':>28}{'s':>9}")
    for side in (32, 64, 96, 128, 160, 192, 224):
        system = LayerSystem(64, 128, (side, side), (3, 3), (2, 2), (1, 1))
        start = time.perf_counter()
        deficit = system.unknowns - proved_rank(system)
        middle = time.perf_counter()
        stack = resnet_18(side)
        for layer in stack:
            proved_rank(layer)
        end = time.perf_counter()
        unknowns = sum(layer.unknowns for layer in stack)
        say(f"{side:5}{system.unknowns:26}{deficit:10}{middle - start:9.3f}{unknowns:28}{end - middle:9.3f}")


def resnet_18(side: int) -> list[LayerSystem]:
    """Convolutions on the main path of a ResNet-18."""
    systems = [LayerSystem(3, 64, (side, side), (7, 7), (2, 2), (3, 3))]
    side, channels = (systems[0].output_size[0] - 1) // 2 + 1, 64
    for width in (64, 128, 256, 512):
        stride = 1 if width == 64 else 2
        for step, into in ((stride, channels), (1, width), (1, width), (1, width)):
            systems.append(LayerSystem(into, width, (side, side), (3, 3), (step, step), (1, 1)))
            side = systems[-1].output_size[0]
        channels = width
    return systems


def networks() -> None:
    """Third table: whole networks, shortcuts included."""
    say(f"\n{'network':18}{'convolutions':>13}{'unknowns':>12}{'sum of deficits':>17}{'s':>8}")
    for name in ("resnet18", "resnet50", "vgg11", "resnet18-32", "vgg11-32", "vit-b16-patches", "vit-t16-patches"):
        start = time.perf_counter()
        systems = [link.system for link in chain(from_zoo(name)).links if link.is_convolution]
        ranks = {system: proved_rank(system) for system in dict.fromkeys(systems)}
        spent = time.perf_counter() - start
        unknowns = sum(system.unknowns for system in systems)
        deficits = sum(system.unknowns - ranks[system] for system in systems)
        say(f"{name:18}{len(systems):13}{unknowns:12}{deficits:17}{spent:8.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    say(f"\nlargest memory of this process so far: {peak:.2f} GiB")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="leave out dense matrices above 0.3 GB")
    small = parser.parse_args().small
    growth()
    networks()
    say("")
    against_dense(small)


if __name__ == "__main__":
    main()
