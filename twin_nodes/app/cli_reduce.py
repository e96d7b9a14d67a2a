"""`twin reduce`: the door to reduced models for 1 kHz."""

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command to `twin`."""
    app.command('reduce')(reduce)


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
    json: Annotated[bool, typer.Option('--json', help='One JSON object per figure, for machines.')] = False,
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
