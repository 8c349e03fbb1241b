r"""The published measure of success: for each sample the candidate most correlated with it, and their structural similarity.

Images are compared after standardising each (channel by channel), so that the squared distance of two with D entries is
:math:`2 D (1 - \rho)` with their correlation ρ; a candidate may serve several samples. Then both are rescaled to [0, 1] by
their own extremes and compared by structural similarity with a uniform window of 3 by 3; a value above 0.4 counts as
recovered.

Notes
-----
Both steps ignore brightness and contrast: see the theorem ``haim2022.metric_hides_scale``. The largest of many correlations
is large by chance, so that a number recovered says nothing without what as many images that have nothing to do with the
network achieve; `compare` gives both.

References
----------
N. Haim, G. Vardi, G. Yehudai, O. Shamir, M. Irani, Reconstructing training data from trained neural networks, NeurIPS 2022,
arXiv:2206.07758, section 5 and the released code. Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, Image quality
assessment: from error visibility to structural similarity, IEEE Transactions on Image Processing 13, 2004.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.errors import InputError
from provable.recovery.parameter_matching.report import AttackReport, report

Float = NDArray[np.float64]

RECOVERED = 0.4
"""Structural similarity above which this line of work calls an image recovered."""

WINDOW = 3


@dataclasses.dataclass(frozen=True, eq=False)
class NearestCandidates:
    """For each sample its most correlated candidate.

    Parameters
    ----------
    indices : array of int64 of shape (N,)
        Which candidate.
    correlations : array of shape (N,)
        ρ, from -1 to 1.
    similarities : array of shape (N,)
        Structural similarity after rescaling, at most 1.
    """

    indices: NDArray[np.int64]
    correlations: Float
    similarities: Float

    @property
    def recovered(self) -> int:
        """How many samples count as recovered: those with a similarity above `RECOVERED`."""
        return int(np.count_nonzero(self.similarities > RECOVERED))


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """An attack beside what nobody would call one.

    Parameters
    ----------
    training : NearestCandidates
        Of the training samples, among the attack's candidates.
    held_out : NearestCandidates
        Of samples of the same classes that were not trained on, among the attack's candidates.
    other_images : NearestCandidates
        Of the training samples, among as many images that were not trained on as there are candidates.
    noise : NearestCandidates
        Of the training samples, among as many Gaussian images with mean and variance of images that were not trained on.
    distances : AttackReport
        One-to-one matchings by Euclidean distance.
    """

    training: NearestCandidates
    held_out: NearestCandidates
    other_images: NearestCandidates
    noise: NearestCandidates
    distances: AttackReport

    @property
    def advantage(self) -> float:
        """How much better a training sample is served than a sample that was not trained on.

        Returns
        -------
        float
            The probability that a training sample has a larger correlation with its candidate than a held-out one, ties half:
            1/2 for candidates that know nothing of the training set (Mann and Whitney).
        """
        differences = self.training.correlations[:, None] - self.held_out.correlations
        return float(np.mean((differences > 0) + 0.5 * (differences == 0)))

    def summary(self) -> dict[str, dict[str, float]]:
        """Give the numbers that a table needs.

        Returns
        -------
        dict of str to dict
            For ``training``, ``held_out``, ``other_images`` and ``noise``: ``recovered``, and the median and the largest of
            ``correlation`` and ``similarity``.
        """
        result = {}
        for name in ("training", "held_out", "other_images", "noise"):
            one: NearestCandidates = getattr(self, name)
            result[name] = {
                "recovered": float(one.recovered),
                "median_correlation": float(np.median(one.correlations)),
                "largest_correlation": float(np.max(one.correlations)),
                "median_similarity": float(np.median(one.similarities)),
                "largest_similarity": float(np.max(one.similarities)),
            }
        return result


def correlations(found: ArrayLike, truth: ArrayLike) -> Float:
    """Correlate candidates with samples.

    Parameters
    ----------
    found : array of shape (M, *shape)
        Candidates.
    truth : array of shape (N, *shape)
        Samples; with three or more axes the second is that of channels, each of which is standardised by itself.

    Returns
    -------
    array of shape (N, M)
        The mean over channels of the correlation; 0 for channels that are constant.
    """
    candidates, samples = _standardised(np.asarray(found, np.float64)), _standardised(np.asarray(truth, np.float64))
    return np.asarray(samples @ candidates.T)


def rescaled(images: ArrayLike) -> Float:
    """Rescale every image to [0, 1] by its own extremes.

    Parameters
    ----------
    images : array of shape (n, *shape)
        Images.

    Returns
    -------
    array of shape (n, *shape)
        The same images; zero where one is constant.
    """
    array = np.asarray(images, dtype=np.float64)
    axes = tuple(range(1, array.ndim))
    low, high = array.min(axis=axes, keepdims=True), array.max(axis=axes, keepdims=True)
    return np.asarray(np.divide(array - low, high - low, out=np.zeros_like(array), where=high > low))


def structural_similarity(first: ArrayLike, second: ArrayLike) -> Float:
    r"""Compare images pair by pair.

    Parameters
    ----------
    first, second : array of shape (n, height, width) or (n, channels, height, width)
        Images with values in [0, 1], 3 by 3 at least.

    Returns
    -------
    array of shape (n,)
        The mean over windows of 3 by 3 and channels of :math:`\frac{(2 \mu \nu + c_1)(2 \gamma + c_2)}
        {(\mu^2 + \nu^2 + c_1)(s + t + c_2)}` with means μ, ν, unbiased variances s, t and covariance γ, and
        :math:`c_1 = 0.01^2`, :math:`c_2 = 0.03^2`.

    Raises
    ------
    InputError
        If images are smaller than a window.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim < 3 or min(one.shape[-2:]) < WINDOW:
        raise InputError(
            f"images: have shapes {one.shape} and {other.shape}; equal ones of {WINDOW} by {WINDOW} pixels "
            "or more are accepted"
        )
    windows = [
        np.lib.stride_tricks.sliding_window_view(array, (WINDOW, WINDOW), axis=(-2, -1)) for array in (one, other)
    ]
    means = [np.asarray(array.mean(axis=(-2, -1))) for array in windows]
    centred = [array - mean[..., None, None] for array, mean in zip(windows, means, strict=True)]
    unbiased = WINDOW * WINDOW - 1
    (s, t), covariance = (
        [(array * array).sum(axis=(-2, -1)) / unbiased for array in centred],
        (centred[0] * centred[1]).sum(axis=(-2, -1)) / unbiased,
    )
    small, large = 0.01**2, 0.03**2
    values = (2 * means[0] * means[1] + small) * (2 * covariance + large)
    values /= (means[0] ** 2 + means[1] ** 2 + small) * (s + t + large)
    return np.asarray(values.reshape(len(one), -1).mean(axis=1))


