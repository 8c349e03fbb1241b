"""The independent checker of certificates: standard library and python-flint, no code of the solvers.

It re-proves the claim of a certificate from the certificate's own data (and, for ``isolated-recovery``, from the bytes of the
observation file) with its own reader of files, its own evaluation of networks in balls, its own ranks and eliminations. The
one exception to its independence is stated in `provable.checker.counterexample`. What the claims mean stands in
`provable.rigor.certificates`.
"""

from __future__ import annotations

from provable.checker.checking import check
from provable.checker.verdict import CheckResult

__all__ = ["CheckResult", "check"]
