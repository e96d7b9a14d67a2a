"""`twin calibrate camera`, `stereo` and `scope`: doors to camera calibration from files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twin_nodes.app.cli_shared import Json

if TYPE_CHECKING:
    from twin_nodes.app.offline_views import ViewSource

Columns = Annotated[int, typer.Option(min=0, help='Inner corners in a row; squares for ChArUco. Images need it.')]
Rows = Annotated[int, typer.Option(min=0, help='Inner corners in a column; squares for ChArUco.')]
SquareMm = Annotated[float, typer.Option(min=0.0, help='Side of a square [mm].')]
MarkerMm = Annotated[float, typer.Option(min=0.0, help='Side of a ChArUco marker [mm]; 0 for a chessboard.')]
Dictionary = Annotated[str, typer.Option(help='ArUco dictionary of a ChArUco board.')]
Legacy = Annotated[bool, typer.Option('--legacy', help='ChArUco board as printed by OpenCV before 4.6.')]
ObjectPoints = Annotated[Path | None, typer.Option(help='Board points x y z for corner files.')]
Names = Annotated[Path | None, typer.Option(help='YAML that says how corner files are named.')]
Unit = Annotated[str, typer.Option(help='Unit of text files: mm, cm or m.')]
Size = Annotated[str, typer.Option(help='Size of the images, such as 1920x1080, where files do not say it.')]
Model = Annotated[str, typer.Option(help='plumb_bob, rational_polynomial or equidistant.')]
Radial = Annotated[int, typer.Option(min=0, max=3, help='Radial coefficients of plumb_bob.')]
Most = Annotated[int, typer.Option(min=1, help='Pictures of a video that are looked at.')]


def add_to(calibrate: typer.Typer) -> None:
    """Add the commands to `twin calibrate`."""
    for name, command in (('camera', camera), ('stereo', stereo), ('scope', scope)):
        calibrate.command(name)(command)


def camera(
    source: Annotated[Path, typer.Argument(help='Folder of images or corner files, an image, or a video.')],
    side: Annotated[str, typer.Option(help='left or right, where the source holds both.')] = '',
    columns: Columns = 0,
    rows: Rows = 0,
    square_mm: SquareMm = 0.0,
    marker_mm: MarkerMm = 0.0,
    dictionary: Dictionary = 'DICT_4X4_250',
    legacy: Legacy = False,
    object_points: ObjectPoints = None,
    names: Names = None,
    unit: Unit = 'mm',
    size: Size = '',
    model: Model = 'plumb_bob',
    radial: Radial = 3,
    most: Most = 60,
    name: Annotated[str, typer.Option(help='Name of the camera in the file.')] = '',
    json: Json = False,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Camera YAML of ROS to write.')] = None,
) -> None:
    """Find the intrinsics of a camera from a chessboard or ChArUco board, with their error."""
    from twin_nodes.app.offline_camera import calibrate_camera_files
    from twin_nodes.core.calibration.camera_intrinsics import CameraConfig
    from twin_nodes.core.config import build_config

    how = _source(columns, rows, square_mm, marker_mm, dictionary, legacy, object_points, names, unit, size, most)
    config = build_config(CameraConfig, {'model': model, 'radial': radial}, source='twin calibrate camera')
    report = calibrate_camera_files(source, how, config, side=side, name=name, output=output)
    _show(report.text, report.figures, json)
    raise typer.Exit(1 if report.result.verdict == 'refuse' else 0)


def stereo(
    left: Annotated[Path, typer.Argument(help='Images or corner files of the left camera, or a folder of both.')],
    right: Annotated[Path | None, typer.Argument(help='Those of the right camera.')] = None,
    columns: Columns = 0,
    rows: Rows = 0,
    square_mm: SquareMm = 0.0,
    marker_mm: MarkerMm = 0.0,
    dictionary: Dictionary = 'DICT_4X4_250',
    legacy: Legacy = False,
    object_points: ObjectPoints = None,
    names: Names = None,
    unit: Unit = 'mm',
    size: Size = '',
    model: Model = 'plumb_bob',
    radial: Radial = 3,
    most: Most = 60,
    refine: Annotated[bool, typer.Option('--refine/--hold', help='Refine the intrinsics with the pair.')] = True,
    left_camera: Annotated[Path | None, typer.Option(help='Known left camera, held.')] = None,
    right_camera: Annotated[Path | None, typer.Option(help='Known right camera, held.')] = None,
    json: Json = False,
    output: Annotated[
        Path | None, typer.Option('--output', '--out', '-o', help='Folder for left.yaml, right.yaml.')
    ] = None,
) -> None:
    """Find both cameras of a stereo pair, where they stand to one another, and their rectification."""
    from twin_nodes.app.offline_camera import calibrate_stereo_files
    from twin_nodes.core.calibration.stereo_pair import StereoConfig
    from twin_nodes.core.config import build_config
    from twin_nodes.core.errors import ConfigError
    from twin_nodes.io.camera_info import read_camera_info

    how = _source(columns, rows, square_mm, marker_mm, dictionary, legacy, object_points, names, unit, size, most)
    if (left_camera is None) != (right_camera is None):
        raise ConfigError('give both --left-camera and --right-camera, or neither')
    cameras = None
    if left_camera is not None and right_camera is not None:
        same = left_camera == right_camera  # a pair in one file
        cameras = (
            read_camera_info(left_camera, size=how.size, side='left' if same else ''),
            read_camera_info(right_camera, size=how.size, side='right' if same else ''),
        )
    values = {'camera.model': model, 'camera.radial': radial, 'refine': refine}
    config = build_config(StereoConfig, values, source='twin calibrate stereo')
    report = calibrate_stereo_files(left, right, how, config, cameras=cameras, output=output)
    _show(report.text, report.figures, json)
    raise typer.Exit(1 if report.result.verdict == 'refuse' else 0)


def scope(
    folder: Annotated[Path, typer.Argument(help='Folder of corners and poses of a tracked camera.')],
    left_camera: Annotated[Path | None, typer.Option(help='Calibration of the left, or only, camera.')] = None,
    right_camera: Annotated[Path | None, typer.Option(help='Calibration of the right camera.')] = None,
    pattern: Annotated[
        Path | None, typer.Option(help='Known pattern in its marker, 4×4; else from the folder.')
    ] = None,
    pattern_sigma_mm: Annotated[float, typer.Option(min=1e-6, help='How well that is known [mm].')] = 2.0,
    pattern_sigma_deg: Annotated[float, typer.Option(min=1e-6, help='How well its turn is known [°].')] = 2.0,
    free_pattern: Annotated[
        bool, typer.Option('--free-pattern', help='Find the pattern from the pictures alone.')
    ] = False,
    pixels_only: Annotated[bool, typer.Option('--pixels-only', help='As if the tracker had no noise.')] = False,
    tracker_sigma_mm: Annotated[float, typer.Option(min=1e-4, help='Noise of a tracked marker [mm].')] = 0.1,
    tracker_sigma_deg: Annotated[float, typer.Option(min=1e-5, help='Noise of its turn [°].')] = 0.03,
    object_points: ObjectPoints = None,
    names: Names = None,
    unit: Unit = 'mm',
    size: Size = '',
    json: Json = False,
    output: Annotated[Path | None, typer.Option('--output', '--out', '-o', help='Folder for the results.')] = None,
) -> None:
    """Find where the camera sits on its tracked marker, and test the whole chain on pictures left out."""
    from math import radians

    from twin_nodes.app.offline_scope import calibrate_scope_files
    from twin_nodes.core.calibration.scope_calibration import ScopeConfig
    from twin_nodes.core.errors import ConfigError

    if right_camera is not None and left_camera is None:
        raise ConfigError('--right-camera needs --left-camera too')
    how = _source(0, 0, 0.0, 0.0, '', False, object_points, names, unit, size, 0)
    config = ScopeConfig(
        position_sigma=tracker_sigma_mm * 1e-3, rotation_sigma=radians(tracker_sigma_deg), pixels_only=pixels_only
    )
    report = calibrate_scope_files(
        folder,
        how,
        config,
        camera_files=[path for path in (left_camera, right_camera) if path is not None],
        pattern_file=pattern,
        pattern_sigma=None if free_pattern else (pattern_sigma_mm * 1e-3, radians(pattern_sigma_deg)),
        output=output,
    )
    _show(report.text, report.figures, json)
    raise typer.Exit(1 if report.result.verdict == 'refuse' else 0)


def _source(
    columns: int, rows: int, square_mm: float, marker_mm: float, dictionary: str, legacy: bool,
    object_points: Path | None, names: Path | None, unit: str, size: str, most: int,
) -> 'ViewSource':  # fmt: skip
    from twin_nodes.app.offline_views import ViewSource, read_names, read_size
    from twin_nodes.core.calibration.camera_board import BoardConfig
    from twin_nodes.core.config import build_config
    from twin_nodes.core.errors import ConfigError

    units = {'mm': 1e-3, 'cm': 1e-2, 'm': 1.0}
    if unit not in units:
        raise ConfigError(f'unit={unit!r} is none of {", ".join(units)}')
    board = None
    if columns or rows or square_mm:
        if not (columns and rows and square_mm):
            raise ConfigError('a board in images needs --columns, --rows and --square-mm')
        values = {'columns': columns, 'rows': rows, 'square': square_mm * 1e-3, 'legacy': legacy}
        if marker_mm:
            values |= {'kind': 'charuco', 'marker': marker_mm * 1e-3, 'dictionary': dictionary}
        board = build_config(BoardConfig, values, source='board')
    return ViewSource(board, object_points, read_names(names), units[unit], read_size(size), most)


def _show(text: str, figures: object, json: bool) -> None:
    if not json:
        print(text)
        return
    from twin_nodes.app.figures import print_figures

    print_figures(figures, as_json=True)  # type: ignore[arg-type]
