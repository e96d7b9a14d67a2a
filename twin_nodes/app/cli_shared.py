"""Options that several commands share, and how commands end."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

Json = Annotated[bool, typer.Option('--json', help='One JSON object per line, for machines.')]
Output = Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')]
Robust = Annotated[bool, typer.Option('--robust/--least-squares', help='Leave out and name outliers.')]
Member = Annotated[str, typer.Option(help='Table within a zip archive: its name, or a pattern.')]
Device = Annotated[str, typer.Option(help='Tool in a tracker recording; else a table of poses is read.')]


def end(text: str, verdict: str) -> NoReturn:
    """Print what a measurement says, and end with 1 where it is refused."""
    print(text)
    raise typer.Exit(1 if verdict == 'refuse' else 0)


def exit_with(code: Any) -> NoReturn:
    """End with the exit code that the work returned; None is 0."""
    raise typer.Exit(int(code or 0))
