"""`twin register robot`: where the base of an arm stands, from a bag with its joints and the poses of a body on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin_nodes.app.bag_joints import joints_of
from twin_nodes.app.bag_poses import poses_of
from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array, check_quaternion, make_transform, rotation_from_quat
from twin_nodes.core.robot.base_pairing import pair_joints
from twin_nodes.core.robot.base_registration import BaseRegistration, register_base
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.io.bags.reader import BagReader, files_of
from twin_nodes.io.base_ties import stored_base
from twin_nodes.io.results import StoredResult, utc_date, write_result
from twin_nodes.io.urdf import open_robot

JOINTS = 'sensor_msgs/msg/JointState'
POSES = (
    'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped',
    'geometry_msgs/msg/TransformStamped',
)
MAX_SAMPLES = 4000


@dataclass(frozen=True, eq=False)
class RobotReport:
    """What was found, as a result to store and as text."""

    stored: StoredResult
    result: BaseRegistration
    text: str


def register_robot(
    bag: Path,
    *,
    arm: str,
    topic: str,
    model: str = 'psm_classic',
    tip: str = '',
    joints_topic: str = '',
    output: Path | None = None,
) -> RobotReport:
    """Find where the base of an arm stands in the frame of a tracker or camera.

    Args:
        bag: The bag.
        arm: Name of the arm.
        topic: Poses of a body fixed to the tip link, in the tracker or camera: of a marker, or measured_cp as a camera
            sees it.
        model: A published model, or a URDF or xacro file.
        tip: Link that the body is fixed to; that of the model by default.
        joints_topic: Joint states; <arm>/measured_js by default.
        output: Where the result is written.

    Raises:
        InputError: A topic that is not there or of another type, or streams that do not overlap.
        DegenerateGeometryError: Too little motion.
    """
    chain = SerialChain(open_robot(model), tip=tip)
    joints_topic = joints_topic or f'{arm}/measured_js'
    with BagReader(bag) as reader:
        topics = {name: topic.type_name for name, topic in reader.topics.items()}
        joints_name = _topic(topics, joints_topic, (JOINTS,), bag)
        poses_name = _topic(topics, topic, POSES, bag)
        joints = joints_of(reader, joints_name, chain, arm)
        pose_stamps, poses, frame = _poses(reader, poses_name)
    q, seen = pair_joints(joints.stamps_ns, joints.positions, pose_stamps, poses, most=MAX_SAMPLES)
    result = register_base(chain, q, seen)
    stored = stored_base(result, arm, frame or 'tracker', date=utc_date(), data_sha256=_digest(bag), data_file=bag.name)
    if output is not None:
        write_result(output, stored)
    return RobotReport(stored, result, _text(result, arm, frame, joints.dropped, output))


def _topic(topics: dict[str, str], wanted: str, kinds: tuple[str, ...], bag: Path) -> str:
    for name in (wanted, f'/{wanted.lstrip("/")}'):
        if name in topics:
            if topics[name] not in kinds:
                raise InputError(f'{bag}: {name} carries {topics[name]}, expected {" or ".join(kinds)}')
            return name
    raise InputError(f'{bag}: no topic {wanted!r}{nearest(wanted, topics)}; it has {", ".join(sorted(topics))}')


def _poses(reader: BagReader, topic: str) -> tuple[Array, Array, str]:
    """Return the poses of a topic in the order of their stamps, and their frame."""
    found: dict[int, Array] = {}
    frames = set()
    for stamp_ns, frame, pose in _each_pose(reader, topic):
        found[stamp_ns] = pose
        frames.add(frame)
    if len(frames) > 1:
        raise InputError(f'{topic}: poses in several frames: {", ".join(sorted(frames))}', code='FRAME_MISMATCH')
    if not found:
        raise InputError(f'{topic}: no good pose')
    stamps = np.array(sorted(found))
    return stamps, np.array([found[stamp] for stamp in stamps]), frames.pop()


def _each_pose(reader: BagReader, topic: str) -> Iterator[tuple[int, str, Array]]:
    for message in reader.messages(topics=(topic,)):
        (told,) = poses_of(topic, message.type_name, reader.decode(message))
        place, turn, stamp_ns = told.position, told.orientation, told.stamp_ns
        xyz = (place.x, place.y, place.z)
        if stamp_ns <= 0 or not np.isfinite(xyz).all():
            continue
        try:
            quat = check_quaternion((turn.x, turn.y, turn.z, turn.w))
        except InputError:
            continue
        yield stamp_ns, told.frame, make_transform(rotation_from_quat(quat), xyz)


def _digest(bag: Path) -> str:
    """Return the fingerprint of the bag."""
    digest = hashlib.sha256()
    for path in files_of(bag):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _text(result: BaseRegistration, arm: str, frame: str, dropped: int, output: Path | None) -> str:
    x, y, z = (1e3 * result.reference_T_base[:3, 3]).tolist()
    sigma = float(np.sqrt(np.trace(result.covariance[:3, :3])))
    lines = [
        f'{arm}_base in {frame or "the tracker"}: ({x:.2f}, {y:.2f}, {z:.2f}) mm, σ {sigma * 1e3:.2f} mm, from '
        f'{result.samples} samples{f", {dropped} joint states left out" if dropped else ""}',
        f'residual {result.position_rms * 1e3:.2f} mm, {np.degrees(result.rotation_rms):.2f}° RMS'
        + (f' ({result.position_rms_before * 1e3:.2f} mm without joint offsets)' if result.offsets else ''),
        *result.reasons,
    ]
    if result.unseen:
        lines.append(f'an offset of {", ".join(result.unseen)} cannot be told from a move of base or marker')
    lines.append(f'verdict: {result.verdict}')
    if output is not None:
        lines.append(f'written to {output}: give it to robot_node as base_files')
    return '\n'.join(lines)
