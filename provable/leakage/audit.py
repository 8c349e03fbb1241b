r"""The audit of an architecture: which of its layers can be solved for their inputs, and what follows for the sample.

Notes
-----
The statements used, each for one sample, a known architecture and known parameters:

T1. A linear layer with sensitivity D = ∂L/∂z ≠ 0 has ∂L/∂weight = D xᵀ, so its input x is known if D is; and D is the
gradient of the bias, if there is one.
T2. If x_{i+1} and ∂L/∂x_{i+1} are known and the activations are injective, z_i and D_i are known. If moreover the layer
system U_i = [W_i; K_i] has full column rank, x_i and ∂L/∂x_i are known. By induction, if all layers have full rank, the
sample is the only one with its gradients. The same with differentials shows that the derivative of x ↦ all gradients is
injective, if the activations' derivatives are not zero at the sample.
T3. For v in the null space of U_1, x and x + v have the same z_1, hence the same D_i and the same gradients: an affine
space of indistinguishable samples, for every network behind the first layer. So N* >= nullity of U_1, and if x_2 and
D_1 are determined by T2, N* = nullity of U_1.

No rank at any point exceeds the generic one, so what is said of open dimensions holds for all parameters and samples;
that a layer is solvable holds for generic weights and sensitivities.

References
----------
Zhu and Blaschko, ICLR 2021; Chen and Campbell, arXiv:2111.10178; Phong et al., IEEE TIFS 2018 (T1).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from provable.architectures import Architecture
from provable.errors import InputError, UnsupportedError
from provable.leakage.chain import FLAT_PIECE, LOCALLY_INJECTIVE, Link, dead_inputs, links, start
from provable.leakage.dimension_counts import COVERED
from provable.leakage.rank import rank_bounds
from provable.leakage.rank_certificates import lower_certificate, upper_certificate
from provable.leakage.result import Ambiguity, Audit, LayerAudit

SENSITIVITY = "nonzero sensitivity"


def audit(
    architecture: Architecture,
    *,
    batch_size: int = 1,
    noise: float | None = None,
    rng: int | np.random.Generator | None = None,
) -> Audit:
    """Prove what the gradient of one sample determines of that sample, from the architecture alone.

    Parameters
    ----------
    architecture : Architecture
        Convolutions, then linear layers, with activations between them.
    batch_size : int
        Number of samples behind the gradient; 1.
    noise : float, optional
        Standard deviation of noise on the gradient; not supported.
    rng : int or numpy.random.Generator, optional
        Seed of the witnesses, 0 by default. With probability about 1 - 10⁻¹⁴ it does not matter.

    Returns
    -------
    Audit
        Layers, certificates, metrics and verdict.

    Raises
    ------
    InputError
        If `batch_size`, `noise` or the seed is no such number.
    UnsupportedError
        For several samples, for noise, and for a layer that has no layer system here, which is named.
    """
    seed = _seed(rng)
    _check_request(batch_size, noise)
    chain = links(architecture)
    anchor, how_start, unique = start(architecture, chain)
    layers = tuple(_layer(architecture, chain, position, seed) for position in range(len(chain)))
    dead = dead_inputs(chain)
    ambiguity = _ambiguity(chain, layers, dead, anchor)
    verdict = "identifiable" if ambiguity.upper == 0 else "ambiguous" if ambiguity.lower > 0 else "undetermined"
    convolutions = [layer for layer in layers if layer.type == "conv2d"]
    return Audit(
        architecture=architecture,
        assumptions=_assumptions(chain, how_start),
        layers=layers,
        c_metric=c_metric(convolutions),
        ambiguity=ambiguity,
        dead_inputs=dead,
        verdict=verdict,
        explanation=_explanation(layers, ambiguity, verdict, dead) + _candidates(chain, anchor, unique, verdict),
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
    if noise is not None and not (isinstance(noise, int | float) and 0 <= noise < float("inf")):
        raise InputError(f"noise: found {str(noise)[:40]!r}; a nonnegative number is accepted")
    if batch_size != 1:
        raise UnsupportedError(
            f"batch_size: found {batch_size}; layer systems of one sample are what this audit proves, so 1 is accepted"
        )
    if noise is not None:
        raise UnsupportedError(
            f"noise: found {noise}; this audit is about exact gradients and has no bound for noisy ones, so none is accepted"
        )


def _layer(architecture: Architecture, chain: tuple[Link, ...], position: int, seed: int) -> LayerAudit:
    link = chain[position]
    system = link.system
    numbers = (system.unknowns, system.forward_equations, system.gradient_equations)
    if not link.is_convolution:
        full = system.unknowns
        return LayerAudit(link.index, link.layer.type, *numbers, full, full, SENSITIVITY, COVERED)
    bounds = rank_bounds(system, seed=seed)
    upper = upper_certificate(architecture, link.index, system, bounds.upper, seed=seed)
    certificates = {} if upper is None else {"upper": upper}
    lower = bounds.lower if _has_free_system(chain, position) else None
    if lower is not None:
        certificates["lower"] = lower_certificate(architecture, link.index, system, lower, seed=seed)
    return LayerAudit(
        link.index,
        link.layer.type,
        *numbers,
        None if lower is None else lower.value,
        bounds.upper.value,
        None if lower is None else lower.how,
        bounds.upper.how,
        certificates,
    )


def _has_free_system(chain: tuple[Link, ...], position: int) -> bool:
    """Whether all outputs are known to the attacker and the sensitivities are not confined to a subspace at once."""
    link = chain[position]
    return link.passes != FLAT_PIECE and not (link.is_affine and chain[position + 1].is_convolution)


def _ambiguity(chain: tuple[Link, ...], layers: tuple[LayerAudit, ...], dead: int, anchor: Link) -> Ambiguity:
    name = f"layer {layers[0].index} ({layers[0].type})"
    if not chain[0].is_convolution:
        source = "the gradient of its bias" if chain[0] is anchor else "known from the layers behind it"
        return Ambiguity(
            0, 0, False, f"the weight gradient of {name} is D xᵀ, and its sensitivity D is {source} and not 0"
        )
    lower = max(layers[0].deficit_lower, dead)
    if lower == 0:
        how = "no dimension is proved to stay open"
    elif lower == layers[0].deficit_lower:
        how = f"moving the sample in the null space of {name} changes no gradient"
    else:
        how = f"{dead} input values reach no output through the stack of convolutions"
    upper = layers[0].deficit_upper
    if any(layer.deficit_upper != 0 for layer in layers[1:]):
        upper = None
        how += "; not every layer behind the first is proved to be solvable, so there is no upper bound"
    elif upper is None:
        how += f"; {name} is not proved to be solvable, so there is no upper bound"
    elif upper == 0:
        how = "every layer is solvable for its input"
    else:
        how += "; every layer behind it is solvable"
    return Ambiguity(lower, upper, lower > 0, how)


def _assumptions(chain: tuple[Link, ...], how_start: str) -> tuple[str, ...]:
    assumptions = [
        "one sample, whose label is known; architecture and parameters are known; the gradient of every parameter is seen "
        "exactly and is not zero",
        how_start,
    ]
    convolutions = [link for link in chain if link.is_convolution]
    if convolutions:
        assumptions.append(
            "generic parameters: solvability is proved per layer for all weights and output sensitivities outside a set of "
            "measure zero, and the sensitivities that the network makes are taken to lie outside of it; dimensions said to "
            "be open are open for all parameters and samples"
        )
    for link in convolutions:
        names = " and ".join(activation.type for activation in link.activations) or "no activation"
        where = f"layer {link.index} (conv2d) followed by {names}: "
        if link.passes == FLAT_PIECE:
            assumptions.append(
                where + "inactive outputs hide their values, how many depends on the sample, so no lower bound"
            )
        elif link.passes == LOCALLY_INJECTIVE:
            assumptions.append(where + "not injective, so the layers below are determined locally, up to finitely many")
        elif link.is_affine and any(other.is_convolution and other.index > link.index for other in chain):
            assumptions.append(
                where + "sensitivities are a linear image of the next ones, so no lower bound of the rank"
            )
    return tuple(assumptions)


def _explanation(layers: tuple[LayerAudit, ...], ambiguity: Ambiguity, verdict: str, dead: int) -> str:
    inputs = layers[0].unknowns
    if verdict == "identifiable":
        return "Whoever sees the gradient can compute the sample exactly: " + (
            "the first layer's gradient contains it."
            if layers[0].type == "linear"
            else "layer by layer, every input is the only solution of linear equations that are known."
        )
    if verdict == "ambiguous":
        answer = (
            f"At least {ambiguity.lower} of {inputs} dimensions of the sample cannot be recovered from the gradient by any "
            "method: moving the sample along them changes no gradient."
        )
        if dead:
            answer += f" {dead} input values are never looked at."
        if ambiguity.upper == ambiguity.lower:
            answer += f" The other {inputs - ambiguity.lower} are determined."
        else:
            answer += " How many more stay open is not decided here."
        return answer + " Guesses about typical images can still fill in what is open."
    short = next((layer for layer in layers if layer.deficit_lower > 0), None)
    if short is None:
        return (
            "Not decided: no dimension is proved to stay open, and not every layer is proved to be solvable. Treat the "
            "sample as exposed."
        )
    return (
        f"Not decided: an attack layer by layer gets stuck at layer {short.index} ({short.type}), which is short of "
        f"{short.deficit_lower} equations, but an attack on all layers at once may not. Treat the sample as exposed."
    )


def _candidates(chain: tuple[Link, ...], anchor: Link, unique: bool, verdict: str) -> str:
    """Say how many samples share the gradient if the answer is a statement about small surroundings only."""
    if verdict != "identifiable":
        return ""
    if any(link.passes == LOCALLY_INJECTIVE for link in chain if link.index < anchor.index):
        return " There may be several such samples, but only isolated ones, because an activation takes values twice."
    return "" if unique else " There are at most two such samples (twins)."