def nearest_candidates(found: ArrayLike, truth: ArrayLike, *, mean: ArrayLike = 0.0) -> NearestCandidates:
    """Find for each sample the most correlated candidate.

    Parameters
    ----------
    found : array of shape (M, *shape)
        Candidates, M > 0, of shape (height, width) or (channels, height, width).
    truth : array of shape (N, *shape)
        Samples.
    mean : array of shape `shape`, optional
        What was subtracted from all images before training; added again before images are rescaled.

    Returns
    -------
    NearestCandidates
        One for each sample; several may have the same.

    Raises
    ------
    InputError
        If shapes do not fit, or there is no candidate or a number that is not finite.
    """
    candidates, samples = np.asarray(found, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if candidates.shape[1:] != samples.shape[1:] or not len(candidates) or not len(samples):
        raise InputError(
            f"found, truth: have shapes {candidates.shape} and {samples.shape}; one image or more of one shape are accepted"
        )
    if not (np.all(np.isfinite(candidates)) and np.all(np.isfinite(samples))):
        raise InputError("found, truth: hold a number that is not finite")
    table, added = correlations(candidates, samples), np.asarray(mean, dtype=np.float64)
    indices = np.argmax(table, axis=1)
    similarity = structural_similarity(rescaled(candidates[indices] + added), rescaled(samples + added))
    return NearestCandidates(indices, table[np.arange(len(samples)), indices], similarity)


def compare(
    found: ArrayLike,
    truth: ArrayLike,
    held_out: ArrayLike,
    *,
    mean: ArrayLike = 0.0,
    loss: float | None = None,
    loss_at_truth: float | None = None,
    rng: np.random.Generator | int | None = None,
) -> Comparison:
    """Measure an attack in the published way, and beside it what is to be expected of no attack at all.

    Parameters
    ----------
    found : array of shape (M, *shape)
        Candidates, of shape (height, width) or (channels, height, width).
    truth : array of shape (N, *shape)
        Training samples.
    held_out : array of shape (K, *shape)
        Images of the same classes that were not trained on, K ≥ N + M: the first N are the control, M others the chance.
    mean : array of shape `shape`, optional
        What was subtracted from all images before training.
    loss, loss_at_truth : float, optional
        Relative losses of the candidates and of the truth.
    rng : numpy.random.Generator or int, optional
        Draws noise.

    Returns
    -------
    Comparison
        All numbers.

    Raises
    ------
    InputError
        If shapes do not fit, a number is not finite, or there are too few images held out.
    """
    candidates, samples = np.asarray(found, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    others = np.asarray(held_out, dtype=np.float64)
    if len(others) < len(samples) + len(candidates):
        raise InputError(
            f"held_out: found {len(others)} images; {len(samples) + len(candidates)} or more are accepted, one for each "
            "training sample and one for each candidate"
        )
    generator = np.random.default_rng(rng)
    control, chance = others[: len(samples)], others[len(samples) : len(samples) + len(candidates)]
    noise = others.mean(axis=0) + others.std(axis=0) * generator.standard_normal(candidates.shape)
    return Comparison(
        nearest_candidates(candidates, samples, mean=mean),
        nearest_candidates(candidates, control, mean=mean),
        nearest_candidates(chance, samples, mean=mean),
        nearest_candidates(noise, samples, mean=mean),
        report(candidates, samples, held_out=control, loss=loss, loss_at_truth=loss_at_truth, rng=generator),
    )


def _standardised(images: Float) -> Float:
    """Flat images whose inner products are correlations: zero mean, and norm 1 / √channels of every channel."""
    channels = images.shape[1] if images.ndim > 3 else 1
    flat = images.reshape(len(images), channels, math.prod(images.shape[1:]) // channels)
    centred = flat - flat.mean(axis=2, keepdims=True)
    norms = np.linalg.norm(centred, axis=2, keepdims=True)
    # A channel is constant if nothing but the rounding of its mean is left.
    constant = norms <= 4 * np.finfo(np.float64).eps * flat.shape[2] * np.abs(flat).max(
        axis=2, keepdims=True, initial=0.0
    )
    unit = np.divide(centred, norms * math.sqrt(channels), out=np.zeros_like(centred), where=~constant)
    return np.asarray(unit.reshape(len(images), -1))
