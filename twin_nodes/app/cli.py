"""The `twin` command: thin doors to the work, which is imported only when a door is opened."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from twin_nodes.app import cli_reduce, complete
from twin_nodes.app.cli_files import GROUPS
from twin_nodes.core.errors import ConfigError, TwinError

app = typer.Typer(
    name='twin',
    help='Live digital twins for surgery as ROS 2 nodes. Without a command: where you stand and what to do next.',
    no_args_is_help=False,
    invoke_without_command=True,
    add_completion=False,  # `twin completion` says how; the words themselves are found all the same
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={'help_option_names': ['-h', '--help']},
)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)

Json = Annotated[bool, typer.Option('--json', help='One JSON object per line, for machines.')]
Words = Annotated[
    list[str] | None,
    typer.Argument(help='FILE or PACKAGE FILE, then name:=value …', autocompletion=complete.launch_files),
]


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option('--debug', help='Show a traceback for errors.')] = False,
    version: Annotated[bool, typer.Option('--version', help='Print the version and end.')] = False,
) -> None:
    from twin_nodes.app import standing

    if version:
        print(standing.version())
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(standing.show())


@app.command()
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

    _end(
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


@app.command()
def launch(
    words: Words = None,
    show_args: Annotated[bool, typer.Option('--show-args', '-s', help="List the file's arguments.")] = False,
    dry_run: Annotated[bool, typer.Option('--print', '--dry-run', '-p', help='Print the commands only.')] = False,
    seconds: Annotated[float | None, typer.Option(min=0.0, help='Stop after this time [s].')] = None,
) -> None:
    """Run a ROS 2 launch XML file; without one, list those of twin_nodes."""
    from twin_nodes.app.launch.command import launch as run

    _end(run(words or [], show_args=show_args, dry_run=dry_run, seconds=seconds))


@app.command()
def build(
    source: Annotated[Path, typer.Argument(help='Recipe (YAML), DICOM folder, volume, label map or mesh.')],
    output: Annotated[Path, typer.Option('--output', '--out', '-o', help='Folder of the case.')] = Path('case'),
    above: Annotated[float | None, typer.Option(help='Threshold: lowest value (HU in CT).')] = None,
    below: Annotated[float | None, typer.Option(help='Threshold: highest value.')] = None,
    keep: Annotated[int | None, typer.Option(min=0, help='Pieces kept, the largest first; 0 for all.')] = None,
    name: Annotated[str | None, typer.Option(help='Name of the structure.')] = None,
    names: Annotated[Path | None, typer.Option(help='JSON or YAML with the names of the labels.')] = None,
    unit: Annotated[str | None, typer.Option(help='Unit of a mesh file: m or mm.')] = None,
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
        'series': series,
        'slices': slices,
        'frame': frame,
        'tets.count': tets,
        'grid.spacing': spacing,
        'surface.tolerance': tolerance,
    }
    given = {key: value for key, value in options.items() if value is not None}
    _end(run(source, output=output, options=given, json=json))


cli_reduce.add_to(app)


@app.command()
def doctor(
    json: Json = False,
    clean: Annotated[bool, typer.Option('--clean', help='Remove stale shared memory of killed nodes.')] = False,
) -> None:
    """Say what works here, what does not, and the command that mends it."""
    from twin_nodes.app.doctor import doctor as run

    _end(run(json=json, clean=clean))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help='YAML, launch XML, mesh, robot, recording, bag or result.')],
    arg: Annotated[list[str] | None, typer.Option(help='name:=value of a xacro file.')] = None,
) -> None:
    """Say what a file is and whether it can be used."""
    from twin_nodes.app.check import check as run

    _end(run(file, arg or ()))


@app.command()
def why(
    topic: Annotated[str, typer.Argument(help='Topic that is silent or wrong.')],
    seconds: Annotated[float, typer.Option(min=0.2, max=60.0, help='How long to listen [s].')] = 3.0,
    world: Annotated[str, typer.Option(help='Frame that all others must reach.')] = 'world',
    json: Json = False,
) -> None:
    """Say in words why a topic is silent, late or unusable."""
    from twin_nodes.app.why import why as run

    _end(run(topic, seconds=seconds, world=world, json=json))


@app.command()
def completion(shell: Annotated[str, typer.Argument(help='bash, zsh or fish.')] = '') -> None:
    """Print what makes a shell complete `twin`: eval "$(twin completion bash)"."""
    from twin_nodes.app.completion import completion as run

    _end(run(shell))


@app.command()
def explain(
    code: Annotated[
        str | None, typer.Argument(help='A code from a diagnostic or an error.', autocompletion=complete.codes)
    ] = None,
) -> None:
    """Say what a code means and what to do; without one, list all."""
    from twin_nodes.app.explain import explain as run

    _end(run(code))


@app.command()
def frames(
    seconds: Annotated[float, typer.Option(min=0.2, max=60.0, help='How long to listen [s].')] = 2.0,
    at: Annotated[str, typer.Option('--at', help='Frame of the point at which errors are told; else a tip.')] = '',
    inside: Annotated[str, typer.Option('--in', help='Frame in which it is told; else the anatomy.')] = '',
    point_mm: Annotated[str, typer.Option(help='The point in the frame of --at: x,y,z [mm].')] = '',
    json: Json = False,
) -> None:
    """Print the tree of frames: rate, age, clock, error of each link, and which costs most at a point."""
    from twin_nodes.app.frames import frames as run

    _end(run(seconds=seconds, json=json, at=at, inside=inside, point_mm=point_mm))


@app.command()
def record(
    topics: Annotated[list[str] | None, typer.Argument(help='Topics to record; all by default.')] = None,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Folder to make.')] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help='How long to record [s]; 0 until Ctrl-C.')] = 0.0,
    exclude: Annotated[str, typer.Option(help='Regular expression of topics to leave out.')] = '',
    compression: Annotated[str, typer.Option(help="'zstd', 'lz4' or ''.")] = 'zstd',
    use_sim_time: Annotated[bool, typer.Option('--use-sim-time', help='Stamp with /clock.')] = False,
    quiet: Annotated[bool, typer.Option('--quiet', '-q', help='Print errors only.')] = False,
) -> None:
    """Record topics into a rosbag2 folder (MCAP) that survives a kill."""
    from twin_nodes.app.record import record as run

    _end(
        run(
            topics or None,
            output=output,
            duration_s=seconds,
            exclude=exclude,
            compression=compression,
            use_sim_time=use_sim_time,
            quiet=quiet,
        )
    )


@app.command()
def play(
    bag: Annotated[Path, typer.Argument(help='Folder of the bag, or its MCAP file.')],
    rate: Annotated[float, typer.Option(min=0.001, help='Speed relative to the recording.')] = 1.0,
    loop: Annotated[bool, typer.Option('--loop', '-l', help='Begin again at the end.')] = False,
    start_offset: Annotated[float, typer.Option(min=0.0, help='Leave out at the beginning [s].')] = 0.0,
    seconds: Annotated[float, typer.Option(min=0.0, help='How much to play [s]; 0 for all.')] = 0.0,
    topics: Annotated[list[str] | None, typer.Option('--topic', help='Play only this topic; may be repeated.')] = None,
    exclude: Annotated[list[str] | None, typer.Option(help='Leave out this topic; may be repeated.')] = None,
    remap: Annotated[list[str] | None, typer.Option(help='old:=new; may be repeated.')] = None,
    clock: Annotated[bool, typer.Option('--clock/--no-clock', help='Publish /clock.')] = True,
    wait: Annotated[float, typer.Option(min=0.0, help='Wait at most so long for subscribers [s].')] = 0.0,
    quiet: Annotated[bool, typer.Option('--quiet', '-q', help='Print errors only.')] = False,
) -> None:
    """Play a bag, whole or cut, with /clock."""
    from twin_nodes.app.play import PlayConfig
    from twin_nodes.app.play import play as run

    config = PlayConfig(
        rate=rate,
        loop=loop,
        start_offset_s=start_offset,
        duration_s=seconds,
        topics=topics or None,
        exclude=tuple(exclude or ()),
        remap=_pairs(remap or []),
        clock=clock,
        wait_for_subscribers_s=wait,
    )
    _end(run(bag, config=config, quiet=quiet))


@app.command()
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
        _end(view_live(port=port, config=config, namespace=namespace))
    _end(view_bag(bag, port=port, rate=rate, start_s=start, paused=paused, config=config))


@app.command()
def recover(
    bag: Annotated[Path, typer.Argument(help='Folder of the bag, or its MCAP file.')],
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Folder to make.')] = None,
    compression: Annotated[str, typer.Option(help="'zstd', 'lz4' or ''.")] = 'zstd',
) -> None:
    """Rebuild a bag that was cut or killed, and say what was lost."""
    from twin_nodes.app.recover import recover as run

    _end(run(bag, output=output, compression=compression))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help='A bag.')], second: Annotated[str, typer.Argument(help='Another bag.')]
) -> None:
    """Say where two bags differ, every decoded field bit for bit."""
    from twin_nodes.app.compare import compare as run

    _end(run(first, second))


@app.command()
def report(
    source: Annotated[Path, typer.Argument(help='Bag, folder of a demo, case, or figures of `twin bench --json`.')],
    output: Annotated[Path | None, typer.Option('--output', '-o', help='Page to write; else report.html.')] = None,
    pdf: Annotated[bool, typer.Option('--pdf', help='Write a PDF too (needs weasyprint).')] = False,
    json: Json = False,
) -> None:
    """Write one self-contained page of what a bag, a case or a bench holds."""
    from twin_nodes.app.report.run import write_report

    _end(write_report(source, output=output, pdf=pdf, as_json=json))


@app.command()
def export(
    bags: Annotated[list[Path], typer.Argument(help='Bag; several become the episodes of one LeRobot data set.')],
    form: Annotated[
        str,
        typer.Option(
            '--to',
            '--format',
            help='tum or csv for poses and numbers, vtk for surfaces, lerobot.',
            autocompletion=complete.forms,
        ),
    ] = 'tum',
    topic: Annotated[list[str] | None, typer.Option(help='Topic to write; all by default.')] = None,
    output: Annotated[
        Path | None, typer.Option('--output', '--out', '-o', help='Folder; beside the bag when left out.')
    ] = None,
    fps: Annotated[int, typer.Option(min=1, max=1000, help='lerobot: frames a second.')] = 30,
    task: Annotated[str, typer.Option(help='lerobot: what is done, in words.')] = 'unnamed task',
    robot: Annotated[str, typer.Option(help='lerobot: name of the robot.')] = '',
    max_gap: Annotated[float, typer.Option(min=0.001, help='lerobot: longest hole that is bridged [s].')] = 0.1,
) -> None:
    """Write what bags hold for other tools: TUM (evo), CSV, VTK, LeRobot."""
    if form == 'lerobot':
        from twin_nodes.app.export_lerobot import LerobotConfig, export_lerobot

        config = LerobotConfig(fps=fps, task=task, robot_type=robot, max_gap=max_gap)
        _end(export_lerobot(bags, output or bags[0].resolve().parent / form, config, topics=tuple(topic or ())))
    from twin_nodes.app.export import export as run

    if len(bags) > 1:
        raise ConfigError(f'{form}: one bag at a time; only lerobot joins several')
    _end(run(bags[0], form, topics=tuple(topic or ()), output=output))


@app.command()
def metrics(
    bags: Annotated[list[Path], typer.Argument(help='Bags; with several, trials are scored among each other.')],
    topic: Annotated[
        list[str] | None, typer.Option(help='Topic with poses, wrenches or joints; all by default.')
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help='ARM=MODEL of joints (or MODEL for all): the tip.')] = None,
    json: Json = False,
) -> None:
    """Measure motion and force in bags: path, time, smoothness, rest, peaks, and a score."""
    from twin_nodes.app.metrics import print_metrics

    _end(print_metrics(bags, topics=tuple(topic or ()), models=tuple(model or ()), as_json=json))


@app.command()
def track(
    video: Annotated[Path, typer.Argument(help='Video, folder of images, or image.')],
    dictionary: Annotated[str, typer.Option(help='Family of the tags, such as 4X4_50; found when left out.')] = '',
    tag_size: Annotated[float, typer.Option(min=0.0, help='Side of the black square of lone tags [mm].')] = 0.0,
    camera: Annotated[Path | None, typer.Option(help='Calibration; without one only ids are told.')] = None,
    body: Annotated[list[Path] | None, typer.Option(help='File of marker bodies; may be repeated.')] = None,
    rate: Annotated[float, typer.Option(min=0.0, help='Images per second; 0 for what the file says.')] = 0.0,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='CSV of the poses to write.')] = None,
    json: Json = False,
) -> None:
    """Find printed tags (ArUco, AprilTag, ChArUco) in a video, and their poses with their errors."""
    from twin_nodes.app.track import track as run

    _end(
        run(
            video,
            dictionary=dictionary,
            tag_size=tag_size * 1e-3,
            camera=camera,
            bodies=body or [],
            rate_hz=rate,
            output=output,
            as_json=json,
        )
    )


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help='Benches to run; all by default.', autocompletion=complete.benches)
    ] = None,
    quick: Annotated[bool, typer.Option('--quick', help='Smaller samples, under a minute.')] = False,
    json: Json = False,
) -> None:
    """Measure speed and accuracy, beside a peer where there is one."""
    from twin_nodes.app.bench.runner import run

    _end(run(names or [], quick, json))


def _pairs(words: list[str]) -> dict[str, str]:
    """Read `old:=new` words."""
    pairs = {}
    for word in words:
        old, sign, new = word.partition(':=')
        if not (old and sign and new):
            raise ConfigError(f'{word!r}: expected old:=new')
        pairs[old] = new
    return pairs


def _end(code: Any) -> None:
    """End with the exit code that a command returned."""
    raise typer.Exit(int(code or 0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `twin`: an error of ours is one line and exit 1, without a traceback unless `--debug` is given.

    Args:
        arguments: Words after `twin`; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it
    if '_TWIN_COMPLETE' in os.environ:
        from typer.completion import completion_init

        completion_init()
    try:
        app(words, prog_name='twin', standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except (TwinError, ModuleNotFoundError) as error:
        if '--debug' in words:
            raise
        return _say(error)
    except BrokenPipeError:  # `twin … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


def _say(error: Exception) -> int:
    code = getattr(error, 'code', '')
    hint = f' (twin explain {code})' if code else ''
    missing = isinstance(error, ModuleNotFoundError)
    mend = '; run `make`, or install it with pip' if missing else hint
    print(f'twin: {error}{mend}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
