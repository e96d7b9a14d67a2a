"""`twin build` and `reduce`: doors to the making of patient models."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app.cli_shared import Json, exit_with


def add_to(twin: typer.Typer) -> None:
    """Add the commands to `twin`."""
    for command in (build, reduce):
        twin.command()(command)


def build(
    source: Annotated[Path, typer.Argument(help='Recipe (YAML), DICOM folder, volume, label map or mesh.')],
    output: Annotated[Path, typer.Option('--output', '--out', '-o', help='Folder of the case.')] = Path('case'),
    above: Annotated[float | None, typer.Option(help='Threshold: lowest value (HU in CT).')] = None,
    below: Annotated[float | None, typer.Option(help='Threshold: highest value.')] = None,
    keep: Annotated[int | None, typer.Option(min=0, help='Pieces kept, the largest first; 0 for all.')] = None,
    name: Annotated[str | None, typer.Option(help='Name of the structure.')] = None,
    names: Annotated[Path | None, typer.Option(help='JSON or YAML with the names of the labels.')] = None,
    unit: Annotated[str | None, typer.Option(help='Unit of a mesh file: m or mm.')] = None,
    segments: Annotated[
        str | None, typer.Option(help='Of a DICOM SEG, by number or name, such as Tumour,Liver: the first wins.')
    ] = None,
    series: Annotated[str | None, typer.Option(help='End of the SeriesInstanceUID.')] = None,
    slices: Annotated[str | None, typer.Option(help='Which of the sorted slices, such as 1-5.')] = None,
    frame: Annotated[int | None, typer.Option(min=1, help='Which volume of a series over time, from 1.')] = None,
    tets: Annotated[int | None, typer.Option(min=0, help='Number of tetrahedra; 0 for none.')] = None,
    spacing: Annotated[float | None, typer.Option(min=0.0, help='Of the distance grids [m]; 0 for none.')] = None,
    tolerance: Annotated[float | None, typer.Option(min=0.0, help='Error of decimation [m].')] = None,
    json: Json = False,
) -> None:
    """Build a patient model from images, labels or meshes: surfaces, tetrahedra, distance grids, one folder."""
    from twin_nodes.app.build import build as run

    options = {
        'structure.above': above,
        'structure.below': below,
        'structure.keep': keep,
        'structure.name': name,
        'structure.unit': unit,
        'names': None if names is None else str(names.resolve()),
        'segments': None if segments is None else [name.strip() for name in segments.split(',')],
        'series': series,
        'slices': slices,
        'frame': frame,
        'tets.count': tets,
        'grid.spacing': spacing,
        'surface.tolerance': tolerance,
    }
    given = {key: value for key, value in options.items() if value is not None}
    exit_with(run(source, output=output, options=given, json=json))


def reduce(
    case: Annotated[Path, typer.Argument(help='Folder of a case that `twin build` made.')],
    at: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help='Where a tool takes hold, in the anatomy [m]; left out: lists what was learned.'),
    ] = None,
    name: Annotated[str, typer.Option(help='Name of the model.')] = 'grasp',
    settings: Annotated[
        Path | None, typer.Option(help='YAML of anatomy_node: what holds the organ (deforming.session).')
    ] = None,
    fixed: Annotated[list[str] | None, typer.Option(help='Region that is held; may be repeated.')] = None,
    reach: Annotated[float, typer.Option(help='How far the patch is drawn [m].')] = 0.012,
    turn: Annotated[float, typer.Option(help='How far it is turned [rad].')] = 0.2,
    modes: Annotated[int, typer.Option(help='Modes beside the linear answer.')] = 40,
    drags: Annotated[int, typer.Option(help='Drags to learn from.')] = 60,
    json: Json = False,
) -> None:
    """Learn a reduced model of the organ for a place where a tool takes hold; haptics_node uses it at 1 kHz."""
    from twin_nodes.app.figures import print_figures
    from twin_nodes.app.reduce import listed, reduce_case
    from twin_nodes.core.anatomy.elastic.reduced_patch import PatchConfig
    from twin_nodes.core.config import build_config

    if at is None:
        print(listed(case))
        return
    values = {'reach': reach, 'turn': turn, 'modes': modes, 'drags': drags}
    config = build_config(PatchConfig, values, source='twin reduce')
    report = reduce_case(case, at, name, config, settings=settings, fixed=tuple(fixed or ()))
    good = print_figures(report.figures, as_json=json)
    if not json:
        print(report.text)
    raise typer.Exit(0 if good else 1)
