"""Files that a command will write: refused before the work rather than after it."""

from __future__ import annotations

from pathlib import Path

from provable.errors import InputError


def check_targets(*targets: Path | None, inputs: tuple[str | Path | None, ...] = ()) -> None:
    """Check that result files can be written and do not overwrite each other or an input.

    Parameters
    ----------
    *targets : Path or None
        Files that will be written; None for those that were not asked for.
    inputs : tuple of str, Path or None
        Files that are read; ``-`` may stand there once.

    Raises
    ------
    InputError
        If two of them are the same file, or a folder does not exist.
    """
    sources = [str(source) for source in inputs if source is not None]
    if sources.count("-") > 1:
        raise InputError("-: is given twice; one file can come from standard input")
    seen = {Path(source).absolute() for source in sources if source != "-"}
    for target in targets:
        if target is None:
            continue
        if target.absolute() in seen:
            raise InputError(f"{target}: is given twice; every input and result has a file of its own")
        if not target.absolute().parent.is_dir():
            raise InputError(f"{target}: cannot be written; a file in an existing folder is accepted")
        if target.is_dir():
            raise InputError(f"{target}: is a folder; a file in it is accepted")
        seen.add(target.absolute())
