"""Ranks of concrete layer systems, with known rows only: against exact rationals, the whole matrix, and a measured value."""

from __future__ import annotations

import flint
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.errors import InputError, UnsupportedError
from provable.leakage.layer_systems import LayerSystem
from provable.leakage.layer_systems.instance_rank import exact_rank_from_below, instance_rank
from provable.leakage.layer_systems.rank import rank_bounds


@st.composite
def instances(draw):
    """A small system, weights and sensitivities that are small integers over powers of two, and active outputs."""
    image = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    pads = (draw(st.integers(0, 1)), draw(st.integers(0, 1)))
    kernel = tuple(draw(st.integers(1, min(3, side + 2 * pad))) for side, pad in zip(image, pads, strict=True))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    batch = draw(st.sampled_from([1, 1, 2]))
    system = LayerSystem(draw(st.integers(1, 3)), draw(st.integers(1, 3)), image, kernel, stride, pads, batch)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    active = rng.random(system.sensitivity_shape) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    power = 2.0 ** draw(st.integers(-40, 10))
    weight = rng.integers(-9, 10, system.weight_shape) / 8
    sensitivity = active * rng.integers(-9, 10, system.sensitivity_shape) * power
    return system, weight, sensitivity, active


def exact_rank(system, weight, sensitivity, active):
    """Rational rank of the rows that are known."""
    rows = np.vstack([system.forward_matrix(weight)[active.ravel()], system.gradient_matrix(sensitivity)])
    entries = [flint.fmpq(*float(entry).as_integer_ratio()) for entry in rows.ravel()]
    return int(flint.fmpq_mat(*rows.shape, entries).rank())


@given(instances())
def test_exact_bound_is_the_rational_rank(instance):
    """Minors of such small numbers are no multiples of 2⁶¹ - 1 but for a probability of about 10⁻¹⁶."""
    system, weight, sensitivity, active = instance
    found = exact_rank_from_below(system, weight, sensitivity, active=active)
    assert found == exact_rank(system, weight, sensitivity, active)


@given(instances())
def test_numerical_rank_is_the_rational_rank_where_there_is_a_gap(instance):
    system, weight, sensitivity, active = instance
    found = instance_rank(system, weight, sensitivity, active=active)
    # rounding leaves null singular values at (columns) · eps of the largest one, far below where a gap can be seen
    assume(found.rank == 0 or (found.smallest > 1e-8 and found.largest_null < 1e-13))
    assert found.rank == exact_rank(system, weight, sensitivity, active)
    assert found.rank + found.nullity == system.unknowns


@given(instances(), st.integers(-30, 30))
def test_scales_of_weight_and_sensitivity_do_not_matter(instance, power):
    system, weight, sensitivity, active = instance
    first = exact_rank_from_below(system, weight, sensitivity, active=active)
    assert first == exact_rank_from_below(system, weight * 2.0**power, sensitivity * 2.0**-power, active=active)
    numerical = instance_rank(system, weight, sensitivity, active=active)
    scaled = instance_rank(system, weight * 2.0**power, sensitivity, active=active)
    assert numerical.rank == scaled.rank


@given(instances())
def test_hidden_rows_never_add_rank_and_everything_known_stays_below_the_generic_bound(instance):
    system, weight, sensitivity, active = instance
    hidden = exact_rank_from_below(system, weight, sensitivity, active=active)
    full = exact_rank_from_below(system, weight, sensitivity)
    assert hidden <= full <= rank_bounds(system).upper.value


