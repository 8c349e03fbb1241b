"""The errors of the package: each message is one sentence that says where, what was found and what is accepted."""

from __future__ import annotations


class ProvableError(Exception):
    """Base class of every error that this package raises on purpose."""


class InputError(ProvableError, ValueError):
    """An input from outside is wrong: a file, a field, a layer, an option."""


class CertificateError(InputError):
    """A certificate cannot be read: it is malformed, of an unknown claim type or of another format."""


class UnsupportedError(ProvableError):
    """A valid request that the chosen engine cannot serve; the message says what it would need."""


class TheoremError(ProvableError):
    """A theorem file breaks the rules of authoring: no claim, a misspelt hypothesis, an identifier twice."""


class ArithmeticUnsupported(ProvableError, TypeError):
    """An operation does not exist in the arithmetic at hand, for instance tanh of a rational."""
