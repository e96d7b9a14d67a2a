"""What of a bag that others recorded can be shown: tools by their poses or by their frames on tf."""

from collections.abc import Collection
from dataclasses import dataclass

from geometry_msgs.msg import TransformStamped

from twin_nodes.app.bag_poses import TREE, BagPose, pose_topics, poses_of
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.ros.conversions import ns_to_stamp

MAX_TOOLS = 8
_ENOUGH = 2000  # messages that are looked at to learn the frames


@dataclass(frozen=True)
class ForeignTools:
    """Tools of a bag without `<tool>/filtered_cp`.

    Args:
        tools: Their frames, at most `MAX_TOOLS`: those at the ends of tf, or one for each topic with poses.
        fixed_frame: The frame in which they are told; '' where there is no tool.
        left_out: What moves in other frames, for people; '' for nothing.
    """

    tools: tuple[str, ...] = ()
    fixed_frame: str = ''
    left_out: str = ''


def foreign_tools(reader: BagReader) -> ForeignTools:
    """Look through the beginning of a bag for what moves; of several trees of frames that with the most tools."""
    parents = _parents(reader)
    roots: dict[str, list[str]] = {}
    for frame in parents:
        if frame not in parents.values():
            root = frame
            for _ in range(len(parents)):
                root = parents.get(root, root)
            roots.setdefault(root, []).append(frame)
    if not roots:
        return ForeignTools()
    root = max(roots, key=lambda name: len(roots[name]))
    others = [frame for name, frames in roots.items() if name != root for frame in frames] + roots[root][MAX_TOOLS:]
    left_out = f'; not {", ".join(others)}, which no frame ties to it' if others else ''
    return ForeignTools(tuple(roots[root][:MAX_TOOLS]), root, left_out)


def foreign_poses(reader: BagReader, tools: Collection[str]) -> dict[str, str]:
    """Return the topics with poses of tools that have no `<tool>/filtered_cp`, with the frame that stands for each."""
    known = {tool for tool in tools if any(name.endswith(f'{tool}/filtered_cp') for name in reader.topics)}
    return {
        name: frame_of(name)
        for name, kind in pose_topics(reader).items()
        if kind != TREE and frame_of(name) in tools and frame_of(name) not in known
    }


def _parents(reader: BagReader) -> dict[str, str]:
    """Return the parent of each frame that moves, and of those that are fixed to what moves not."""
    kinds = pose_topics(reader)
    trees = {name for name, topic in reader.topics.items() if topic.type_name == TREE and name not in kinds}
    parents: dict[str, str] = {}
    for count, message in enumerate(reader.messages(set(kinds)) if kinds else ()):
        for pose in poses_of(message.topic, message.type_name, reader.decode(message)):
            frame = pose.child if message.type_name == TREE else frame_of(message.topic)
            if pose.frame and pose.stamp_ns and frame != pose.frame:
                parents.setdefault(frame, pose.frame)
        if count >= _ENOUGH:
            break
    fixed = {}
    for count, message in enumerate(reader.messages(trees) if trees and parents else ()):
        for pose in poses_of(message.topic, TREE, reader.decode(message)):
            fixed.setdefault(pose.child, pose.frame)
        if count >= _ENOUGH:
            break
    waiting = [frame for frame in parents.values() if frame not in parents]
    while waiting:  # from what moves down to the root; branches that do not move are no tools
        frame = waiting.pop()
        if frame in fixed and frame not in parents:
            parents[frame] = fixed[frame]
            waiting.append(fixed[frame])
    return parents


def frame_of(topic: str) -> str:
    """Return the frame that stands for the poses of a topic: its name, without what every such topic has."""
    parts = [part for part in topic.strip('/').split('/') if part not in ('measured_cp', 'pose')]
    return '/'.join(parts) or topic.strip('/')


def edge_of(pose: BagPose, frame: str) -> TransformStamped | None:
    """Return the edge of tf that says where a pose is; None for one that is invalid (stamp 0)."""
    if not pose.stamp_ns or not pose.frame:
        return None
    edge = TransformStamped()
    edge.header.stamp = ns_to_stamp(pose.stamp_ns)
    edge.header.frame_id, edge.child_frame_id = pose.frame, frame
    for into, of, axes in (
        (edge.transform.translation, pose.position, 'xyz'),
        (edge.transform.rotation, pose.orientation, 'xyzw'),
    ):
        for axis in axes:
            setattr(into, axis, float(getattr(of, axis)))
    return edge
