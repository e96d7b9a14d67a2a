"""`twin register`: doors to registration from recordings, points and bags."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app.cli_shared import Device, Json, Output, end

register = typer.Typer(help='Register anatomy to patient from a recording.', no_args_is_help=True)


@register.callback()
def _register() -> None:
    """Register anatomy to patient from a recording."""


@register.command('points')
def register_points(
    recording: Annotated[Path, typer.Argument(help='Recording in which a stylus touches the landmarks.')],
    plus_config: Annotated[Path | None, typer.Option(help='PLUS configuration; found near it when left out.')] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help='Landmarks (YAML, Slicer markups, table) in place of PLUS; needs --tip.')
    ] = None,
    tip: Annotated[Path | None, typer.Option(help='Calibration of the stylus; else that of the configuration.')] = None,
    device: Device = '',
    reference: Annotated[str, typer.Option(help='Body on the patient in the recording.')] = '',
    tolerance_mm: Annotated[float, typer.Option(min=0.01, help='How far a landmark may lie from its place.')] = 3.0,
    targets: Annotated[Path | None, typer.Option(help='Landmark file of points whose expected error is told.')] = None,
    output: Output = None,
) -> None:
    """Find the landmarks that were touched and register to them."""
    from twin_nodes.app.offline_points import register_landmarks as run
    from twin_nodes.io.results import read_result

    known = read_result(tip, kind='tool_tip', usable=True) if tip is not None else None
    report = run(
        recording,
        plus_config,
        landmarks=landmarks,
        device=device,
        reference=reference,
        tip=known,
        tolerance=tolerance_mm * 1e-3,
        targets=targets,
        output=output,
    )
    end(report.text, report.stored.verdict)


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
    until: Annotated[float, typer.Option('--to', min=0.0, help='Where it ends [s]; 0 for the end.')] = 0.0,
    unit: Annotated[str, typer.Option(help="Unit of the points, 'm' or 'mm'; recognised when left out.")] = '',
    surface_unit: Annotated[str, typer.Option(help="Unit of the mesh, 'm' or 'mm'; recognised when left out.")] = '',
    label: Annotated[int, typer.Option(min=0, help='Label of the structure in a volume.')] = 0,
    smooth: Annotated[bool, typer.Option('--smooth', help='The true surface is round between the vertices.')] = False,
    surface_sigma_mm: Annotated[float | None, typer.Option(min=0.0, help='Error of the surface as a whole.')] = None,
    targets: Annotated[Path | None, typer.Option(help='Landmark file of points whose expected error is told.')] = None,
    field: Annotated[Path | None, typer.Option(help='PLY to write: expected error over the surface.')] = None,
    output: Output = None,
    patient: Annotated[str, typer.Option(help='Name of the frame of the points.')] = 'patient',
    anatomy: Annotated[str, typer.Option(help='Name of the frame of the surface.')] = 'anatomy',
    json: Json = False,
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
        between=(begin, until or float('inf')),
        targets=targets,
        field=field,
        output=output,
        frames=(patient, anatomy),
        config=config,
    )
    if json:
        print_figures(report.figures, as_json=True)
    else:
        end(report.text, report.stored.verdict)


@register.command('sphere')
def register_sphere(
    points: Annotated[Path, typer.Argument(help='Points on a fiducial sphere: PLY, CSV, XYZ, VTP, NPY.')],
    unit: Annotated[str, typer.Option(help="Unit of the points, 'm' or 'mm'; recognised when left out.")] = '',
    radius_mm: Annotated[float | None, typer.Option(min=0.01, help='Known radius; fitted when left out.')] = None,
    json: Json = False,
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
    output: Output = None,
) -> None:
    """Find where the base of an arm stands in a tracker or camera, and which joints are off."""
    from twin_nodes.app.offline_robot import register_robot as run

    report = run(bag, arm=arm, topic=topic, model=model, tip=tip, joints_topic=joints, output=output)
    end(report.text, report.stored.verdict)


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
    json: Json = False,
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
