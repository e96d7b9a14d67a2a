"""A robot as a tree of links and joints, with the reasons for which such a tree is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.config import nearest
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array

REFUSED = 'MODEL_REFUSED'
MAX_MOVING = 32  # of one chain
MAX_JOINTS = 500
KINDS = ('revolute', 'prismatic', 'fixed')


@dataclass(frozen=True, eq=False)
class Joint:
    """One joint.

    Args:
        name: Its name.
        kind: 'revolute', 'prismatic' or 'fixed'.
        parent: Link that it hangs on.
        child: Link that it moves.
        parent_T_joint: Pose of the joint, and of the child at position 0, in the parent [m], shape (4, 4).
        axis: Unit vector in the frame of the joint, shape (3,); z for a fixed one.
        lower: Least position [rad or m]; -inf for none.
        upper: Greatest position [rad or m]; inf for none.
        mimics: Name of the joint that it follows, or ''.
        ratio: Its position is ratio times that of the joint it follows, plus `offset`.
        offset: See `ratio`.
    """

    name: str
    kind: str
    parent: str
    child: str
    parent_T_joint: Array
    axis: Array
    lower: float = -np.inf
    upper: float = np.inf
    mimics: str = ''
    ratio: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Shape:
    """A primitive that shows a link.

    Args:
        link: The link that it is fixed to.
        kind: 'cylinder' (radius, length along z), 'sphere' (radius) or 'box' (x, y, z).
        size: As the kind says [m].
        link_T_shape: Pose of its centre [m], shape (4, 4).
    """

    link: str
    kind: str
    size: tuple[float, ...]
    link_T_shape: Array


class RobotModel:
    """A checked tree of links; joints are kept in an order in which each parent comes before its children.

    Args:
        name: Name of the robot.
        joints: Its joints, in any order.
        shapes: What its links look like.

    Raises:
        InputError: MODEL_REFUSED: no joints, too many, two of one name, a link moved by two joints, a loop, no root or
            several, an axis of length 0, numbers that are not finite, limits the wrong way round, or a joint that
            follows one that is not there, itself, or a follower.
    """

    def __init__(self, name: str, joints: tuple[Joint, ...], shapes: tuple[Shape, ...] = ()) -> None:
        self.name = name
        _check_count(joints)
        for joint in joints:
            _check_joint(joint)
        _check_names(joints)
        self.root = _root(joints)
        self.joints = _ordered(joints, self.root)
        self.links = (self.root, *(joint.child for joint in self.joints))
        _check_followers(self.joints)
        for shape in shapes:
            if shape.link not in self.links:
                raise refused(f'a shape is fixed to link {shape.link!r}, which no joint holds')
        self.shapes = shapes

    @property
    def moving(self) -> tuple[Joint, ...]:
        """The joints that have a position of their own."""
        return tuple(joint for joint in self.joints if joint.kind != 'fixed' and not joint.mimics)

    def leaf(self) -> str:
        """Return the link at the end of the branch with the most moving joints; the last such one.

        A link named 'tip' is taken before any other, and after all others the fingers of a gripper and the bars of a
        parallelogram: branches with a joint that follows one of another branch, or, where nothing else moves on it,
        leads one.
        """
        if 'tip' in self.links:
            return 'tip'
        depth = {self.root: 0}
        above = {self.root: frozenset[str]()}
        for joint in self.joints:
            depth[joint.child] = depth[joint.parent] + (joint.kind != 'fixed')
            above[joint.child] = above[joint.parent] | {joint.name}
        followers = [joint for joint in self.joints if joint.mimics and joint.mimics not in above[joint.child]]
        bearing = {name for joint in self.moving for name in above[joint.parent]}  # that move another moving joint
        fingers = {joint.name for joint in followers} | {joint.mimics for joint in followers} - bearing
        ends = [link for link in self.links if not above[link] & fingers]
        if not any(depth[link] for link in ends):  # a gripper alone: the finger that leads
            ends = [link for link in self.links if not above[link] & {joint.name for joint in followers}]
        return max(reversed(ends), key=lambda link: depth[link])

    def path(self, base: str, tip: str) -> tuple[Joint, ...]:
        """Return the joints from one link out to another.

        Raises:
            InputError: A link that is not there, or a tip that does not hang on the base.
        """
        for link in (base, tip):
            if link not in self.links:
                raise InputError(f'{self.name}: no link {link!r}{nearest(link, self.links)}', code=REFUSED)
        by_child = {joint.child: joint for joint in self.joints}
        found: list[Joint] = []
        link = tip
        while link != base:
            if link not in by_child:
                raise InputError(f'{self.name}: link {tip!r} does not hang on {base!r}', code=REFUSED)
            found.append(by_child[link])
            link = by_child[link].parent
        return tuple(reversed(found))

    def chain(self, base: str, tip: str) -> tuple[Joint, ...]:
        """Return the joints that have a position of their own between two links.

        Raises:
            InputError: As `path`; no or too many moving joints, or a mimic joint whose leader is not between them.
        """
        joints = self.path(base, tip)
        moving = tuple(joint for joint in joints if joint.kind != 'fixed' and not joint.mimics)
        if not 0 < len(moving) <= MAX_MOVING:
            raise refused(
                f'{self.name}: {len(moving)} moving joints between {base!r} and {tip!r}, expected 1 to {MAX_MOVING}'
            )
        names = {joint.name for joint in moving}
        for joint in joints:
            if joint.mimics and joint.mimics not in names:
                raise refused(f'{self.name}: joint {joint.name!r} mimics {joint.mimics!r}, which is not in the chain')
        return moving


def refused(message: str) -> InputError:
    """Return the error for a model that cannot be used."""
    return InputError(message, code=REFUSED)


def _check_count(joints: tuple[Joint, ...]) -> None:
    if not joints:
        raise refused('the robot has no joints')
    if len(joints) > MAX_JOINTS:
        raise refused(f'{len(joints)} joints are above the limit of {MAX_JOINTS}')


def _check_joint(joint: Joint) -> None:
    if joint.kind not in KINDS:
        raise refused(f'joint {joint.name!r}: kind {joint.kind!r} is none of {", ".join(KINDS)}')
    numbers = (*joint.parent_T_joint.ravel(), *joint.axis, joint.ratio, joint.offset)
    if not np.isfinite(numbers).all():
        raise refused(f'joint {joint.name!r}: pose, axis or mimic has NaN or Inf')
    if np.abs(joint.parent_T_joint[:3, 3]).max() > 1e3:
        raise refused(f'joint {joint.name!r}: lies {np.abs(joint.parent_T_joint[:3, 3]).max():g} m off: millimetres?')
    if abs(float(np.linalg.norm(joint.axis)) - 1.0) > 1e-6:
        raise refused(f'joint {joint.name!r}: the axis {joint.axis.tolist()} is no unit vector')
    if np.isnan(joint.lower) or np.isnan(joint.upper):
        raise refused(f'joint {joint.name!r}: limits are NaN')
    if joint.lower > joint.upper:
        raise refused(f'joint {joint.name!r}: lower limit {joint.lower:g} is above the upper one {joint.upper:g}')


def _check_names(joints: tuple[Joint, ...]) -> None:
    for what, names in (('joint', [joint.name for joint in joints]), ('link', [joint.child for joint in joints])):
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled and what == 'joint':
            raise refused(f'joint {doubled[0]!r} is there twice')
        if doubled:
            movers = [joint.name for joint in joints if joint.child == doubled[0]]
            raise refused(f'link {doubled[0]!r} is moved by {" and ".join(movers)}: a closed loop is no tree')


def _root(joints: tuple[Joint, ...]) -> str:
    children = {joint.child for joint in joints}
    roots = list(dict.fromkeys(joint.parent for joint in joints if joint.parent not in children))
    if not roots:
        raise refused('the joints form a loop: no link is the root')
    if len(roots) > 1:
        raise refused(f'the links {", ".join(roots)} hang on nothing: a robot has one root')
    return roots[0]


def _ordered(joints: tuple[Joint, ...], root: str) -> tuple[Joint, ...]:
    hanging: dict[str, list[Joint]] = {}
    for joint in joints:
        hanging.setdefault(joint.parent, []).append(joint)
    ordered: list[Joint] = []
    waiting = [root]
    while waiting:
        for joint in hanging.pop(waiting.pop(0), []):
            ordered.append(joint)
            waiting.append(joint.child)
    if hanging:
        names = sorted(joint.name for group in hanging.values() for joint in group)
        raise refused(f'the joints {", ".join(names)} form a loop that hangs on nothing')
    return tuple(ordered)


def _check_followers(joints: tuple[Joint, ...]) -> None:
    by_name = {joint.name: joint for joint in joints}
    for joint in joints:
        if not joint.mimics:
            continue
        followed = by_name.get(joint.mimics)
        if followed is None:
            raise refused(f'joint {joint.name!r} mimics {joint.mimics!r}, which is not there')
        if followed.mimics or followed.kind == 'fixed':
            raise refused(f'joint {joint.name!r} mimics {joint.mimics!r}, which has no position of its own')
