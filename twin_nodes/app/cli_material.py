"""`twin calibrate material`: the door to laws fitted to compression tests."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app.cli_shared import Json


def add_to(calibrate: typer.Typer) -> None:
    """Add the command to `twin calibrate`."""
    calibrate.command('material')(material)


def material(
    files: Annotated[list[Path], typer.Argument(help='Tables of compression tests, or folders of them.')],
    law: Annotated[list[str] | None, typer.Option(help='Law to fit; may be repeated; all when left out.')] = None,
    measure: Annotated[str, typer.Option(help='engineering or true stress and strain.')] = 'engineering',
    weights: Annotated[str, typer.Option(help='equal, relative or spread (between specimens).')] = 'equal',
    stable: Annotated[
        bool, typer.Option('--stable', help='Only terms that add energy: stable at all strains.')
    ] = False,
    name: Annotated[str, typer.Option('--material', help='Name of the material; else from the files.')] = '',
    published: Annotated[Path | None, typer.Option(help='Table of published parameters to print beside.')] = None,
    profile: Annotated[bool, typer.Option('--profile', help='Intervals along the profile of the fit too.')] = False,
    raw: Annotated[bool, typer.Option('--raw', help='Leave preload and slack in.')] = False,
    json: Json = False,
    output: Annotated[
        Path | None, typer.Option('--output', '--out', '-o', help='Result file; a folder for several materials.')
    ] = None,
) -> None:
    """Fit hyperelastic laws to compression tests, with their errors, beside published fits."""
    from twin_nodes.app.figures import print_figures
    from twin_nodes.app.offline_material import calibrate_materials
    from twin_nodes.core.anatomy.material.fit import FitConfig
    from twin_nodes.core.config import build_config

    config = build_config(FitConfig, {'weights': weights, 'stable': stable}, source='twin calibrate material')
    reports = calibrate_materials(
        files, laws=law or (), measure=measure, config=config, material=name, published=published, profile=profile,
        raw=raw, output=output,
    )  # fmt: skip
    if json:
        print_figures([figure for report in reports for figure in report.figures], as_json=True)
    else:
        print('\n\n'.join(report.text for report in reports))
    raise typer.Exit(1 if any(report.stored.verdict == 'refuse' for report in reports) else 0)
