r"""The audit of an architecture: which of its layers can be solved for their inputs, and what follows for the sample.

Notes
-----
The statements used, each for a known architecture, known parameters and known labels:

T1. A linear layer with sensitivity D = ∂L/∂z ≠ 0 has ∂L/∂weight = D xᵀ, so its input x is known if D is; and D is the
gradient of the bias, if there is one.
T2. If x_{i+1} and ∂L/∂x_{i+1} are known and the activations are injective, z_i and D_i are known. If moreover the layer
system U_i = [W_i; K_i] has full column rank, x_i and ∂L/∂x_i are known. By induction, if all layers have full rank, the
sample is the only one with its gradients. The same with differentials shows that the derivative of x ↦ all gradients is
injective, if the activations' derivatives are not zero at the sample.
T3. For v in the null space of U_1, x and x + v have the same z_1, hence the same D_i and the same gradients: an affine
space of indistinguishable samples, for every network behind the first layer. So N* >= nullity of U_1, and if x_2 and
D_1 are determined by T2, N* = nullity of U_1. For several samples U_1 is the system for all of them at once.

What is open without being open by T1 to T3 is bounded by `provable.leakage.open_dimensions`: N* from below for all networks
(`nested_rank`), and from above by the rank of all gradients at a witness (`jacobian_rank`).

No rank at any point exceeds the generic one, so what is said of open dimensions holds for all parameters and samples;
that a layer is solvable holds for generic weights and sensitivities.

References
----------
Zhu and Blaschko, ICLR 2021; Chen and Campbell, arXiv:2111.10178; Phong et al., IEEE TIFS 2018 (T1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from provable.architectures import Architecture
from provable.architectures.fields import LARGEST_DIMENSION
from provable.errors import InputError, UnsupportedError
from provable.leakage.chain import Chain, Link, chain
from provable.leakage.explanation import assumptions, explain
from provable.leakage.layer_systems.dimension_counts import COVERED
from provable.leakage.layer_systems.rank import RankBounds, rank_bounds
from provable.leakage.layer_systems.rank_certificates import lower_certificate, upper_certificate
from provable.leakage.metrics import cramer_rao, rgap_index
from provable.leakage.open_dimensions.ambiguity import bound_ambiguity
from provable.leakage.open_dimensions.coverage import dead_inputs
from provable.leakage.result import Audit, LayerAudit

SENSITIVITY = "nonzero sensitivity"

Progress = Callable[[str, int, int], None]
"""Told what is about to be done, how many steps are done and how many there are."""


def audit(
    architecture: Architecture,
    *,
    batch_size: int = 1,
    noise: float | None = None,
    rng: int | np.random.Generator | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Prove what the gradient of one sample, or of a few, determines of them, from the architecture alone.

    Parameters
    ----------
    architecture : Architecture
        The network.
    batch_size : int
        Number of samples behind the gradient.
    noise : float, optional
        Standard deviation of Gaussian noise on every entry of the gradient; adds the Cramér-Rao bound of the error at a
        random instance.
    rng : int or numpy.random.Generator, optional
        Seed of the witnesses, 0 by default. An unlucky one makes bounds weaker, never wrong; for the rank of a layer, modulo
        a prime of 61 bits, next to none is, and for the rank of all gradients, modulo one of 22 bits, few are.
    progress : callable, optional
        Called before every step.

    Returns
    -------
    Audit
        Layers, certificates, metrics and verdict.

    Raises
    ------
    InputError
        If `batch_size`, `noise` or the seed is no such number.
    UnsupportedError
        For a layer that has no place in a layer system, which is named, and for what would need too much memory; with noise
        also for layers that cannot be evaluated.
    """
    seed = _seed(rng)
    _check_request(batch_size, noise)
    read = chain(architecture, batch_size=batch_size)
    tell = progress or (lambda what, done, total: None)
    tell("reading" if noise is None else "error under noise", 0, len(read.links) + 1)
    noisy = None if noise is None else cramer_rao(architecture, noise, batch_size=batch_size, rng=seed)
    layers = _layers(architecture, read, batch_size, seed, tell)
    dead = dead_inputs(architecture)
    tell("all gradients together", len(layers), len(layers) + 1)
    ambiguity = bound_ambiguity(architecture, read, layers, dead, batch_size=batch_size, seed=seed)
    verdict = "identifiable" if ambiguity.upper == 0 else "ambiguous" if ambiguity.lower > 0 else "undetermined"
    return Audit(
        architecture=architecture,
        batch_size=batch_size,
        assumptions=assumptions(read, batch_size) + ambiguity.assumptions,
        layers=layers,
        c_metric=c_metric([layer for layer in layers if layer.type == "conv2d" and layer.is_on_main_path]),
        rgap_index=None if batch_size > 1 else _rgap_index(architecture),
        ambiguity=ambiguity,
        dead_inputs=dead,
        cramer_rao=noisy,
        verdict=verdict,
        explanation=explain(architecture, read, layers, ambiguity, verdict, dead, batch_size),
    )


