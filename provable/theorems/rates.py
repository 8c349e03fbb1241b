"""Evidence for asymptotic and probabilistic statements: fitted exponents and empirical tails, with confidence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from provable.errors import TheoremError

CONFIDENCE = 0.99


@dataclasses.dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval of 99 %.

    Parameters
    ----------
    estimate, lower, upper : float
        Point estimate and ends.
    samples : int
        How many measurements it rests on.
    """

    estimate: float
    lower: float
    upper: float
    samples: int

    def contains(self, value: float) -> bool:
        """Tell whether a value lies in the interval.

        Parameters
        ----------
        value : float
            The value.

        Returns
        -------
        bool
            ``lower <= value <= upper``.
        """
        return self.lower <= value <= self.upper


def fit_exponent(
    measure: Callable[..., float], sizes: tuple[int, ...], repetitions: int, rng: np.random.Generator
) -> Interval:
    """Fit the exponent of a power law by least squares on logarithms, with Student's interval.

    Parameters
    ----------
    measure : callable
        ``measure(size, rng) -> float``, one positive error.
    sizes : tuple of int
        The sizes.
    repetitions : int
        Independent measurements at each size.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Interval
        The slope of the mean logarithmic error against the logarithmic size. The measurements of one size are averaged
        first, and the interval takes the scatter of the logarithms around their own size's mean.

    Raises
    ------
    TheoremError
        If a measurement is not a positive number.
    """
    from scipy import stats

    logarithms = np.empty((len(sizes), repetitions))
    for row, size in enumerate(sizes):
        for column in range(repetitions):
            value = float(measure(size, rng))
            if not (value > 0 and math.isfinite(value)):
                raise TheoremError(f"a rate measured {value} at size {size}; a positive number is accepted")
            logarithms[row, column] = math.log(value)
    abscissa = np.log(np.asarray(sizes, dtype=np.float64))
    abscissa = abscissa - abscissa.mean()
    weights = abscissa / np.sum(abscissa**2)
    slope = float(weights @ logarithms.mean(axis=1))
    freedom = len(sizes) * (repetitions - 1)
    variance = float(np.sum((logarithms - logarithms.mean(axis=1, keepdims=True)) ** 2) / freedom)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * math.sqrt(variance / repetitions * np.sum(weights**2))
    return Interval(slope, slope - half, slope + half, logarithms.size)


def tail_frequency(event: Callable[..., bool], repetitions: int, rng: np.random.Generator) -> Interval:
    """Estimate the probability of an event with the Clopper-Pearson interval.

    Parameters
    ----------
    event : callable
        ``event(rng) -> bool``.
    repetitions : int
        Independent trials.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Interval
        Frequency and exact binomial interval.
    """
    from scipy import stats

    hits = sum(bool(event(rng)) for _ in range(repetitions))
    alpha = 1 - CONFIDENCE
    lower = 0.0 if hits == 0 else float(stats.beta.ppf(alpha / 2, hits, repetitions - hits + 1))
    upper = 1.0 if hits == repetitions else float(stats.beta.ppf(1 - alpha / 2, hits + 1, repetitions - hits))
    return Interval(hits / repetitions, lower, upper, repetitions)
