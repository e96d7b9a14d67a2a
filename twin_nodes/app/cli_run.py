"""`twin demo`, `launch`, `view` and `bench`: doors to what runs the twin."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app import complete
from twin_nodes.app.cli_shared import Json, exit_with

Words = Annotated[
    list[str] | None,
    typer.Argument(help='FILE or PACKAGE FILE, then name:=value …', autocompletion=complete.launch_files),
]


def add_to(twin: typer.Typer) -> None:
    """Add the commands to `twin`."""
    for command in (demo, launch, view, bench):
        twin.command()(command)


def demo(
    scene: Annotated[str, typer.Option(help='Scene to simulate.', autocompletion=complete.scenes)] = 'room',
    link: Annotated[str, typer.Option(help='Network of the scene telesurgery (twin link list).')] = 'geo',
    recording: Annotated[Path | None, typer.Option(help='Play this recording instead of the simulator.')] = None,
    plus_config: Annotated[Path | None, typer.Option(help='PLUS configuration that belongs to it.')] = None,
    truth: Annotated[Path | None, typer.Option(help='Published result to compare with.')] = None,
    rate: Annotated[float, typer.Option(min=0.01, help='Speed of time; 1 is real time.')] = 1.0,
    headless: Annotated[bool, typer.Option('--headless', help='No live view.')] = False,
    seconds: Annotated[float | None, typer.Option(min=0.1, help='Stop after this time [s].')] = None,
    json: Json = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help='Port of the live view on 127.0.0.1.')] = 8080,
    bag: Annotated[bool, typer.Option('--bag/--no-bag', help='Record a bag.')] = True,
    seed: Annotated[int, typer.Option(min=0, help='Seed of the simulation.')] = 1,
    out: Annotated[Path | None, typer.Option(help='Folder for what the demo writes.')] = None,
) -> None:
    """Run the twin of an operating room, simulated or from a recording, with the live view."""
    from twin_nodes.app.demo import demo as run

    exit_with(
        run(
            scene=scene,
            link=link,
            recording=recording,
            plus_config=plus_config,
            truth=truth,
            rate=rate,
            headless=headless,
            seconds=seconds,
            json=json,
            port=port,
            bag=bag,
            seed=seed,
            out=out,
        )
    )


def launch(
    words: Words = None,
    show_args: Annotated[bool, typer.Option('--show-args', '-s', help="List the file's arguments.")] = False,
    dry_run: Annotated[bool, typer.Option('--print', '--dry-run', '-p', help='Print the commands only.')] = False,
    seconds: Annotated[float | None, typer.Option(min=0.0, help='Stop after this time [s].')] = None,
) -> None:
    """Run a ROS 2 launch XML file; without one, list those of twin_nodes."""
    from twin_nodes.app.launch.command import launch as run

    exit_with(run(words or [], show_args=show_args, dry_run=dry_run, seconds=seconds))


def view(
    bag: Annotated[Path | None, typer.Argument(help='Bag, or folder of a demo; the twin that runs when none.')] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help='Port on 127.0.0.1; 0 for a free one.')] = 8080,
    rate: Annotated[float, typer.Option(help='Speed relative to the recording.')] = 1.0,
    start: Annotated[float, typer.Option(min=0.0, help='Where to begin [s].')] = 0.0,
    paused: Annotated[bool, typer.Option('--paused', help='Begin paused.')] = False,
    config: Annotated[Path | None, typer.Option(help='A view.yaml; else the one beside the bag, or none.')] = None,
    namespace: Annotated[str, typer.Option(help='Namespace of the twin that runs.')] = '/',
) -> None:
    """Open the page of a bag, with a scrubber, or of the twin that runs."""
    from twin_nodes.app.view.run import view_bag, view_live

    if bag is None:
        exit_with(view_live(port=port, config=config, namespace=namespace))
    exit_with(view_bag(bag, port=port, rate=rate, start_s=start, paused=paused, config=config))


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help='Benches to run; all by default.', autocompletion=complete.benches)
    ] = None,
    quick: Annotated[bool, typer.Option('--quick', help='Smaller samples, under a minute.')] = False,
    json: Json = False,
) -> None:
    """Measure speed and accuracy, beside a peer where there is one."""
    from twin_nodes.app.bench.runner import run

    exit_with(run(names or [], quick, json))
