"""Which commands there are, and how their errors reach the user."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import typer

from provable.errors import ProvableError

COMMANDS = {
    "verify": "Run theorems' evidence and compare the verdicts with the expected ones.",
    "list": "List the theorems with statement, source and expected verdict.",
    "audit": "Tell, with proofs, how much of an input an architecture's gradients determine.",
    "observe": "Make an observation file from an architecture and data.",
    "recover": "Recover the data behind one observation, with a certificate.",
    "check": "Re-check a certificate with the independent checker.",
}

# Some releases of Typer carry their own copy of Click, so the base of usage errors is reached through Typer's own name.
_USAGE_ERRORS: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _application() -> typer.Typer:
    application = typer.Typer(
        name="provable",
        help="Theory verification and numerical analysis of training-data reconstruction.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for name, help_text in COMMANDS.items():
        function = getattr(importlib.import_module(f"provable.cli.{name}"), name)
        application.command(name=name, help=help_text)(function)
    return application


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program's name.

    Returns
    -------
    int
        Exit status: 0 all as expected, 1 something fell short, 2 wrong input or usage, 130 interrupted.
    """
    command: Any = typer.main.get_command(_application())
    try:
        status = command.main(args=list(arguments) or ["--help"], prog_name="provable", standalone_mode=False)
    except _USAGE_ERRORS as error:
        return _fail(error.format_message() if hasattr(error, "format_message") else str(error))
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except ProvableError as error:
        return _fail(str(error))
    except MemoryError as error:
        return _fail(f"the memory of this machine does not suffice ({error})")
    except BrokenPipeError:
        return 1
    if status == 130:  # some releases of Typer turn the interrupt into this status, without a word
        return _fail("interrupted", 130)
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int = 2) -> int:
    sys.stderr.write("provable: " + " ".join(message.split()) + "\n")
    return status
