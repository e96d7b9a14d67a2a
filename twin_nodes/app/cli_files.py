"""The groups of `twin` that work on files: igtl, calibrate and register."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app import cli_camera, cli_force, cli_link, cli_material, cli_stiffness

igtl = typer.Typer(help='OpenIGTLink tools.', no_args_is_help=True)
calibrate = typer.Typer(help='Calibrate a tool from a recording.', no_args_is_help=True)
register = typer.Typer(help='Register anatomy to patient from a recording.', no_args_is_help=True)
GROUPS = {'igtl': igtl, 'calibrate': calibrate, 'register': register, 'link': cli_link.link}


@igtl.command('serve')
def igtl_serve(
    file: Annotated[Path, typer.Argument(help='Recording to serve, or sim for the simulated room.')],
    host: Annotated[str, typer.Option(help='Address to listen on.')] = '127.0.0.1',
    port: Annotated[int, typer.Option(min=0, max=65535, help='Port to listen on.')] = 18944,
    rate: Annotated[float, typer.Option(min=0.01, help='Speed of time; 1 is real time.')] = 1.0,
    loop: Annotated[bool, typer.Option('--loop', help='Start again at the end.')] = False,
    version: Annotated[int, typer.Option(min=1, max=2, help='OpenIGTLink header version.')] = 1,
    wait: Annotated[bool, typer.Option('--wait/--no-wait', help='Start with the first client.')] = True,
) -> None:
    """Serve a recording or the simulated room to any OpenIGTLink client, 3D Slicer included."""
    from twin_nodes.app.igtl import serve

    raise typer.Exit(serve(file, host=host, port=port, rate=rate, loop=loop, version=version, wait=wait))


@igtl.command('live')
def igtl_live(
    tools: Annotated[list[str] | None, typer.Argument(help='Tools to send; all by default.')] = None,
    host: Annotated[str, typer.Option(help='Address to listen on.')] = '127.0.0.1',
    port: Annotated[int, typer.Option(min=0, max=65535, help='Port to listen on.')] = 18944,
    version: Annotated[int, typer.Option(min=1, max=2, help='OpenIGTLink header version.')] = 1,
) -> None:
    """Serve what the twin says now, poses of the tools and of the tip in the image, to 3D Slicer and others."""
    from twin_nodes.app.igtl_live import live

    raise typer.Exit(live(tuple(tools or ()), host=host, port=port, version=version))


@calibrate.callback()
def _calibrate() -> None:
    """Calibrate a tool from a recording."""


@register.callback()
def _register() -> None:
    """Register anatomy to patient from a recording."""


@igtl.callback()
def _igtl() -> None:
    """Serve recordings, or the running twin, over OpenIGTLink."""


@calibrate.command('pivot')
def calibrate_pivot(
    recording: Annotated[Path, typer.Argument(help='Recording, or folder of matrices, in which the tool pivots.')],
    device: Annotated[str, typer.Option(help='The tool; may be left out when there is only one.')] = '',
    reference: Annotated[str, typer.Option(help='Device in whose frame the dimple is fixed; else the tracker.')] = '',
    robust: Annotated[bool, typer.Option('--robust/--least-squares', help='Leave out and name outliers.')] = True,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')] = None,
) -> None:
    """Find the tip of a tool, with its error."""
    from twin_nodes.app.offline import calibrate_pivot as run

    report = run(recording, device=device, reference=reference, robust=robust, output=output)
    print(report.text)
    raise typer.Exit(1 if report.stored.verdict == 'refuse' else 0)


@calibrate.command('spin')
def calibrate_spin(
    recording: Annotated[Path, typer.Argument(help='Recording in which the tool turns about its own shaft.')],
    tip: Annotated[Path | None, typer.Option(help='Result of `twin calibrate pivot` for the same tool.')] = None,
    device: Annotated[str, typer.Option(help='The tool; may be left out when there is only one.')] = '',
    reference: Annotated[str, typer.Option(help='Device in whose frame the shaft rests; else the tracker.')] = '',
    robust: Annotated[bool, typer.Option('--robust/--least-squares', help='Leave out and name outliers.')] = True,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')] = None,
) -> None:
    """Find the axis of a tool, and with its tip the whole frame of the tip, with its error."""
    from twin_nodes.app.offline_spin import calibrate_spin as run
    from twin_nodes.io.results import read_result

    known = read_result(tip, kind='tool_tip', usable=True) if tip is not None else None
    report = run(recording, tip=known, device=device, reference=reference, robust=robust, output=output)
    print(report.text)
    raise typer.Exit(1 if report.result.verdict == 'refuse' else 0)


Member = Annotated[str, typer.Option(help='Table within a zip archive: its name, or a pattern.')]
Device = Annotated[str, typer.Option(help='Tool in a tracker recording; else a table of poses is read.')]
MaxOffset = Annotated[float, typer.Option(min=0.0, help='Largest offset looked for [s]; 0 for any.')]


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
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')] = None,
    target_output: Annotated[Path | None, typer.Option(help='Result file for the base and the target.')] = None,
) -> None:
    """Find where a camera or marker sits on a hand, with its error and the offset of the clocks."""
    from twin_nodes.app.offline_hand_eye import calibrate_hand_eye as run
    from twin_nodes.app.offline_hand_eye import open_stream

    report = run(
        open_stream(hand, member=hand_member, device=hand_device),
        open_stream(eye, member=eye_member, device=eye_device, invert=invert_eye),
        offset=None if offset_ms is None else offset_ms * 1e-3,
        max_offset=max_offset,
        frames=(hand_frame, eye_frame),
        output=output,
        target_output=target_output,
    )
    print(report.text)
    raise typer.Exit(1 if report.stored.verdict == 'refuse' else 0)


@calibrate.command('time')
def calibrate_time(
    first: Annotated[Path, typer.Argument(help='Poses whose clock counts: t,x,y,z,qx,qy,qz,qw, TUM, zip, recording.')],
    second: Annotated[Path, typer.Argument(help='Poses of the same rigid body by another device.')],
    first_member: Member = '',
    second_member: Member = '',
    first_device: Device = '',
    second_device: Device = '',
    max_offset: MaxOffset = 0.0,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')] = None,
) -> None:
    """Find the offset between the clocks of two devices from the motion that both saw."""
    from twin_nodes.app.offline_hand_eye import calibrate_time as run
    from twin_nodes.app.offline_hand_eye import open_stream

    report = run(
        open_stream(first, member=first_member, device=first_device),
        open_stream(second, member=second_member, device=second_device),
        max_offset=max_offset,
        output=output,
    )
    print(report.text)
    raise typer.Exit(1 if report.stored.verdict == 'refuse' else 0)


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
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')] = None,
) -> None:
    """Find the field that corrects an electromagnetic tracker near metal, with its held-out residual."""
    from twin_nodes.app.offline_distortion import calibrate_distortion as run
    from twin_nodes.app.offline_hand_eye import open_stream
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
    print(report.text)
    raise typer.Exit(1 if report.stored.verdict == 'refuse' else 0)


@register.command('points')
def register_points(
    recording: Annotated[Path, typer.Argument(help='Recording in which a stylus touches the landmarks.')],
    plus_config: Annotated[Path | None, typer.Option(help='PLUS configuration; found near it when left out.')] = None,
    tip: Annotated[Path | None, typer.Option(help='Calibration of the stylus; else that of the configuration.')] = None,
    tolerance_mm: Annotated[float, typer.Option(min=0.01, help='How far a landmark may lie from its place.')] = 3.0,
    targets: Annotated[Path | None, typer.Option(help='Landmark file of points whose expected error is told.')] = None,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')] = None,
) -> None:
    """Find the landmarks that were touched and register to them."""
    from twin_nodes.app.offline import register_landmarks as run
    from twin_nodes.io.results import read_result

    known = read_result(tip, kind='tool_tip', usable=True) if tip is not None else None
    report = run(recording, plus_config, tip=known, tolerance=tolerance_mm * 1e-3, targets=targets, output=output)
    print(report.text)
    raise typer.Exit(1 if report.stored.verdict == 'refuse' else 0)


cli_camera.add_to(calibrate)
cli_force.add_to(calibrate)
cli_material.add_to(calibrate)
cli_stiffness.add_to(calibrate)


@register.command('surface')
def register_surface(
    points: Annotated[Path, typer.Argument(help='Points (PLY, CSV, XYZ, VTP, NPY), or a recording of a stylus.')],
    surface: Annotated[Path, typer.Option(help='Closed mesh (PLY, STL, OBJ, VTK, VTP) or label volume.')],
    start: Annotated[Path | None, typer.Option(help='Registration to start from; all poses are tried else.')] = None,
    landmarks: Annotated[Path | None, typer.Option(help='Landmarks in the anatomy, which start and hold it.')] = None,
    touched: Annotated[Path | None, typer.Option(help='Where they were touched; found in a recording else.')] = None,
    tip: Annotated[Path | None, typer.Option(help='Calibration of the stylus, for a recording.')] = None,
    plus_config: Annotated[Path | None, typer.Option(help='PLUS configuration; found near it when left out.')] = None,
    device: Device = '',
    reference: Annotated[str, typer.Option(help='Body on the patient in the recording.')] = '',
    begin: Annotated[float, typer.Option('--from', min=0.0, help='Where the sweep begins [s].')] = 0.0,
    end: Annotated[float, typer.Option('--to', min=0.0, help='Where it ends [s]; 0 for the end.')] = 0.0,
    unit: Annotated[str, typer.Option(help="Unit of the points, 'm' or 'mm'; recognised when left out.")] = '',
    surface_unit: Annotated[str, typer.Option(help="Unit of the mesh, 'm' or 'mm'; recognised when left out.")] = '',
    label: Annotated[int, typer.Option(min=0, help='Label of the structure in a volume.')] = 0,
    smooth: Annotated[bool, typer.Option('--smooth', help='The true surface is round between the vertices.')] = False,
    surface_sigma_mm: Annotated[float | None, typer.Option(min=0.0, help='Error of the surface as a whole.')] = None,
    targets: Annotated[Path | None, typer.Option(help='Landmark file of points whose expected error is told.')] = None,
    field: Annotated[Path | None, typer.Option(help='PLY to write: expected error over the surface.')] = None,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')] = None,
    patient: Annotated[str, typer.Option(help='Name of the frame of the points.')] = 'patient',
    anatomy: Annotated[str, typer.Option(help='Name of the frame of the surface.')] = 'anatomy',
    json: Annotated[bool, typer.Option('--json', help='One JSON object per line, for machines.')] = False,
) -> None:
    """Register points swabbed over a surface, with its error, free motions and a verdict."""
    from twin_nodes.app.figures import print_figures
    from twin_nodes.app.offline_surface import register_surface_files as run
    from twin_nodes.core.errors import ConfigError
    from twin_nodes.core.registration.combined import SwabConfig
    from twin_nodes.core.registration.surface import SurfaceConfig
    from twin_nodes.core.registration.surface_refine import RefineConfig

    for name, value in (('--unit', unit), ('--surface-unit', surface_unit)):
        if value not in ('', 'm', 'mm'):
            raise ConfigError(f"{name} {value!r}: expected 'm' or 'mm'")
    limits = SurfaceConfig() if surface_sigma_mm is None else SurfaceConfig(surface_sigma=surface_sigma_mm * 1e-3)
    config = SwabConfig(surface=limits, refine=RefineConfig(smooth=smooth))
    report = run(
        points,
        surface,
        unit=unit,
        surface_unit=surface_unit,
        label=label,
        start=start,
        landmarks=landmarks,
        touched=touched,
        tip=tip,
        plus_config=plus_config,
        device=device,
        reference=reference,
        between=(begin, end or float('inf')),
        targets=targets,
        field=field,
        output=output,
        frames=(patient, anatomy),
        config=config,
    )
    if json:
        print_figures(report.figures, as_json=True)
    else:
        print(report.text)
    raise typer.Exit(1 if report.stored.verdict == 'refuse' else 0)


@register.command('sphere')
def register_sphere(
    points: Annotated[Path, typer.Argument(help='Points on a fiducial sphere: PLY, CSV, XYZ, VTP, NPY.')],
    unit: Annotated[str, typer.Option(help="Unit of the points, 'm' or 'mm'; recognised when left out.")] = '',
    radius_mm: Annotated[float | None, typer.Option(min=0.01, help='Known radius; fitted when left out.')] = None,
    json: Annotated[bool, typer.Option('--json', help='One JSON object per line, for machines.')] = False,
) -> None:
    """Find the centre of a fiducial sphere, with its error."""
    from twin_nodes.app.figures import print_figures
    from twin_nodes.app.offline_sphere import sphere_of

    report = sphere_of(points, unit=unit, radius_mm=radius_mm)
    if json:
        print_figures(report.figures, as_json=True)
    else:
        print(report.text)


@register.command('robot')
def register_robot(
    bag: Annotated[Path, typer.Argument(help='Bag with the joints of the arm and the poses of a body on its tip.')],
    arm: Annotated[str, typer.Option(help='Name of the arm, such as PSM1.')],
    topic: Annotated[str, typer.Option(help='Poses of the body in tracker or camera, such as marker/measured_cp.')],
    model: Annotated[str, typer.Option(help='Published model, or a URDF or xacro file.')] = 'psm_classic',
    tip: Annotated[str, typer.Option(help='Link that the body is fixed to; else the tip of the model.')] = '',
    joints: Annotated[str, typer.Option(help='Topic of the joint states; else <arm>/measured_js.')] = '',
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Result file to write.')] = None,
) -> None:
    """Find where the base of an arm stands in a tracker or camera, and which joints are off."""
    from twin_nodes.app.offline_robot import register_robot as run

    report = run(bag, arm=arm, topic=topic, model=model, tip=tip, joints_topic=joints, output=output)
    print(report.text)
    raise typer.Exit(1 if report.stored.verdict == 'refuse' else 0)


@register.command('check')
def register_check(
    registration: Annotated[Path, typer.Argument(help='Stored registration.')],
    swabs: Annotated[list[Path] | None, typer.Argument(help='Points or recordings of the surface, made since.')] = None,
    surface: Annotated[Path | None, typer.Option(help='The surface that was swabbed.')] = None,
    landmarks: Annotated[Path | None, typer.Option(help='Landmarks in the anatomy.')] = None,
    touched: Annotated[list[Path] | None, typer.Option(help='Where they are now; may be repeated.')] = None,
    tip: Annotated[Path | None, typer.Option(help='Calibration of the stylus, for a recording.')] = None,
    unit: Annotated[str, typer.Option(help="Unit of the points, 'm' or 'mm'; recognised when left out.")] = '',
    surface_unit: Annotated[str, typer.Option(help="Unit of the mesh, 'm' or 'mm'; recognised when left out.")] = '',
    label: Annotated[int, typer.Option(min=0, help='Label of the structure in a volume.')] = 0,
    json: Annotated[bool, typer.Option('--json', help='One JSON object per line, for machines.')] = False,
) -> None:
    """Say whether a registration still holds, from landmarks touched again and new swabs."""
    from twin_nodes.app.figures import print_figures
    from twin_nodes.app.offline_check import check_registration
    from twin_nodes.core.registration.drift import DriftState

    report = check_registration(
        registration,
        tuple(swabs or ()),
        surface_file=surface,
        landmarks=landmarks,
        touched=tuple(touched or ()),
        tip=tip,
        unit=unit,
        surface_unit=surface_unit,
        label=label,
    )
    if json:
        print_figures(report.figures, as_json=True)
    else:
        print(report.text)
    raise typer.Exit(1 if report.state is DriftState.DRIFTED else 0)
