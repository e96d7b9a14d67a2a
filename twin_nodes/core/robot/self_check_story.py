"""What the self-check found, in words."""

from __future__ import annotations

import numpy as np

from twin_nodes.core.geometry.se3 import Array, inverse, rotation_log
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.model import RobotModel
from twin_nodes.core.robot.published import KNOWN_DIFFERENCES
from twin_nodes.core.robot.self_check import Cause, CheckState

SAME_LENGTH, SAME_ANGLE = 0.0004, 0.02


class OffsetNames:
    """Names offsets of one arm: points of the model that the robot may mean, and joints by number and name.

    Args:
        model: The robot.
        chain: The chain to the tip that it is said to report.
    """

    def __init__(self, model: RobotModel, chain: SerialChain) -> None:
        self._chain = chain
        self._points = rigid_links(model, chain.tip)

    def state(self, state: CheckState) -> str:
        """Say what a state means, in one line."""
        if not state.enough:
            return f'{state.blocks} blocks of samples so far'
        if not state.causes:
            rms = f'{state.position_rms * 1e3:.2f} mm, {np.degrees(state.rotation_rms):.2f}° RMS'
            if state.unexplained:
                return (
                    f'measured_cp is not where measured_js puts it: {rms}, for no cause found so far; move all joints'
                )
            return f'measured_cp is where measured_js puts it: {rms}'
        parts = ' and '.join(self.cause(cause) for cause in state.causes)
        rivals = ', '.join(self._kind(kind, joint) for kind, joint in state.rivals)
        rest = f'; {rivals} would explain it as well: move more joints to tell' if rivals else ''
        return parts + rest + ('; a good part is left unexplained' if state.unexplained else '')

    def cause(self, cause: Cause) -> str:
        """Say what one cause is."""
        if cause.kind == 'joint':
            return self._joint(cause)
        if cause.kind == 'base':
            length, angle = np.linalg.norm(cause.values[:3]), np.linalg.norm(cause.values[3:])
            return f'the base looks moved by {length * 1e3:.1f} mm and turned by {np.degrees(angle):.1f}°'
        shift = cause.values[:3] if cause.kind != 'tip_axes' else np.zeros(3)
        turn = cause.values[-3:] if cause.kind != 'tip' else np.zeros(3)
        return self._tip(shift, turn)

    def _joint(self, cause: Cause) -> str:
        value = float(cause.values[0])
        prismatic = bool(self._chain.is_prismatic[cause.joint])
        size = f'{abs(value) * 1e3:.1f} mm' if prismatic else f'{abs(np.degrees(value)):.1f}°'
        way = 'too little' if value > 0.0 else 'too much'
        known = [name for name, length in KNOWN_DIFFERENCES.items() if abs(abs(value) - length) < SAME_LENGTH]
        hint = f', {known[0]}' if prismatic and known else ''
        return f'joint {cause.joint + 1} ({self._chain.names[cause.joint]}) looks off by {size} (reads {way}){hint}'

    def _tip(self, shift: Array, turn: Array) -> str:
        length, angle = float(np.linalg.norm(shift)), float(np.linalg.norm(turn))
        for link, (name, pose) in self._points.items():
            apart = float(np.linalg.norm(pose[:3, 3] - shift))
            turned = float(np.linalg.norm(rotation_log(pose[:3, :3]) - turn))
            if apart < SAME_LENGTH and turned < SAME_ANGLE:
                what = f'exactly the {np.linalg.norm(pose[:3, 3]) * 1e3:.1f} mm {name} offset'
                return f'measured_cp is off by {what}: the robot reports {link!r}, set tips: [{link!r}]'
        moved = f'{length * 1e3:.1f} mm from the tip at {_vector(shift)} mm in its axes' if length > 1e-5 else ''
        turned_by = f'turned by {np.degrees(angle):.1f}° against its axes' if angle > 1e-4 else ''
        return 'measured_cp lies ' + ' and '.join(filter(None, (moved, turned_by)))

    def _kind(self, kind: str, joint: int) -> str:
        if kind == 'joint':
            return f'joint {joint + 1} ({self._chain.names[joint]})'
        return {'tip': 'the tip', 'tip_axes': "the tip's axes", 'tip_pose': "the tip's pose", 'base': 'the base'}[kind]


def rigid_links(model: RobotModel, tip: str) -> dict[str, tuple[str, Array]]:
    """Return the links fixed to the tip: the name of the joint between in words, and tip_T_link (4, 4)."""
    found: dict[str, tuple[str, Array]] = {}
    waiting = [(tip, np.eye(4))]
    seen = {tip}
    while waiting:
        link, tip_T_link = waiting.pop(0)
        for joint in model.joints:
            if joint.kind != 'fixed' or link not in (joint.parent, joint.child):
                continue
            outward = joint.parent == link
            other = joint.child if outward else joint.parent
            if other in seen:
                continue
            step = joint.parent_T_joint if outward else inverse(joint.parent_T_joint)
            pose = np.asarray(tip_T_link @ step)
            seen.add(other)
            waiting.append((other, pose))
            if np.abs(pose - np.eye(4)).max() > 1e-6:
                found[other] = (joint.name.replace('_', '-'), pose)
    return found


def _vector(values: Array) -> str:
    return '(' + ', '.join(f'{value * 1e3:.1f}' for value in values) + ')'
