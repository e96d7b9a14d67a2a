"""The joint states of an arm in a bag, checked, also where they come in parts."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from twin_nodes.app.bag_poses import stamp_of
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.joint_reading import JointReader, JointsConfig
from twin_nodes.core.robot.joint_states import JointStates
from twin_nodes.io.bags.reader import BagReader


@dataclass(frozen=True, eq=False)
class BagJoints:
    """The good joint states of an arm.

    Args:
        stamps_ns: Ascending, shape (n,).
        positions: In the order of the chain [rad or m], shape (n, m).
        dropped: How many messages were left out; those of other joints are not counted.
    """

    stamps_ns: Array
    positions: Array
    dropped: int


def joints_of(reader: BagReader, topic: str, chain: SerialChain, arm: str) -> BagJoints:
    """Read the joint states of an arm.

    Args:
        reader: The bag.
        topic: Topic of the joint states; others may speak there.
        chain: Joints of the arm.
        arm: Its name.

    Raises:
        InputError: No good one, with the reason of the last.
    """
    joints = JointStates(JointReader(chain, JointsConfig(), arm=arm))
    stamps, positions, dropped, why = [], [], 0, 'the topic is empty'
    for message in reader.messages(topics=(topic,)):
        record: Any = reader.decode(message)
        try:
            samples = joints.take(stamp_of(record), list(record.name), list(record.position))
        except InputError as error:
            dropped, why = dropped + 1, str(error)
            continue
        stamps += [sample.stamp_ns for sample in samples]
        positions += [sample.positions for sample in samples]
    if not stamps:
        raise InputError(f'{topic}: no good joint state{f", {dropped} left out" if dropped else ""}: {why}')
    return BagJoints(np.array(stamps, np.int64), np.array(positions), dropped)