@pytest.mark.deep
@pytest.mark.parametrize("seed", [1, 2])
def test_first_layer_of_cnn6_with_relu_is_short_of_hundreds_of_dimensions(seed):
    """3 -> 12, kernel 4, stride 2, padding 2 on 32 × 32, and a sample like a picture (power spectrum of 1/frequency).

    For one such sample 2283 of 3468 rows were active, with rank 2758 and nullity 314 by singular values. How many are
    active depends on the sample; with all rows known there is no deficit.
    """
    system = LayerSystem(3, 12, (32, 32), (4, 4), (2, 2), (2, 2))
    rng = np.random.default_rng(seed)
    waves = np.add.outer(np.fft.fftfreq(32) ** 2, np.fft.fftfreq(32) ** 2) ** 0.5
    waves[0, 0] = 1 / 32
    sample = np.fft.ifft2(np.fft.fft2(rng.standard_normal((4, 32, 32))) / waves).real
    sample = sample[:3] + 1.5 * sample[3]
    sample = (sample - sample.min()) / (sample.max() - sample.min())
    weight = rng.uniform(-1, 1, system.weight_shape) / np.sqrt(system.patch)
    active = (system.forward_matrix(weight) @ sample.ravel() > 0).reshape(system.sensitivity_shape)
    sensitivity = np.where(active, rng.standard_normal(system.sensitivity_shape), 0.0)
    rank = exact_rank_from_below(system, weight, sensitivity, active=active)
    channels = int(active.any(axis=(1, 2)).sum())
    known = int(active.sum()) + channels * system.patch
    # one dependency per channel survives, Σ_p D_o(p) W_{(o,p)}, and fewer than with all rows known, which are 144
    assert known - 144 < rank <= known - channels
    assert 300 < system.unknowns - rank < 1000
    assert rank_bounds(system).lower.value == system.unknowns
    numerical = instance_rank(system, weight, sensitivity, active=active)
    assert numerical.rank == rank and numerical.gap > 1e9


def test_wrong_arguments_are_named():
    system = LayerSystem(1, 2, (4, 4), (2, 2))
    weight, sensitivity = np.ones(system.weight_shape), np.ones(system.sensitivity_shape)
    active = np.zeros(system.sensitivity_shape, dtype=bool)
    for function in (instance_rank, exact_rank_from_below):
        with pytest.raises(InputError, match="weight"):
            function(system, weight[1:], sensitivity)
        with pytest.raises(InputError, match="sensitivity: a number"):
            function(system, weight, sensitivity * np.nan)
        with pytest.raises(InputError, match="inactive"):
            function(system, weight, sensitivity, active=active)
        with pytest.raises(InputError, match="active: float64"):
            function(system, weight, sensitivity, active=active * 1.0)
        assert function(system, weight, 0 * sensitivity, active=active) in (
            0,
            instance_rank(system, 0 * weight, 0 * sensitivity),
        )
    large = LayerSystem(8, 8, (64, 64), (3, 3), (1, 1), (1, 1))
    with pytest.raises(UnsupportedError, match="GiB"):
        instance_rank(large, np.ones(large.weight_shape), np.ones(large.sensitivity_shape))
    with pytest.raises(UnsupportedError, match="GiB"):
        exact_rank_from_below(large, np.ones(large.weight_shape), np.ones(large.sensitivity_shape))


@pytest.mark.parametrize("seed", range(3))
def test_dropping_a_dependent_row_changes_nothing_and_an_independent_one_does(seed):
    system = LayerSystem(2, 2, (4, 4), (2, 2), (2, 2))
    rng = np.random.default_rng(seed)
    weight, sensitivity = rng.standard_normal(system.weight_shape), rng.standard_normal(system.sensitivity_shape)
    active = np.ones(system.sensitivity_shape, dtype=bool)
    full = instance_rank(system, weight, sensitivity)
    assert (full.rank, full.nullity) == (32 - (8 - 2) * (4 - 2), 12)
    assert full.gap > 1e6
    sensitivity[0, 0, 0], active[0, 0, 0] = 0.0, False
    # W loses a row, and Σ_p D_{o'}(p) W_{(0,p)} no longer lies in both row spaces unless D_{o'} vanishes there: o' = 0 stays
    assert instance_rank(system, weight, sensitivity, active=active).rank == full.rank
