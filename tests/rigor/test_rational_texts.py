"""Text forms of rationals and balls: what is written reads back, and nothing else is read."""

from __future__ import annotations

from fractions import Fraction

import flint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.errors import CertificateError
from provable.rigor.balls import ball, exact_value
from provable.rigor.rational_texts import decode_ball, decode_rational, encode_ball, encode_rational

FINITE = st.floats(allow_nan=False, allow_infinity=False)
RATIONAL = st.fractions() | st.builds(
    lambda m, e: Fraction(m) * Fraction(2) ** e, st.integers(), st.integers(-1100, 1100)
)
BITS = st.integers(30, 300)


@given(RATIONAL)
def test_rational_texts_read_back(value: Fraction) -> None:
    assert decode_rational(encode_rational(value), "x") == value


@given(FINITE)
def test_float_texts_read_back_every_bit(value: float) -> None:
    assert float(decode_rational(encode_rational(value), "x")) == value


NO_RATIONALS: list[object] = [
    "",
    "1/1",
    "2/4",
    "0/3",
    "-0",
    "+1",
    " 1",
    "1 ",
    "1.0",
    "01",
    "1/02",
    "1/-2",
    "1e3",
    "1/0",
]
NO_RATIONALS += ["٣", "1" * 4001, "1/2/3", "--1", "1/", "/2", None, 1, 0.5, True, ["1"], {}]


@pytest.mark.parametrize("text", NO_RATIONALS)
def test_other_forms_of_rationals_are_refused_in_one_line(text: object) -> None:
    with pytest.raises(CertificateError) as caught:
        decode_rational(text, "data.eta")
    assert str(caught.value).startswith("data.eta: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(RATIONAL, st.floats(0, 1e10), BITS)
def test_ball_texts_read_back_exactly(middle: Fraction, radius: float, bits: int) -> None:
    with flint.ctx.workprec(bits):
        number = ball(middle) + flint.arb(0, radius)
        middle_read, radius_read = decode_ball(encode_ball(number), "x")
        assert middle_read == exact_value(number.mid())
        assert radius_read == exact_value(number.rad())


@pytest.mark.parametrize("pair", [["1"], ["1", "2", "3"], ["1", "-1"], {"mid": "1"}, None, [1, 2], ["1", None]])
def test_other_forms_of_balls_are_refused(pair: object) -> None:
    with pytest.raises(CertificateError):
        decode_ball(pair, "x")
