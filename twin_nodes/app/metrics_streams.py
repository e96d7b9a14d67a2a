"""Positions and forces of each stream of a bag, for the measures of motion."""

from typing import Any

import numpy as np

from twin_nodes.app.bag_poses import TREE, poses_of, stamp_of, topic_of
from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.reader import BagReader

FORCES = {'geometry_msgs/msg/WrenchStamped': lambda message: message.wrench.force}


class Samples:
    """Vectors of one stream as they come."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float, float, float]] = []

    def add(self, stamp_ns: int, vector: Any) -> None:
        """Take the vector of a stamp."""
        self.rows.append((stamp_ns, vector.x, vector.y, vector.z))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Stamps and vectors in the order of stamps, each stamp once; what is not finite or invalid left out.

        Raises:
            InputError: Hardly any message has a stamp.
        """
        stamps = np.array([row[0] for row in self.rows], dtype=np.int64)
        values = np.array([row[1:] for row in self.rows], dtype=float).reshape(-1, 3)
        invalid = int(np.sum(stamps == 0))
        if invalid and len(stamps) - invalid < 3:
            raise InputError(
                f'{invalid} of {len(stamps)} messages have stamp 0, which marks invalid data; --receive-times takes '
                'the times at which they were recorded'
            )
        good = np.isfinite(values).all(axis=1) & (stamps != 0)
        stamps, at = np.unique(stamps[good], return_index=True)
        return stamps, values[good][at]


def samples_of(reader: BagReader, streams: tuple[str, ...], *, receive_times: bool) -> dict[str, Samples]:
    """Return the vectors of each stream; of tf those of each child frame, or of some by name."""
    whole = {name for name in streams if '#' not in name}
    samples = {name: Samples() for name in streams if reader.topics[topic_of(name)].type_name != TREE}
    for message in reader.messages(topics={topic_of(name) for name in streams}) if streams else ():
        record = reader.decode(message)
        if message.type_name in FORCES:
            stamp_ns = message.log_time_ns if receive_times else stamp_of(record)
            samples[message.topic].add(stamp_ns, FORCES[message.type_name](record))
            continue
        for pose in poses_of(message.topic, message.type_name, record):
            if pose.stream in streams or message.topic in whole:
                stamp_ns = message.log_time_ns if receive_times else pose.stamp_ns
                samples.setdefault(pose.stream, Samples()).add(stamp_ns, pose.position)
    return samples
