"""The edges of an arm as bytes are those of the messages."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message
from tf2_msgs.msg import TFMessage

from twin_nodes.core.geometry.se3 import random_transform
from twin_nodes.ros.conversions import transform_stamped
from twin_nodes.ros.edge_messages import EdgeMessages

NAMES = st.lists(st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=9), max_size=6)


@settings(deadline=None)
@given(NAMES, st.integers(0, 2**31 - 1), st.integers(0, 999_999_999), st.integers(0, 2**32 - 1))
def test_the_bytes_are_those_of_the_messages_whatever_the_names(names, seconds, nanoseconds, seed):
    rng = np.random.default_rng(seed)
    edges, stamp_ns = EdgeMessages(lambda link: f'PSM1_{link}'), seconds * 10**9 + nanoseconds
    for _ in range(2):  # the second time filled anew
        told = [(f'{name}up', name, random_transform(rng)) for name in names]
        found = deserialize_message(edges.fill(stamp_ns, told), TFMessage)
        expected = [transform_stamped(stamp_ns, f'PSM1_{a}', f'PSM1_{b}', pose) for a, b, pose in told]
        assert found == TFMessage(transforms=expected)
        stamp_ns = max(stamp_ns - 7, 0)
