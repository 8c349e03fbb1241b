"""`provable.check` takes what a Python user has at hand, and believes none of it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import provable
from provable.architectures import Architecture, Linear, Tanh
from provable.errors import InputError
from provable.networks.parameters import Parameters
from provable.observations import Observation
from provable.rigor.certificates import Certificate

NET = Architecture("net", (3,), (Linear(4), Tanh(), Linear(2)), "squared")


@pytest.fixture(scope="module")
def certified():
    rng = np.random.default_rng(0)
    theta = Parameters.random(NET, rng=rng)
    observation = Observation.from_data(NET, theta, rng.standard_normal((1, 3)), rng.standard_normal((1, 2)))
    recovery = provable.recover(observation)
    assert recovery.status == "certified"
    return observation, recovery


def test_every_form_of_the_same_certificate_is_accepted(certified, tmp_path):
    observation, recovery = certified
    text = recovery.certificate
    observation.write(tmp_path / "observation.npz")
    (tmp_path / "certificate.json").write_text(text)
    forms = [
        recovery,
        text,
        text.encode(),
        json.loads(text),
        Certificate.from_json(text),
        tmp_path / "certificate.json",
    ]
    for form in forms:
        for evidence in (
            observation,
            observation.to_bytes(),
            tmp_path / "observation.npz",
            str(tmp_path / "observation.npz"),
        ):
            result = provable.check(form, observation=evidence)
            assert result.valid and result.claim == "isolated-recovery", result.reason


def test_a_certificate_about_other_points_does_not_cover_a_recovery(certified):
    observation, recovery = certified
    moved = dataclasses.replace(recovery, points=np.nextafter(recovery.points, np.inf))
    result = provable.check(moved, observation=observation)
    assert not result.valid and "other points" in result.reason


def test_without_the_observation_nothing_is_proved(certified):
    assert not provable.check(certified[1]).valid


def test_a_recovery_without_certificate_is_named(certified):
    with pytest.raises(InputError, match="holds no certificate"):
        provable.check(dataclasses.replace(certified[1], status="consistent", certificate=None))
