"""The tip of an arm from the joint states of a bag, for the measures of motion."""

import re

from twin_nodes.app.bag_joints import joints_of
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.robot.chain import SerialChain
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
    found = joints_of(reader, topic, chain, arm)
    return found.stamps_ns, chain.forward(found.positions)[:, :3, 3]
