"""What `twin check` says of YAML: whose file it is, and whether its reader takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twin_nodes.app.check_anatomy import inspect_recipe, is_recipe
from twin_nodes.app.check_parameters import inspect_parameters
from twin_nodes.app.check_recordings import inspect_bag, inspect_recording
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.yaml_text import key_lines, parse_yaml
from twin_nodes.io.recordings.ros_echo import is_echo
from twin_nodes.io.whole_files import read_text_whole

MAX_YAML_BYTES = 16 << 20
RESULT_KEYS = {'format', 'kind', 'parent_frame', 'child_frame'}
CAMERA_KEYS = ('camera_matrix', 'distortion_model', 'intrinsics')
LINK_KEYS = {'both', 'forward', 'backward'}


def inspect_yaml(file: Path) -> str:
    """Say what a YAML file is.

    Raises:
        TwinError: when it cannot be used.
    """
    text = read_text_whole(file, 'YAML file', most=MAX_YAML_BYTES)
    if text.startswith('%YAML:') or any(f'{key}:' in text for key in CAMERA_KEYS):
        return inspect_camera(file)
    if is_echo(text[:4096]):
        return inspect_recording(file)
    content = parse_yaml(text, str(file), most=MAX_YAML_BYTES)
    if not isinstance(content, dict):
        raise ConfigError(f'{file}: holds no map of keys')
    if any(isinstance(section, dict) and 'ros__parameters' in section for section in content.values()):
        return inspect_parameters(file, content, key_lines(text))
    if 'rosbag2_bagfile_information' in content:
        return inspect_bag(file.parent)
    by_kind = {
        'time_offset': _offset,
        'distortion': _distortion,
        'material': _material,
        'force_profile': _force_profile,
        'stiffness': _stiffness,
    }
    kind = str(content.get('kind'))
    if kind in by_kind:
        return by_kind[kind](file)
    if is_recipe(content):
        return inspect_recipe(file)
    if 'bodies' in content and 'unit' in content:
        return _bodies(file)
    if 'landmarks' in content:
        return _landmarks(file)
    if LINK_KEYS & set(content):
        return _link(file)
    return _result(file, content)


def inspect_camera(file: Path) -> str:
    """Say what a camera is that a file of any tool holds."""
    from twin_nodes.io.camera_info import read_camera_info

    try:
        camera = read_camera_info(file)
    except ConfigError as error:
        if '--size' not in str(error):
            raise
        return f'camera, good, but it {str(error).removeprefix(f"{file} ")}'
    base = f', baseline {camera.baseline * 1e3:.2f} mm' if camera.baseline else ''
    name = f'camera {camera.name}' if camera.name else 'camera'
    return (
        f'{name}, good: {camera.width}x{camera.height} px, {camera.model}, focal length '
        f'{camera.focal[0]:.1f} {camera.focal[1]:.1f} px{base}'
    )


def _distortion(file: Path) -> str:
    from twin_nodes.io.distortion_fields import read_distortion

    stored = read_distortion(file)
    return (
        f'distortion field, {stored.verdict}: {stored.field.basis.name}, '
        f'{stored.errors.get("raw_m", 0.0) * 1e3:.2f} mm before, {stored.errors.get("held_out_m", 0.0) * 1e3:.2f} mm '
        f'after (held out), {stored.date}'
    )


def _offset(file: Path) -> str:
    from twin_nodes.io.time_offsets import read_offset

    offset = read_offset(file)
    return (
        f'time offset, {offset.verdict}: {offset.offset_ns * 1e-6:.3f} ms ± {offset.sigma_s * 1e3:.3f}, added to the '
        f'stamps of {offset.second} for the clock of {offset.first}, {offset.date}'
    )


def _bodies(file: Path) -> str:
    from twin_nodes.io.marker_bodies import read_marker_bodies

    bodies = read_marker_bodies(file)
    listed = ', '.join(
        f'{body.name} (ChArUco {body.board.columns}x{body.board.rows})'
        if body.board is not None
        else f'{body.name} ({len(body.tags)} tags)'
        for body in bodies
    )
    return f'marker bodies, good: {listed}'


def _material(file: Path) -> str:
    from twin_nodes.io.material_results import read_material

    stored = read_material(file)
    return (
        f'material {stored.material}, {stored.verdict}: {stored.law}, shear modulus {stored.shear_pa:.0f} Pa '
        f'({stored.shear_low_pa:.0f} … {stored.shear_high_pa:.0f}), {stored.date}'
    )


def _force_profile(file: Path) -> str:
    from twin_nodes.io.force_profiles import read_force_profile

    profile = read_force_profile(file)
    return (
        f'force profile, good: to {profile.depths[-1] * 1e3:.1f} mm at up to {profile.speeds[-1] * 1e3:.1f} mm/s, '
        f'{profile.entering.max():.2f} N ± {profile.sigma:.2f}'
    )


def _stiffness(file: Path) -> str:
    from twin_nodes.io.stiffness_results import read_stiffness

    stored = read_stiffness(file)
    factors = ', '.join(f'{name} {factor:.3g}' for name, factor in stored.factors.items()) or 'nothing was learned'
    kind = 'absolute' if stored.is_absolute else 'ratios only'
    return f'stiffness of the case {stored.case}, good ({kind}): {factors}'


def _link(file: Path) -> str:
    from twin_nodes.io.link_scenarios import load_scenario

    config = load_scenario(str(file)).config
    return f'link scenario {config.name}, good: {config.title}; type `twin link relay {file}`'


def _landmarks(file: Path) -> str:
    from twin_nodes.io.landmarks import read_landmarks

    names, _ = read_landmarks(file)
    return f'landmarks, good: {", ".join(names)}'


def _result(file: Path, content: dict[Any, Any]) -> str:
    """Recognise a calibration or registration result."""
    if not set(content) >= RESULT_KEYS:
        keys = ', '.join(str(key) for key in list(content)[:8])
        raise InputError(f'{file}: neither parameters (ros__parameters), landmarks nor a result; it holds {keys}')
    from twin_nodes.io.results import read_result

    result = read_result(file)
    tool = f' of {result.tool}' if result.tool else ''
    return (
        f'result ({result.kind}{tool}), {result.verdict}: {result.parent_frame} → {result.child_frame}, {result.date}'
    )
