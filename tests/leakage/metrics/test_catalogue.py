"""The catalogue describes every metric of the package; counts that serve as metrics."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import provable.leakage.metrics
from provable.architectures import Architecture, Conv2d, Flatten, Linear, Residual, Tanh
from provable.architectures.zoo import from_zoo
from provable.errors import UnsupportedError
from provable.leakage.metrics import Metric, data_ratio, width_surplus
from provable.leakage.metrics.catalogue import METRICS


def test_every_metric_is_listed_once_and_described():
    defined = []
    for module in pkgutil.iter_modules(provable.leakage.metrics.__path__):
        namespace = vars(importlib.import_module(f"provable.leakage.metrics.{module.name}"))
        defined += [value for value in namespace.values() if isinstance(value, Metric)]
    assert set(METRICS) == set(defined)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert all((metric.question, metric.definition, metric.unit, metric.needs, metric.source)) and metric.cannot_see
        assert all(phrase.strip() and len(phrase) < 120 for phrase in metric.cannot_see)


def test_counts():
    network = Architecture("net", (3, 4, 4), (Conv2d(5, 2), Tanh(), Flatten(), Linear(2)), "cross_entropy")
    assert width_surplus(network) == 5 * 9 - 48
    assert data_ratio(network, 2) == (60 + 5 + 90 + 2) / 96
    # the width condition holds although the forward equations alone do not determine the image, see rgap-figure-1
    assert width_surplus(from_zoo("rgap-figure-1")) == 3364 - 3072
    with pytest.raises(UnsupportedError, match="layers: found no convolution"):
        width_surplus(Architecture("block", (2,), (Residual((Linear(2),)),), "squared"))
