"""The command guard: each fault by its code, and nothing that it refuses leaves a trace."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.codes import CODES
from twin_nodes.core.telesurgery.command import Command
from twin_nodes.core.telesurgery.compensation_config import GuardConfig
from twin_nodes.core.telesurgery.guard import REASONS, CommandGuard
from twin_nodes.core.telesurgery.operator.forgeries import forged_applied

NOW = 50_000_000_000
GOOD = Command(10, NOW, (0.0, 0.0, 0.05))


def guarded():
    guard = CommandGuard(GuardConfig())
    assert guard.check(GOOD, NOW, publisher='a', offset_ns=0) == ''
    return guard


@pytest.mark.parametrize(
    ('command', 'publisher', 'reason'),
    [
        (Command(11, NOW + 1, (0.0, 0.0, 0.05)), 'b', 'COMMAND_PUBLISHER'),
        (Command(11, NOW + 1, (math.nan, 0.0, 0.05)), 'a', 'COMMAND_NOT_FINITE'),
        (Command(11, NOW + 1, (0.0, 0.0, 0.05), (0.0, 0.0, 0.0, 0.5)), 'a', 'COMMAND_NOT_FINITE'),
        (Command(11, NOW + 6_000_000, (0.0, 0.0, 0.05)), 'a', 'COMMAND_FUTURE'),
        (Command(11, NOW - 121_000_000_000, (0.0, 0.0, 0.05)), 'a', 'COMMAND_STALE'),
        (GOOD, 'a', 'COMMAND_REPEATED'),
        (Command(11, NOW - 5, (0.0, 0.0, 0.05)), 'a', 'COMMAND_ORDER'),
        (Command(9, NOW + 5, (0.0, 0.0, 0.05)), 'a', 'COMMAND_ORDER'),
        (Command(11, NOW + 1, (0.0, 0.0, 0.16)), 'a', 'COMMAND_WORKSPACE'),
        (Command(11, NOW + 1, (0.003, 0.0, 0.05)), 'a', 'COMMAND_SPEED'),
        (Command(11, NOW + 1, (0.0, 0.0, 0.05), (0.0, 0.0, 1.0, 0.0)), 'a', 'COMMAND_SPEED'),
        (Command(11, 0, (0.0, 0.0, 0.05)), 'a', 'COMMAND_FROZEN'),
    ],
)
def test_names_the_reason_and_stays_as_it_was(command, publisher, reason):
    guard = guarded()
    assert guard.check(command, NOW, publisher=publisher, offset_ns=0) == reason
    assert guard.counts[reason] == 1
    assert guard.newest == GOOD
    assert guard.check(Command(11, NOW + 5_000_000, (0.001, 0.0, 0.05)), NOW, publisher='a', offset_ns=0) == ''


def test_a_stamp_that_stands_is_taken_three_times():
    guard = guarded()
    said = [guard.check(Command(11 + k, NOW, (0.0, 0.0, 0.05)), NOW, publisher='a') for k in range(5)]
    assert said == ['', '', '', 'COMMAND_FROZEN', 'COMMAND_FROZEN']


def test_far_from_the_twin_is_refused():
    far = Command(11, NOW + 1, (0.0, 0.0, 0.05))
    assert guarded().check(far, NOW, publisher='a', twin=(0.0, 0.06, 0.05)) == 'COMMAND_TWIN'


def test_a_new_session_binds_anew():
    guard = guarded()
    guard.release()
    assert guard.check(Command(1, NOW, (0.1, 0.0, 0.05)), NOW, publisher='b') == ''


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(12)))
def test_lost_ones_fill_their_gaps_in_any_order(order):
    guard = guarded()
    for k in order:
        made = Command(11 + k, NOW + (k + 1) * 5_000_000, (0.0002 * k, 0.0, 0.05))
        assert guard.check(made, NOW + 100_000_000, publisher='a', offset_ns=0) == ''


def test_no_forgery_passes_and_no_good_command_is_lost():
    assert forged_applied(3000, 7) == (0, 0)


def test_every_reason_is_a_code():
    assert set(REASONS) <= set(CODES)
