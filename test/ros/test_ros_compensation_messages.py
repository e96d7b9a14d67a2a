"""Commands and states as messages: back as they were, also with the large numbers of a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.telesurgery.bridge.records import JOINTS, CommandFrame, decode, encode_commands
from twin_nodes.core.telesurgery.bridge.records import Command as Carried
from twin_nodes.core.telesurgery.command import ACTIONS, Command, FollowerState
from twin_nodes.ros.compensation_messages import (
    BACKLOG_PER_MESSAGE,
    backlog_message,
    command_message,
    commands_from,
    state_from,
    state_message,
)

NOW_NS = 1_795_000_000_000_000_000
LARGE = 2**38  # milliseconds of nearly nine years


@given(st.integers(1, LARGE), st.integers(0, LARGE), st.sampled_from(ACTIONS))
def test_a_command_comes_back(sequence, request, action):
    made = Command(sequence, NOW_NS, (0.01, -0.02, 0.03), (0.0, 0.6, 0.0, 0.8), 0.4, request, action)
    message = command_message(made, NOW_NS)
    assert commands_from(message, NOW_NS, NOW_NS, backlog=False) == (made,)
    values = tuple(message.position)
    frame = CommandFrame(b'12345678', 1, JOINTS, (len(values), 0, 0), '', (Carried(1, 5, values),))
    assert decode(encode_commands(frame)).commands[0].values == values, 'the bridge carries it'


@given(st.integers(1, LARGE))
def test_buffered_commands_come_back_with_their_ages(sequence):
    made = tuple(
        Command(sequence + i, NOW_NS - 10_000_000 * i, (0.0, 0.0, 0.01 * i)) for i in range(BACKLOG_PER_MESSAGE)
    )
    back = commands_from(backlog_message(made, NOW_NS, NOW_NS), NOW_NS, NOW_NS, backlog=True)
    assert [one.sequence for one in back] == [one.sequence for one in made]
    assert [one.stamp_ns for one in back] == [one.stamp_ns for one in made]


@given(st.integers(0, LARGE))
def test_a_state_comes_back(received):
    state = FollowerState(
        NOW_NS, NOW_NS - 5_000_000, (0.0, 0.1, 0.0), (0.0, 0.0, 0.0, 1.0), 0.2, 'hold', received, 0.1, 0.5
    )
    assert state_from(state_message(state, NOW_NS), NOW_NS, NOW_NS) == state


def test_refuses_what_is_no_command():
    message = command_message(Command(1, NOW_NS, (0.0, 0.0, 0.0)), NOW_NS)
    message.position.append(0.0)
    with pytest.raises(InputError, match='no commands'):
        commands_from(message, NOW_NS, NOW_NS, backlog=False)
