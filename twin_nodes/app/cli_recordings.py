"""`twin record`, `play`, `recover`, `compare`, `report`, `export`, `metrics`, `breathing`, `track`: recordings."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app import complete
from twin_nodes.app.cli_shared import Json, exit_with
from twin_nodes.core.errors import ConfigError


def add_to(twin: typer.Typer) -> None:
    """Add the commands to `twin`."""
    for command in (record, play, recover, compare, report, export, metrics, breathing, track):
        twin.command()(command)


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

    exit_with(
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
    settle: Annotated[
        float, typer.Option(min=0.0, help='And for nodes to find each other, after the last subscriber [s].')
    ] = 3.0,
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
        settle_s=settle,
    )
    exit_with(run(bag, config=config, quiet=quiet))


def recover(
    bag: Annotated[Path, typer.Argument(help='Folder of the bag, or its MCAP file.')],
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Folder to make.')] = None,
    compression: Annotated[str, typer.Option(help="'zstd', 'lz4' or ''.")] = 'zstd',
) -> None:
    """Rebuild a bag that was cut or killed, and say what was lost."""
    from twin_nodes.app.recover import recover as run

    exit_with(run(bag, output=output, compression=compression))


def compare(
    first: Annotated[str, typer.Argument(help='A bag.')], second: Annotated[str, typer.Argument(help='Another bag.')]
) -> None:
    """Say where two bags differ, every decoded field bit for bit."""
    from twin_nodes.app.compare import compare as run

    exit_with(run(first, second))


def report(
    source: Annotated[Path, typer.Argument(help='Bag, folder of a demo, case, or figures of `twin bench --json`.')],
    output: Annotated[Path | None, typer.Option('--output', '-o', help='Page to write; else report.html.')] = None,
    pdf: Annotated[bool, typer.Option('--pdf', help='Write a PDF too (needs weasyprint).')] = False,
    json: Json = False,
) -> None:
    """Write one self-contained page of what a bag, a case or a bench holds."""
    from twin_nodes.app.report.run import write_report

    exit_with(write_report(source, output=output, pdf=pdf, as_json=json))


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
    receive_times: Annotated[
        bool, typer.Option('--receive-times', help='tum, csv: take the times of recording for the stamps.')
    ] = False,
) -> None:
    """Write what bags hold for other tools: TUM (evo), CSV, VTK, LeRobot."""
    if form == 'lerobot':
        from twin_nodes.app.export_lerobot import LerobotConfig, export_lerobot

        config = LerobotConfig(fps=fps, task=task, robot_type=robot, max_gap=max_gap)
        exit_with(export_lerobot(bags, output or bags[0].resolve().parent / form, config, topics=tuple(topic or ())))
    from twin_nodes.app.export import export as run

    if len(bags) > 1:
        raise ConfigError(f'{form}: one bag at a time; only lerobot joins several')
    exit_with(run(bags[0], form, topics=tuple(topic or ()), output=output, receive_times=receive_times))


def metrics(
    bags: Annotated[list[Path], typer.Argument(help='Bags; with several, trials are scored among each other.')],
    topic: Annotated[
        list[str] | None, typer.Option(help='Topic with poses, wrenches or joints, or /tf#FRAME; all by default.')
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help='ARM=MODEL of joints (or MODEL for all): the tip.')] = None,
    gestures: Annotated[
        Path | None, typer.Option(help='Transcript, lines `start end LABEL`: measures of each gesture.')
    ] = None,
    gesture_rate: Annotated[
        float | None, typer.Option(min=0.0, help='Frames a second of the transcript; 0 for seconds.')
    ] = None,
    receive_times: Annotated[
        bool, typer.Option('--receive-times', help='Take the times of recording for the stamps.')
    ] = False,
    json: Json = False,
) -> None:
    """Measure motion and force in bags: path, time, smoothness, rest, peaks, and a score."""
    from twin_nodes.app.metrics import print_metrics

    if gestures is not None and len(bags) > 1:
        raise ConfigError(f'--gestures {gestures} is of one trial, and {len(bags)} are given')
    exit_with(
        print_metrics(
            bags,
            topics=tuple(topic or ()),
            models=tuple(model or ()),
            receive_times=receive_times,
            gestures=gestures,
            gesture_rate_hz=gesture_rate,
            as_json=json,
        )
    )


def breathing(
    traces: Annotated[list[Path], typer.Argument(help='Tables (CSV), WFDB headers (.hea) or EDF files.')],
    channel: Annotated[str, typer.Option(help='Channel or column; found by its name when left out.')] = '',
    json: Json = False,
) -> None:
    """Say how far ahead recorded breathing can be told: errors, simpler predictors beside, the 95 % band."""
    from twin_nodes.app.breathing import print_breathing

    exit_with(print_breathing(traces, channel=channel, as_json=json))


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

    exit_with(
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


def _pairs(words: list[str]) -> dict[str, str]:
    """Read `old:=new` words."""
    pairs = {}
    for word in words:
        old, sign, new = word.partition(':=')
        if not (old and sign and new):
            raise ConfigError(f'{word!r}: expected old:=new')
        pairs[old] = new
    return pairs
