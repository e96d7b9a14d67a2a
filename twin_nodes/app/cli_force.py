"""`twin calibrate force`: the door to the force profile of an instrument in tissue."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app.cli_shared import Json, Output


def add_to(calibrate: typer.Typer) -> None:
    """Add the command to `twin calibrate`."""
    calibrate.command('force')(force)


def force(
    strokes: Annotated[Path, typer.Argument(help='CSV of strokes: depth_m or depth_mm, force_n, speed_m_s or t_s.')],
    bins: Annotated[int, typer.Option(min=2, max=500, help='Depths of the table.')] = 24,
    json: Json = False,
    output: Output = None,
) -> None:
    """Build the force profile of an instrument in tissue from recorded strokes."""
    from twin_nodes.app.figures import print_figures
    from twin_nodes.app.offline_force import calibrate_force

    report = calibrate_force(strokes, bins=bins, output=output)
    if json:
        print_figures(report.figures, as_json=True)
    else:
        print(report.text)
