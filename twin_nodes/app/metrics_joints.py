"""The tip of an arm from the joint states of a bag, for the measures of motion."""

import re
from typing import Any

import numpy as np

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.joint_reading import JointReader, JointsConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.urdf import open_robot

JOINTS = 'sensor_msgs/msg/JointState'
_ARM = re.compile(r'(?:(?P<arm>[^=\s]*[^=\s:])=)?(?P<model>.*)', re.DOTALL)
NEEDED = 'the joints of an arm: name its model to measure its tip, such as --model {arm}=psm_classic'


def joint_topics(kinds: dict[str, str]) -> dict[str, str]:
    """Return the arm of each topic that tells the joints of one, `<arm>/measured_js`; not of jaws and grippers.

    The arm of `joint_states`, as other stacks have it, is the namespace, or `robot` where there is none.
    """
    arms = {}
    for name, kind in kinds.items():
        parts = name.strip('/').split('/')
        if kind == JOINTS and parts[-1] == 'measured_js' and len(parts) > 1 and parts[-2] not in ('jaw', 'gripper'):
            arms[name] = parts[-2]
        elif kind == JOINTS and parts[-1] == 'joint_states':
            arms[name] = parts[-2] if len(parts) > 1 else 'robot'
    return arms


def models_of(given: tuple[str, ...]) -> dict[str, str]:
    """Return the model of each arm from ARM=MODEL, that of all arms under '' from MODEL alone.

    A MODEL may have arguments, `arm.xacro tool:=420006`; their ':=' parts no arm off.
    """
    parted = (_ARM.fullmatch(one) for one in given)
    return {match['arm'] or '': match['model'] for match in parted if match}


def tips_of(reader: BagReader, topic: str, arm: str, model: str) -> tuple[Array, Array]:
    """Return stamps [ns] (n,) and positions of the tip in the base of the arm [m], shape (n, 3).

    Raises:
        InputError: A model that is refused, or no good joint state, with the reason of the last.
    """
    chain = SerialChain(open_robot(model))
    checker = JointReader(chain, JointsConfig(), arm=arm)
    parts = checker.parts()
    stamps, positions, why = [], [], 'the topic is empty'
    for message in reader.messages(topics=(topic,)):
        record: Any = reader.decode(message)
        stamp_ns = record.header.stamp.sec * NANOSECONDS + record.header.stamp.nanosec
        state = (stamp_ns, list(record.name), list(record.position))
        try:
            whole = None
            if stamp_ns and 0 < parts.counted(record.name) < len(chain):
                whole = parts.add(*state)
            states = [state] if whole is None else [(one.stamp_ns, one.names, one.positions.tolist()) for one in whole]
            samples = [checker.read(*one, now_ns=None) for one in states]
        except InputError as error:
            why = str(error)
            continue
        stamps += [sample.stamp_ns for sample in samples]
        positions += [sample.positions for sample in samples]
    if not stamps:
        raise InputError(f'no good joint state: {why}')
    return np.array(stamps, dtype=np.int64), chain.forward(np.array(positions))[:, :3, 3]
