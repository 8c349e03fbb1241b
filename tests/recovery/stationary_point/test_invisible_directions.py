"""What a stationary point never shows: the named space is invisible, of the stated size, for smooth and kinked networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, AvgPool2d, Flatten, Linear, ReLU, Tanh
from provable.arithmetic import EPSILON
from provable.arithmetic.null_space import null_space
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, backpropagate, embed, forward, trace
from provable.observations import Observation
from provable.recovery import Recovery
from provable.recovery.stationary_point.invisible_directions import invisible_directions, with_invisible_directions


def observed(rng, dimension, widths, activation, outputs=1, rank=None):
    layers = []
    for width in widths:
        layers += [Linear(width), activation]
    architecture = Architecture("chain", (dimension,), (*layers, Linear(outputs)), "squared")
    arrays = dict(Parameters.random(architecture, rng=rng))
    if rank is not None:
        left, singular, right = np.linalg.svd(arrays["0/weight"], full_matrices=False)
        arrays["0/weight"] = left[:, :rank] * singular[:rank] @ right[:rank]
    return Observation(
        kind="stationary-point", architecture=architecture, parameters=Parameters(architecture, arrays), vector={}
    )


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((ReLU(), Tanh())),
    st.integers(1, 2),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_the_named_space_is_invisible(seed, activation, outputs, count, width, dimension):
    rng = np.random.default_rng(seed)
    observation = observed(rng, dimension, (width, 3), activation, outputs)
    measure = Measure(rng.standard_normal((count, dimension)), rng.standard_normal((count, outputs)))
    found = invisible_directions(observation, measure)
    assert found.dimension == dimension - found.rank == dimension - min(width, dimension)
    assert found.exchanges >= count - width
    assert ("null-space" in " ".join(found.fibre)) == (found.exchanges * found.dimension > 0)
    if not found.exchanges * found.dimension:
        return
    assert found.fibre[0] == f"null-space:{found.exchanges * found.dimension}"
    traced = trace(observation.architecture, observation.parameters, measure.points)
    back = backpropagate(observation.architecture, observation.parameters, traced, measure.coefficients)
    ways, directions = null_space(back.outputs["0"].T), null_space(observation.parameters["0/weight"])
    shift = ways.T @ rng.standard_normal((len(ways), len(directions))) @ directions
    before = embed(observation.architecture, observation.parameters, measure).vector()
    other = Measure(measure.points + 100 * shift, measure.coefficients)
    after = embed(observation.architecture, observation.parameters, other).vector()
    # the first layer's gradient is a product over samples of what has the size 100, in orthonormal bases
    size = np.linalg.norm(back.outputs["0"]) * (np.linalg.norm(other.points) + np.linalg.norm(measure.points))
    conditions = 30 * (count + dimension + 2 * width) * EPSILON
    # pre-activations move by that many roundings of |W||x|, and the sensitivities behind them at most in proportion
    weights = np.prod([1 + np.linalg.norm(array) for array in observation.parameters.values()])
    assert np.linalg.norm(after - before) <= conditions * (1 + size) * weights**2
    assert np.linalg.norm(forward(observation.architecture, observation.parameters, other.points) - traced.output) <= (
        conditions * np.linalg.norm(other.points) * weights
    )


def test_a_wide_first_layer_sees_everything_but_cells_remain():
    rng = np.random.default_rng(0)
    found = invisible_directions(observed(rng, 3, (8,), ReLU()), Measure(np.ones((2, 3)), np.ones(2)))
    assert (found.dimension, found.rank, found.piecewise_linear) == (0, 3, True)
    assert found.fibre == ()
    assert "as far as their activation cells reach" in found.sentence
    smooth = invisible_directions(observed(rng, 3, (8,), Tanh()))
    assert smooth.fibre == () and smooth.sentence == ""


def test_a_first_layer_of_low_rank_is_counted():
    rng = np.random.default_rng(1)
    observation = observed(rng, 20, (10,), ReLU(), rank=2)
    found = invisible_directions(observation)
    assert (found.dimension, found.rank, found.exchanges) == (18, 2, 0)
    assert "sees 2 of 20 directions" in found.sentence and "pairs" in found.sentence
    measure = Measure(rng.standard_normal((15, 20)), np.ones(15))
    found = invisible_directions(observation, measure)
    assert found.exchanges >= 5 and f"in {18 * found.exchanges} dimensions" in found.sentence
    coarse = invisible_directions(observation, relative_tolerance=0.9)
    assert coarse.rank == 1


def test_a_recovery_names_what_is_open():
    rng = np.random.default_rng(2)
    observation = observed(rng, 9, (4,), ReLU(), rank=2)
    found = Recovery(rng.standard_normal((6, 9)), np.ones(6), None, 1e-16, "some", ("permutation",), "consistent")
    named = with_invisible_directions(observation, found)
    assert named.fibre[0] == "permutation" and named.fibre[-1] == "splitting"
    assert named.fibre[1].startswith("null-space:") and "sees 2 of 9" in named.reason
    assert np.array_equal(named.points, found.points) and named.status == found.status
    assert with_invisible_directions(observation, named).fibre == named.fibre
    counted = dataclasses.replace(found, fibre=("null-space:3",), reason="a reason")
    named = with_invisible_directions(observation, counted)
    assert named.fibre == ("null-space:3", "splitting") and named.reason.startswith("a reason; the first layer")
    nothing = Recovery(np.zeros((0, 9)), np.zeros(0), None, 1.0, "some", (), "failed", reason="nothing")
    assert with_invisible_directions(observation, nothing) is nothing
    proved = dataclasses.replace(found, status="certified", certificate="{}")
    named = with_invisible_directions(observation, proved)
    assert named.fibre == ("permutation", "splitting") and "pairs" in named.reason


def test_a_stated_number_of_samples_forbids_splitting():
    rng = np.random.default_rng(2)
    observation = dataclasses.replace(observed(rng, 9, (4,), ReLU(), rank=2), batch_size=6)
    found = Recovery(rng.standard_normal((6, 9)), np.ones(6), None, 1e-16, "some", ("permutation",), "consistent")
    named = with_invisible_directions(observation, found)
    assert len(named.fibre) == 2 and named.fibre[1].startswith("null-space:")
    proved = dataclasses.replace(found, status="certified", certificate="{}")
    assert with_invisible_directions(observation, proved) is proved
    fewer = dataclasses.replace(proved, points=found.points[:5], coefficients=np.ones(5))
    assert with_invisible_directions(observation, fewer).fibre == ("permutation", "splitting")
    wide = dataclasses.replace(observed(rng, 9, (12,), ReLU()), batch_size=6)
    assert with_invisible_directions(wide, fewer) is fewer


def test_other_first_layers_are_refused_by_name():
    pooled = Architecture("pooled", (1, 4, 4), (AvgPool2d(2), Flatten(), Linear(1)), "squared")
    parameters = Parameters.random(pooled, rng=0)
    with pytest.raises(UnsupportedError, match=r"layer 0 \(avg_pool2d\)"):
        invisible_directions(
            Observation(kind="stationary-point", architecture=pooled, parameters=parameters, vector={})
        )
