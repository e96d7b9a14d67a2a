"""`twin doctor`, `check`, `why`, `explain`, `frames` and `completion`: doors to what says how things are."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app import complete
from twin_nodes.app.cli_shared import Json, exit_with


def add_to(twin: typer.Typer) -> None:
    """Add the commands to `twin`."""
    for command in (doctor, check, why, explain, frames, completion):
        twin.command()(command)


def doctor(
    json: Json = False,
    clean: Annotated[bool, typer.Option('--clean', help='Remove stale shared memory of killed nodes.')] = False,
) -> None:
    """Say what works here, what does not, and the command that mends it."""
    from twin_nodes.app.doctor import doctor as run

    exit_with(run(json=json, clean=clean))


def check(
    file: Annotated[Path, typer.Argument(help='YAML, launch XML, mesh, robot, recording, bag, result; or a folder.')],
    arg: Annotated[list[str] | None, typer.Option(help='name:=value of a xacro file.')] = None,
) -> None:
    """Say what a file is and whether it can be used."""
    from twin_nodes.app.check import check as run

    exit_with(run(file, arg or ()))


def why(
    topic: Annotated[str, typer.Argument(help='Topic that is silent or wrong.')],
    seconds: Annotated[float, typer.Option(min=0.2, max=60.0, help='How long to listen [s].')] = 3.0,
    world: Annotated[str, typer.Option(help='Frame that all others must reach.')] = 'world',
    json: Json = False,
) -> None:
    """Say in words why a topic is silent, late or unusable."""
    from twin_nodes.app.why import why as run

    exit_with(run(topic, seconds=seconds, world=world, json=json))


def explain(
    code: Annotated[
        str | None, typer.Argument(help='A code from a diagnostic or an error.', autocompletion=complete.codes)
    ] = None,
) -> None:
    """Say what a code means and what to do; without one, list all."""
    from twin_nodes.app.explain import explain as run

    exit_with(run(code))


def frames(
    seconds: Annotated[float, typer.Option(min=0.2, max=60.0, help='How long to listen [s].')] = 2.0,
    at: Annotated[str, typer.Option('--at', help='Frame of the point at which errors are told; else a tip.')] = '',
    inside: Annotated[str, typer.Option('--in', help='Frame in which it is told; else the anatomy.')] = '',
    point_mm: Annotated[str, typer.Option(help='The point in the frame of --at: x,y,z [mm].')] = '',
    json: Json = False,
) -> None:
    """Print the tree of frames: rate, age, clock, error of each link, and which costs most at a point."""
    from twin_nodes.app.frames import frames as run

    exit_with(run(seconds=seconds, json=json, at=at, inside=inside, point_mm=point_mm))


def completion(shell: Annotated[str, typer.Argument(help='bash, zsh or fish.')] = '') -> None:
    """Print what makes a shell complete `twin`: eval "$(twin completion bash)"."""
    from twin_nodes.app.completion import completion as run

    exit_with(run(shell))
