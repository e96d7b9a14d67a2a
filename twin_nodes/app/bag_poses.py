"""The poses of any bag, whoever recorded it: of pose topics, and of each edge on tf."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from twin_nodes.io.bags.reader import BagReader
from twin_nodes.ros.conversions import stamp_to_ns

TREE = 'tf2_msgs/msg/TFMessage'
_ONE: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    'geometry_msgs/msg/PoseStamped': lambda message: (message.pose.position, message.pose.orientation),
    'geometry_msgs/msg/PoseWithCovarianceStamped': lambda message: (
        message.pose.pose.position,
        message.pose.pose.orientation,
    ),
    'geometry_msgs/msg/TransformStamped': lambda message: (message.transform.translation, message.transform.rotation),
    'nav_msgs/msg/Odometry': lambda message: (message.pose.pose.position, message.pose.pose.orientation),
}
POSES = frozenset(_ONE)


class BagPose(NamedTuple):
    """One pose: the name of its stream, its stamp [ns], its frames (child '' where it is not said), where it is."""

    stream: str
    stamp_ns: int
    frame: str
    child: str
    position: Any
    orientation: Any


def poses_of(topic: str, kind: str, record: Any) -> Iterator[BagPose]:
    """Yield the poses of a message; those of tf as streams `TOPIC#CHILD`."""
    if kind != TREE:
        yield BagPose(
            topic, stamp_of(record), record.header.frame_id, getattr(record, 'child_frame_id', ''), *_ONE[kind](record)
        )
        return
    for edge in record.transforms:
        place, turn = edge.transform.translation, edge.transform.rotation
        yield BagPose(
            f'{topic}#{edge.child_frame_id}', stamp_of(edge), edge.header.frame_id, edge.child_frame_id, place, turn
        )


def stamp_of(record: Any) -> int:
    """Return the stamp of a message [ns]."""
    return stamp_to_ns(record.header.stamp)


def pose_topics(reader: BagReader) -> dict[str, str]:
    """Return the type of each topic with poses; tf where there is no other."""
    kinds = {name: topic.type_name for name, topic in reader.topics.items()}
    found = {name: kind for name, kind in kinds.items() if kind in POSES and reader.counts[name]}
    return found or tree_topics(reader)


def tree_topics(reader: BagReader) -> dict[str, str]:
    """Return the topics with moving edges of tf."""
    return {
        name: topic.type_name
        for name, topic in reader.topics.items()
        if topic.type_name == TREE and not name.endswith('tf_static') and reader.counts[name]
    }


def topic_of(stream: str) -> str:
    """Return the topic of a stream."""
    return stream.partition('#')[0]
