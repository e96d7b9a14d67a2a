"""`twin calibrate stiffness`: the door to the stiffness of a patient's organ."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app.cli_shared import Json, Output


def add_to(calibrate: typer.Typer) -> None:
    """Add the command to `twin calibrate`."""
    calibrate.command('stiffness')(stiffness)


def stiffness(
    recipe: Annotated[Path, typer.Argument(help='YAML: the case, what holds it, and the states that were seen.')],
    json: Json = False,
    output: Output = None,
) -> None:
    """Estimate how stiff each structure, and what holds it, is from surface points, grasps and forces."""
    from twin_nodes.app.figures import print_figures
    from twin_nodes.app.offline_stiffness import calibrate_stiffness, check_output

    check_output(output)
    report = calibrate_stiffness(recipe, output=output)
    if json:
        good = print_figures(report.figures, as_json=True)
    else:
        good = report.estimate.status == 'converged'
        print(report.text)
    raise typer.Exit(0 if good else 1)
