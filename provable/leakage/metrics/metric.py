"""What a security metric measures, in which unit, where it comes from, and what it cannot see: as data, for tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """The description of a metric.

    Parameters
    ----------
    name : str
        Its name in the literature.
    question : str
        What it answers, in plain words.
    definition : str
        The formula, in one line.
    unit : str
        Of its value.
    needs : str
        From what it is computed.
    source : str
        Where it was published, and what of it was recalled rather than read.
    cannot_see : tuple of str
        What two networks (or mechanisms) may differ in without a difference in the metric; one short phrase each.
    """

    name: str
    question: str
    definition: str
    unit: str
    needs: str
    source: str
    cannot_see: tuple[str, ...]
