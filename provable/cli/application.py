"""Which commands there are, and how their errors reach the user."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click
import typer

from provable.errors import ProvableError

COMMANDS = {
    "verify": "run theorems' evidence and compare the verdicts with the expected ones",
    "list": "list the theorems with statement, source and expected verdict",
    "audit": "security metrics of an architecture, with proofs",
    "observe": "make an observation file from an architecture and data",
    "recover": "recover the data behind one observation, with a certificate",
    "check": "re-check a certificate with the independent checker",
}


def _command(name: str) -> click.Command:
    function = getattr(importlib.import_module(f"provable.cli.{name}"), name)
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command(name=name, help=function.__doc__, short_help=COMMANDS[name])(function)
    return typer.main.get_command(application)


class _Commands(click.Group):
    """Loads a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


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
    group = _Commands(
        name="provable", help="Theory verification and numerical analysis of training-data reconstruction."
    )
    try:
        status: Any = group.main(args=list(arguments), prog_name="provable", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return 2
    except click.ClickException as error:
        return _fail(error.format_message())
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except ProvableError as error:
        return _fail(str(error))
    except BrokenPipeError:
        return 1
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int = 2) -> int:
    sys.stderr.write("provable: " + " ".join(message.split()) + "\n")
    return status
