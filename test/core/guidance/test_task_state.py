"""The step of a task: a scripted peg transfer is told as scripted, with confidence, and bad views change nothing."""

import math

import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.task_state import TaskConfig, TaskRecogniser, TaskState, TaskView

FAR = math.inf
STEP_NS = 20_000_000


def scripted():
    """Seconds and the view of each step: reach, grasp, transport, place, reach, follow."""
    reach = TaskView(0.05, 0.8, False, 0.08, FAR)
    grasp = TaskView(0.003, 0.2, False, 0.08, FAR)
    carry = TaskView(0.0, 0.1, True, 0.06, FAR)
    place = TaskView(0.0, 0.15, True, 0.004, FAR)
    follow = TaskView(FAR, FAR, False, FAR, 0.001)
    return [(1.0, reach), (0.6, grasp), (1.5, carry), (0.8, place), (1.0, reach), (2.0, follow)]


def told(recogniser, script):
    stamp, states = 10**9, []
    for seconds, view in script:
        for _ in range(round(seconds * 50)):
            stamp += STEP_NS
            estimate = recogniser.update(stamp, view)
            if not states or states[-1] is not estimate.state:
                states.append(estimate.state)
    return states, estimate


def test_the_steps_come_as_scripted():
    states, last = told(TaskRecogniser(TaskConfig()), scripted())
    assert [state.value for state in states] == ['reach', 'grasp', 'transport', 'place', 'reach', 'follow']
    assert last.confidence > 0.9
    assert sum(last.probabilities.values()) == pytest.approx(1.0)
    assert last.weight(TaskState.FOLLOW, TaskState.REACH) <= 1.0


def test_a_dropped_object_is_a_reach_again_and_a_flicker_changes_nothing():
    reach, grasp, carry = (view for _, view in scripted()[:3])
    states, _ = told(TaskRecogniser(TaskConfig()), [(1.0, reach), (0.6, grasp), (1.0, carry), (1.0, reach)])
    assert states[-1] is TaskState.REACH
    recogniser = TaskRecogniser(TaskConfig())
    states, _ = told(recogniser, [(1.0, reach), (0.6, grasp), (1.0, carry)])
    flicker = TaskView(carry.object_distance, carry.jaw, False, carry.target_distance, FAR)
    assert not recogniser.update(10**12, flicker).changed


def test_a_view_with_nan_or_of_the_past_changes_nothing():
    recogniser = TaskRecogniser(TaskConfig())
    view = scripted()[0][1]
    recogniser.update(10**9, view)
    with pytest.raises(InputError, match='does not follow'):
        recogniser.update(10**9, view)
    with pytest.raises(InputError, match='NaN'):
        recogniser.update(2 * 10**9, TaskView(math.nan, 0.0, False, 0.1, FAR))
    assert recogniser.update(10**9 + 1, view).state is TaskState.REACH
