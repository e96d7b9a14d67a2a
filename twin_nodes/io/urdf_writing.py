"""Robots as URDF text; `python -m twin_nodes.io.urdf_writing` writes the published ones into urdf/."""

import math
from pathlib import Path
from typing import Any

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.model import Joint, RobotModel, Shape
from twin_nodes.core.robot.published import MODELS, published_model
from twin_nodes.io.urdf import SHAPES


def write_robot(model: RobotModel) -> str:
    """Return the URDF text of a robot; it reads back as the same robot."""
    lines = ['<?xml version="1.0"?>', f'<robot name="{model.name}">']
    for link in model.links:
        shapes = [shape for shape in model.shapes if shape.link == link]
        lines += [f'  <link name="{link}">', *(_visual(shape) for shape in shapes), '  </link>'] if shapes else [
            f'  <link name="{link}"/>'
        ]  # fmt: skip
    for joint in model.joints:
        lines += _joint_lines(joint)
    return '\n'.join([*lines, '</robot>', ''])


def _joint_lines(joint: Joint) -> list[str]:
    endless = joint.kind == 'revolute' and not (math.isfinite(joint.lower) and math.isfinite(joint.upper))
    lines = [
        f'  <joint name="{joint.name}" type="{"continuous" if endless else joint.kind}">',
        f'    <parent link="{joint.parent}"/>',
        f'    <child link="{joint.child}"/>',
        f'    {_origin_text(joint.parent_T_joint)}',
    ]
    if joint.kind != 'fixed':
        lines.append(f'    <axis xyz="{_words(joint.axis)}"/>')
    if joint.kind != 'fixed' and not endless:
        lines.append(f'    <limit lower="{joint.lower!r}" upper="{joint.upper!r}" effort="0" velocity="0"/>')
    if joint.mimics:
        lines.append(f'    <mimic joint="{joint.mimics}" multiplier="{joint.ratio!r}" offset="{joint.offset!r}"/>')
    return [*lines, '  </joint>']


def _visual(shape: Shape) -> str:
    keys = SHAPES[shape.kind]
    values = [_words(shape.size)] if keys == ('size',) else [repr(float(value)) for value in shape.size]
    attributes = ' '.join(f'{key}="{value}"' for key, value in zip(keys, values, strict=True))
    return f'    <visual>{_origin_text(shape.link_T_shape)}<geometry><{shape.kind} {attributes}/></geometry></visual>'


def _origin_text(pose: Array) -> str:
    return f'<origin xyz="{_words(pose[:3, 3])}" rpy="{_words(rpy_from_rotation(pose[:3, :3]))}"/>'


def rpy_from_rotation(rotation: Array) -> tuple[float, float, float]:
    """Return roll, pitch, yaw of a rotation; at a pitch of ±π/2 the yaw is taken as 0."""
    r = rotation.tolist()
    flat = math.hypot(r[0][0], r[1][0])
    pitch = math.atan2(-r[2][0], flat)
    if flat < 1e-9:
        return math.atan2(-r[1][2], r[1][1]), pitch, 0.0
    return math.atan2(r[2][1], r[2][2]), pitch, math.atan2(r[1][0], r[0][0])


def _words(values: Any) -> str:
    return ' '.join(repr(round(float(value), 17) + 0.0) for value in values)


def write_published(folder: Path) -> None:
    """Write the URDF files of all published models."""
    for name in MODELS:
        (folder / f'{name}.urdf').write_text(write_robot(published_model(name)), encoding='utf-8')


if __name__ == '__main__':
    write_published(Path(__file__).resolve().parents[2] / 'urdf')
