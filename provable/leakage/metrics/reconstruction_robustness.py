"""Reconstruction robustness: how often an attacker with a prior can come close, under differential privacy.

Notes
-----
A sample x is drawn from a prior, a mechanism answers M(x), and an attacker who knows prior and mechanism names x̂. Let κ be
the probability that the best guess without M comes within the error that counts as success. Then P[success] <= γ with

- γ = (κ e^ε)^((α - 1) / α) for (α, ε)-Rényi differential privacy,
- γ = Φ(Φ⁻¹(κ) + μ) for μ-Gaussian differential privacy.

Proof: let x* be any reference. Success has probability at most κ if the answer is M(x*), which does not depend on x. Rényi
divergence of order α between (x, M(x)) and (x, M(x*)) is at most ε, and P(E) <= (Q(E) e^ε)^((α - 1) / α) for all events. For
μ-Gaussian privacy, P(E | x) <= g(Q(E | x)) with g(κ) = Φ(Φ⁻¹(κ) + μ), and g is concave, so the same holds on average.

Private stochastic gradient descent with noise multiplier s, sampling probability q and T steps is dominated by the pair
P = N(B, s² I), B ~ Bernoulli(q)^T, and Q = N(0, s² I) (without the sample): γ is the largest P(E) among events with
Q(E) <= κ. Two upper bounds of it: E Φ(Φ⁻¹(κ) + √k / s) with k ~ Binomial(T, q), as if the attacker knew the batches, which is
exact for T = 1 and for q = 1; and Rényi divergences of P from Q of integer order, which add up over steps.

References
----------
Balle, Cherubin and Hayes, "Reconstructing training data with informed adversaries", IEEE S&P 2022. Hayes, Mahloujifar and
Balle, "Bounding training data reconstruction in DP-SGD", NeurIPS 2023. Mironov, Talwar and Zhang, "Rényi differential privacy
of the sampled Gaussian mechanism", arXiv:1908.10530.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.special

from provable.arithmetic import Float
from provable.errors import InputError
from provable.leakage.metrics.metric import Metric

METRIC = Metric(
    name="reconstruction robustness (ReRo)",
    question="How often can an attacker with a prior succeed under a privacy budget?",
    definition="P[success] <= (κ e^ε)^((α-1)/α) for (α, ε)-RDP, Φ(Φ⁻¹(κ) + μ) for μ-GDP, κ the success of a blind guess",
    unit="probability",
    needs="privacy parameters, probability κ of the best blind guess",
    source=(
        "Balle, Cherubin and Hayes, S&P 2022; Hayes, Mahloujifar and Balle, NeurIPS 2023 (recalled; the first two are proved "
        "here)"
    ),
    cannot_see=(
        "the architecture: networks with N* = 0 and N* = n get the same γ",
        "what the sample is, beyond κ",
        "attackers with better prior knowledge than the prior behind κ",
    ),
)

LARGEST_ORDER = 256
"""Largest order of Rényi divergences that is tried."""


def _check_probability(value: float, name: str) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name}: found {value}; a probability is accepted")


def robustness_from_renyi(prior: float, order: float, epsilon: float) -> float:
    """Probability of success under (α, ε)-Rényi differential privacy, at most.

    Parameters
    ----------
    prior : float
        κ, the success of the best guess without an answer.
    order : float
        α > 1.
    epsilon : float
        ε >= 0.

    Returns
    -------
    float
        min(1, (κ e^ε)^((α - 1) / α)).

    Raises
    ------
    InputError
        If a number is out of its range.
    """
    _check_probability(prior, "prior")
    if not order > 1:
        raise InputError(f"order: found {order}; a number above 1 is accepted")
    if not epsilon >= 0:
        raise InputError(f"epsilon: found {epsilon}; a nonnegative number is accepted")
    if prior == 0:
        return 0.0
    exponent = 1.0 if math.isinf(order) else (order - 1) / order
    return min(1.0, math.exp(min(0.0, exponent * (math.log(prior) + epsilon))))


def robustness_from_gaussian(prior: float, mu: float) -> float:
    """Probability of success under μ-Gaussian differential privacy, at most.

    Parameters
    ----------
    prior : float
        κ, the success of the best guess without an answer.
    mu : float
        μ >= 0: largest distance between the means of two answers over the noise's standard deviation.

    Returns
    -------
    float
        Φ(Φ⁻¹(κ) + μ).

    Raises
    ------
    InputError
        If a number is out of its range.
    """
    _check_probability(prior, "prior")
    if not mu >= 0:
        raise InputError(f"mu: found {mu}; a nonnegative number is accepted")
    if prior in (0.0, 1.0):
        return float(prior)
    # in the far tail Φ⁻¹ rounds to -∞
    return max(float(prior), float(scipy.special.ndtr(scipy.special.ndtri(prior) + mu)))


def robustness_of_private_training(
    prior: float, noise_multiplier: float, sampling: float = 1.0, steps: int = 1
) -> float:
    """Probability of success against private stochastic gradient descent, at most.

    Parameters
    ----------
    prior : float
        κ, the success of the best guess without an answer.
    noise_multiplier : float
        s > 0: standard deviation of the noise on a sum of gradients over their largest norm.
    sampling : float
        q, with which each sample is in a step's batch, independently.
    steps : int
        T, all of whose noisy gradients the attacker sees.

    Returns
    -------
    float
        γ of the dominating pair if q = 1 or T = 1; otherwise the smaller one of the two upper bounds, with Rényi divergences
        of order 2 to 256.

    Raises
    ------
    InputError
        If a number is out of its range.
    """
    _check_probability(prior, "prior")
    _check_probability(sampling, "sampling")
    if not 0 < noise_multiplier < math.inf:
        raise InputError(f"noise_multiplier: found {noise_multiplier}; a positive number is accepted")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps: found {steps}; a positive integer is accepted")
    if prior in (0.0, 1.0) or sampling == 0:
        return float(prior)
    counts = np.arange(steps + 1)
    shares = _binomial(steps, sampling)
    known = float(shares @ scipy.special.ndtr(scipy.special.ndtri(prior) + np.sqrt(counts) / noise_multiplier))
    if steps == 1 or sampling == 1:
        return min(1.0, max(prior, known))
    found = [
        robustness_from_renyi(prior, order, steps * _sampled_gaussian_divergence(order, sampling, noise_multiplier))
        for order in range(2, LARGEST_ORDER + 1)
    ]
    return min(1.0, *(max(prior, bound) for bound in (known, *found)))


def _binomial(trials: int, probability: float) -> Float:
    """Probabilities of 0 … `trials` successes."""
    counts = np.arange(trials + 1)
    logarithms = scipy.special.gammaln(trials + 1.0) - scipy.special.gammaln(counts + 1.0)
    logarithms = logarithms - scipy.special.gammaln(trials - counts + 1.0)
    # xlogy and xlog1py take 0 log 0 for 0
    logarithms = logarithms + scipy.special.xlogy(counts, probability)
    result: Float = np.exp(logarithms + scipy.special.xlog1py(trials - counts, -probability))
    return result


def _sampled_gaussian_divergence(order: int, sampling: float, noise_multiplier: float) -> float:
    """Rényi divergence of (1 - q) N(0, s²) + q N(1, s²) from N(0, s²), for integer order."""
    counts = np.arange(order + 1)
    with np.errstate(divide="ignore"):
        terms = np.log(_binomial(order, sampling)) + (counts**2 - counts) / (2 * noise_multiplier**2)
    return max(0.0, float(scipy.special.logsumexp(terms)) / (order - 1))
