"""`twin calibrate`: doors to the calibration of tools, clocks and trackers from recordings."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app import cli_camera, cli_force, cli_material, cli_stiffness
from twin_nodes.app.cli_shared import Device, Member, Output, Robust, end

calibrate = typer.Typer(help='Calibrate a tool from a recording.', no_args_is_help=True)
MaxOffset = Annotated[float, typer.Option(min=0.0, help='Largest offset looked for [s]; 0 for any.')]


@calibrate.callback()
def _calibrate() -> None:
    """Calibrate a tool from a recording."""


@calibrate.command('pivot')
def calibrate_pivot(
    recording: Annotated[Path, typer.Argument(help='Recording, or folder of matrices, in which the tool pivots.')],
    device: Annotated[str, typer.Option(help='The tool; may be left out when there is only one.')] = '',
    reference: Annotated[str, typer.Option(help='Device in whose frame the dimple is fixed; else the tracker.')] = '',
    robust: Robust = True,
    output: Output = None,
) -> None:
    """Find the tip of a tool, with its error."""
    from twin_nodes.app.offline_pivot import calibrate_pivot as run

    report = run(recording, device=device, reference=reference, robust=robust, output=output)
    end(report.text, report.stored.verdict)


@calibrate.command('spin')
def calibrate_spin(
    recording: Annotated[Path, typer.Argument(help='Recording in which the tool turns about its own shaft.')],
    tip: Annotated[Path | None, typer.Option(help='Result of `twin calibrate pivot` for the same tool.')] = None,
    device: Annotated[str, typer.Option(help='The tool; may be left out when there is only one.')] = '',
    reference: Annotated[str, typer.Option(help='Device in whose frame the shaft rests; else the tracker.')] = '',
    robust: Robust = True,
    output: Output = None,
) -> None:
    """Find the axis of a tool, and with its tip the whole frame of the tip, with its error."""
    from twin_nodes.app.offline_spin import calibrate_spin as run
    from twin_nodes.io.results import read_result

    known = read_result(tip, kind='tool_tip', usable=True) if tip is not None else None
    report = run(recording, tip=known, device=device, reference=reference, robust=robust, output=output)
    end(report.text, report.result.verdict)


@calibrate.command('hand-eye')
def calibrate_hand_eye(
    hand: Annotated[Path, typer.Argument(help='Poses of the hand: t,x,y,z,qx,qy,qz,qw, TUM, zip, or a recording.')],
    eye: Annotated[Path, typer.Argument(help='Poses of the eye in the frame of what it sees.')],
    hand_member: Member = '',
    eye_member: Member = '',
    hand_device: Device = '',
    eye_device: Device = '',
    invert_eye: Annotated[
        bool, typer.Option('--invert-eye', help='The eye file holds the target in the frame of the eye.')
    ] = False,
    offset_ms: Annotated[float | None, typer.Option(help='Offset of the eye clock; found when left out.')] = None,
    max_offset: MaxOffset = 0.0,
    hand_frame: Annotated[str, typer.Option(help='Name of the frame of the hand.')] = 'hand',
    eye_frame: Annotated[str, typer.Option(help='Name of the frame of the eye.')] = 'eye',
    output: Output = None,
    target_output: Annotated[Path | None, typer.Option(help='Result file for the base and the target.')] = None,
) -> None:
    """Find where a camera or marker sits on a hand, with its error and the offset of the clocks."""
    from twin_nodes.app.offline_hand_eye import calibrate_hand_eye as run
    from twin_nodes.app.offline_streams import open_stream

    report = run(
        open_stream(hand, member=hand_member, device=hand_device),
        open_stream(eye, member=eye_member, device=eye_device, invert=invert_eye),
        offset=None if offset_ms is None else offset_ms * 1e-3,
        max_offset=max_offset,
        frames=(hand_frame, eye_frame),
        output=output,
        target_output=target_output,
    )
    end(report.text, report.stored.verdict)


@calibrate.command('time')
def calibrate_time(
    first: Annotated[Path, typer.Argument(help='Poses whose clock counts: t,x,y,z,qx,qy,qz,qw, TUM, zip, recording.')],
    second: Annotated[Path, typer.Argument(help='Poses of the same rigid body by another device.')],
    first_member: Member = '',
    second_member: Member = '',
    first_device: Device = '',
    second_device: Device = '',
    max_offset: MaxOffset = 0.0,
    output: Output = None,
) -> None:
    """Find the offset between the clocks of two devices from the motion that both saw."""
    from twin_nodes.app.offline_hand_eye import calibrate_time as run
    from twin_nodes.app.offline_streams import open_stream

    report = run(
        open_stream(first, member=first_member, device=first_device),
        open_stream(second, member=second_member, device=second_device),
        max_offset=max_offset,
        output=output,
    )
    end(report.text, report.stored.verdict)


@calibrate.command('distortion')
def calibrate_distortion(
    measured: Annotated[Path, typer.Argument(help='Poses of the sensor as the electromagnetic tracker says.')],
    reference: Annotated[Path, typer.Argument(help='What is true: poses of a marker on the sensor, or known points.')],
    measured_member: Member = '',
    reference_member: Member = '',
    measured_device: Device = '',
    reference_device: Device = '',
    ties: Annotated[
        str,
        typer.Option(help="'solve': marker and frame of the reference are its own; 'same': as measured; 'points'."),
    ] = 'solve',
    model: Annotated[str, typer.Option(help="'auto', 'bernstein' or 'spline'.")] = 'auto',
    offset_ms: Annotated[float | None, typer.Option(help='Offset of the measured clock; found when left out.')] = None,
    sensor: Annotated[str, typer.Option(help='Name of the sensor, for the file.')] = '',
    output: Output = None,
) -> None:
    """Find the field that corrects an electromagnetic tracker near metal, with its held-out residual."""
    from twin_nodes.app.offline_distortion import calibrate_distortion as run
    from twin_nodes.app.offline_streams import open_stream
    from twin_nodes.core.calibration.distortion_fit import DistortionConfig
    from twin_nodes.core.config import build_config

    report = run(
        open_stream(measured, member=measured_member, device=measured_device),
        open_stream(reference, member=reference_member, device=reference_device),
        ties=ties,
        config=build_config(DistortionConfig, {'model': model}),
        offset=None if offset_ms is None else offset_ms * 1e-3,
        sensor=sensor,
        output=output,
    )
    end(report.text, report.stored.verdict)


cli_camera.add_to(calibrate)
cli_force.add_to(calibrate)
cli_material.add_to(calibrate)
cli_stiffness.add_to(calibrate)