def c_metric(convolutions: Sequence[LayerAudit]) -> int | None:
    """Chen and Campbell's c(M).

    Parameters
    ----------
    convolutions : sequence of LayerAudit
        The convolutions from the input on.

    Returns
    -------
    int or None
        Σ_i round((d - i + 1)/d · (rank U_i - n_i)), halves rounded to even; None without convolutions or if a rank is
        not known.
    """
    depth = len(convolutions)
    total = 0
    for position, layer in enumerate(convolutions):
        if layer.deficit_lower != layer.deficit_upper:
            return None
        total -= round(Fraction((depth - position) * layer.deficit_lower, depth))
    return total if depth else None


def _rgap_index(architecture: Architecture) -> int | None:
    try:
        return rgap_index(architecture).value
    except UnsupportedError:  # a layer that the index has no rule for
        return None


def _seed(rng: int | np.random.Generator | None) -> int:
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    if rng is None:
        return 0
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer) or rng < 0:
        raise InputError(f"rng: found {str(rng)[:40]!r}; a nonnegative integer or a numpy.random.Generator is accepted")
    return int(rng)


def _check_request(batch_size: int, noise: float | None) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size: found {str(batch_size)[:40]!r}; a positive integer is accepted")
    if batch_size > LARGEST_DIMENSION:  # counts of all samples' positions stay below 2^63
        raise InputError(f"batch_size: found {str(batch_size)[:40]}; at most {LARGEST_DIMENSION} is accepted")
    if noise is not None and not (isinstance(noise, int | float) and 0 <= noise < float("inf")):
        raise InputError(f"noise: found {str(noise)[:40]!r}; a nonnegative number is accepted")


def _layers(
    architecture: Architecture, read: Chain, batch_size: int, seed: int, tell: Progress
) -> tuple[LayerAudit, ...]:
    bounds: dict[object, RankBounds] = {}
    for position, link in enumerate(read.links):
        tell(link.name, position, len(read.links) + 1)
        if (link.is_convolution or batch_size > 1) and link.system not in bounds:
            bounds[link.system] = rank_bounds(link.system, seed=seed)
    result: list[LayerAudit] = []
    reached = read.start.position is not None
    for position, link in reversed(list(enumerate(read.links))):
        starts = read.start.position is not None and position >= read.start.position
        hidden = () if starts else link.hidden
        layer = _layer(architecture, link, hidden, reached, bounds.get(link.system), seed)
        result.append(layer)
        reached = reached and (starts or layer.is_solvable)
    return tuple(reversed(result))


def _layer(
    architecture: Architecture,
    link: Link,
    hidden: tuple[str, ...],
    reached: bool,
    bounds: RankBounds | None,
    seed: int,
) -> LayerAudit:
    system = link.system
    numbers = (system.unknowns, system.forward_equations, system.gradient_equations)
    if bounds is None:
        full = system.unknowns
        return LayerAudit(link.path, link.layer.type, *numbers, full, full, SENSITIVITY, COVERED, hidden, reached)
    certificates = {"upper": upper_certificate(architecture, link.path, system, bounds.upper, seed=seed)}
    if bounds.lower is not None:
        certificates["lower"] = lower_certificate(architecture, link.path, system, bounds.lower, seed=seed)
    return LayerAudit(
        link.path,
        link.layer.type,
        *numbers,
        None if bounds.lower is None else bounds.lower.value,
        bounds.upper.value,
        None if bounds.lower is None else bounds.lower.how,
        bounds.upper.how,
        hidden,
        reached,
        certificates,
    )
