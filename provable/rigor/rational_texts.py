"""Text forms of rational numbers and balls in certificates: one form per number, every other form refused."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from provable.errors import CertificateError
from provable.rigor.balls import Ball, exact_value

_RATIONAL = re.compile(r"(-?[1-9][0-9]*|0)(?:/([1-9][0-9]*))?")

_MAXIMAL_DIGITS = 4000


def encode_rational(value: float | int | Fraction) -> str:
    """Write a rational number as text: ``"p"`` or ``"p/q"`` in lowest terms.

    Parameters
    ----------
    value : float, int or Fraction
        A finite number; a float stands for the rational number that it is.

    Returns
    -------
    str
        The canonical form, the only one that `decode_rational` accepts.
    """
    numerator, denominator = value.as_integer_ratio()
    return str(numerator) if denominator == 1 else f"{numerator}/{denominator}"


def decode_rational(text: object, field: str) -> Fraction:
    """Read the text form of a rational number.

    Parameters
    ----------
    text : object
        ``"p"`` or ``"p/q"`` in lowest terms, q at least 2.
    field : str
        Where it stands, for the message.

    Returns
    -------
    Fraction
        The number.

    Raises
    ------
    CertificateError
        If it is anything else.
    """
    match = _RATIONAL.fullmatch(text) if isinstance(text, str) and len(text) <= 2 * _MAXIMAL_DIGITS else None
    if match is not None and max(len(part or "") for part in match.groups()) <= _MAXIMAL_DIGITS:
        numerator, denominator = int(match[1]), int(match[2] or 1)
        if math.gcd(numerator, denominator) == 1 and (match[2] is None or denominator > 1):
            return Fraction(numerator, denominator)
    raise CertificateError(
        f"{field}: {_shortened(text)} was found; a rational number 'p' or 'p/q' in lowest terms is accepted"
    )


def encode_ball(number: Ball) -> list[str]:
    """Write a ball as the pair of rational texts [midpoint, radius].

    Parameters
    ----------
    number : arb
        A finite ball.

    Returns
    -------
    list of str
        Midpoint and radius, exactly.
    """
    return [encode_rational(exact_value(number.mid())), encode_rational(exact_value(number.rad()))]


def decode_ball(pair: object, field: str) -> tuple[Fraction, Fraction]:
    """Read the text form of a ball.

    Parameters
    ----------
    pair : object
        ``[midpoint, radius]``, two rational texts, the radius at least 0; or one rational text, for radius 0.
    field : str
        Where it stands, for the message.

    Returns
    -------
    tuple of Fraction
        Midpoint and radius.

    Raises
    ------
    CertificateError
        If it is anything else.
    """
    if isinstance(pair, str):
        return decode_rational(pair, field), Fraction(0)
    if not isinstance(pair, list) or len(pair) != 2:
        raise CertificateError(f"{field}: {_shortened(pair)} was found; [midpoint, radius] is accepted")
    middle, radius = decode_rational(pair[0], field), decode_rational(pair[1], field)
    if radius < 0:
        raise CertificateError(f"{field}: the radius {pair[1]} was found; a radius of at least 0 is accepted")
    return middle, radius


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
