"""The operator: what he sees after his reaction time, what he decides, how his hand moves, in steps of 5 ms."""

import numpy as np
from numba import njit

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.telesurgery.operator.config import STEP
from twin_nodes.core.telesurgery.operator.task_kernels import (
    APPROACH,
    COARSE,
    DESCEND,
    DONE,
    FINE,
    GRASP,
    GRASP_TIME,
    HANDOVER,
    HANDOVER_TIME,
    INSERT,
    LIFT,
    RELEASE,
    RELEASE_TIME,
    RETREAT,
    SETTLE,
    START,
    TO_PEG,
    target,
)

# what he sees, one row per step
VIEW_TIP, VIEW_STAMP, VIEW_CARRY, VIEW_OBJ, VIEW_PLACED, VIEW_CLOSED, VIEW_READY = 0, 3, 4, 5, 8, 9, 10
VIEW_SIZE = 11
RING = 128

# settings in the order of OperatorConfig
(REACTION, GAIN, LAG_SCALE, LAG_POWER, LAG_UNNOTICED, SPEED, SMOOTHING, TREMOR, AIM, WAIT_ABOVE, WAIT_GAIN, WAIT_NOISE,
 WAIT_SETTLE, WAIT_CAUTION, NOTICE, REGAIN, REGAIN_SHARE, ASK) = range(18)  # fmt: skip

# state
(HAND, VEL, PHASE, TIMER, HELD, LAG, FROZEN, SEEN, STOOD, FLOWS, JAW, WAITS, MOVE_LEFT, MOVE_FROM, MOVE_BY, MOVE_LONG,
 REST, TREMOR1, TREMOR2, AIMED, COMMAND, IDLE, OUT) = (
    0, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 23, 24, 25, 28, 31, 34, 37, 38)  # fmt: skip
HAND_SIZE = 39
NOISE_SIZE = 8  # per step: tremor 3, aim 3, share of a move 1, uniform 1
_POLE, _TURN = 0.97, 2.0 * np.pi * 9.0 * STEP
_A1, _A2 = 2.0 * _POLE * np.cos(_TURN), -_POLE * _POLE
# innovations for unit variance of an AR(2) process (Box and Jenkins 1970, eq. 3.2.30)
_INNOVATION = np.sqrt((1.0 + _A2) * ((1.0 - _A2) ** 2 - _A1**2) / (1.0 - _A2))
_LAG_BLEND = STEP / 1.0
_AIM_KEEP = 1.0 - STEP / 1.0
_AIM_NEW = np.sqrt(1.0 - _AIM_KEEP**2)


def new_hand() -> Array:
    """Return the state of an operator before a transfer, shape (39,)."""
    state = np.zeros(HAND_SIZE)
    state[HAND : HAND + 3] = START
    state[COMMAND : COMMAND + 3] = START
    state[JAW] = 1.0
    return state


def new_views() -> Array:
    """Return an empty memory of pictures, shape (RING, 11)."""
    views = np.zeros((RING, VIEW_SIZE))
    views[:, VIEW_TIP : VIEW_TIP + 3] = START
    views[:, VIEW_OBJ : VIEW_OBJ + 3] = np.array([0.09, 0.02, 0.0])
    views[:, VIEW_READY] = 1.0
    return views


@njit(cache=True)
def _watch(hand: Array, config: Array, stamp: float, now: float, ready: float) -> None:
    """Feel how much the picture lags and whether it stands still."""
    if stamp != hand[SEEN]:
        if hand[FROZEN] < 0.5:
            hand[LAG] += _LAG_BLEND * (max(now - config[REACTION] - stamp, 0.0) - hand[LAG])
        hand[SEEN] = stamp
        hand[STOOD] = 0.0
    elif hand[SEEN] > 0.0:
        hand[STOOD] += STEP
    if ready < 0.5 or hand[STOOD] > config[NOTICE]:
        hand[FROZEN] = 1.0
        hand[FLOWS] = 0.0
        hand[OUT] = max(hand[OUT], hand[STOOD])
    elif hand[FROZEN] > 0.5:
        hand[FLOWS] += STEP
        if hand[FLOWS] > config[REGAIN] + config[REGAIN_SHARE] * hand[OUT]:
            hand[FROZEN], hand[OUT], hand[MOVE_LEFT] = 0.0, 0.0, 0.0


@njit(cache=True)
def _decide(hand: Array, task: Array, view: Array, near: float) -> None:
    """Go to the next phase when the picture says that this one is done, or back when it went wrong."""
    phase = int(hand[PHASE])
    carried, placed = view[VIEW_CARRY] > 0.5, view[VIEW_PLACED] > 0.5
    limit = task[FINE] if phase in (DESCEND, INSERT) else task[COARSE]
    if phase in (RETREAT, LIFT):
        limit = 4.0 * task[COARSE]
    hand[HELD] = hand[HELD] + STEP if near < limit else 0.0
    if phase == GRASP:
        hand[JAW] = 0.0
        hand[TIMER] = hand[TIMER] + STEP if view[VIEW_CLOSED] > 0.5 else 0.0
        if hand[TIMER] >= task[GRASP_TIME]:
            _enter(hand, LIFT if carried else APPROACH)
    elif phase == HANDOVER:
        hand[TIMER] += STEP
        if hand[TIMER] >= task[HANDOVER_TIME]:
            _enter(hand, TO_PEG)
    elif phase == RELEASE:
        hand[JAW] = 1.0
        hand[TIMER] = hand[TIMER] + STEP if view[VIEW_CLOSED] < 0.5 else 0.0
        if hand[TIMER] >= task[RELEASE_TIME]:
            _enter(hand, RETREAT if placed else APPROACH)
    elif LIFT <= phase <= INSERT and not carried:
        _enter(hand, RETREAT if placed else APPROACH)
    elif hand[HELD] >= task[SETTLE] or (phase in (RETREAT, LIFT) and near < limit):
        _enter(hand, phase + 1)
        if phase == RETREAT and not placed:
            _enter(hand, APPROACH)


@njit(cache=True)
def _enter(hand: Array, phase: int) -> None:
    hand[PHASE] = phase
    hand[TIMER] = 0.0
    hand[HELD] = 0.0
    if phase == APPROACH:
        hand[JAW] = 1.0


@njit(cache=True)
def _servo(hand: Array, config: Array, ex: float, ey: float, ez: float) -> None:
    """Visual servo: the hand's speed follows the distance to go; less so the more the picture lags."""
    seen = max(hand[LAG] - config[LAG_UNNOTICED], 0.0) / config[LAG_SCALE]
    gain = config[GAIN] / (1.0 + seen ** config[LAG_POWER])
    speed = gain * np.sqrt(ex * ex + ey * ey + ez * ez)
    scale = gain * min(1.0, config[SPEED] / max(speed, 1e-9))
    blend = STEP / config[SMOOTHING]
    hand[VEL] += blend * (scale * ex - hand[VEL])
    hand[VEL + 1] += blend * (scale * ey - hand[VEL + 1])
    hand[VEL + 2] += blend * (scale * ez - hand[VEL + 2])
    for axis in range(3):
        hand[HAND + axis] += STEP * hand[VEL + axis]


@njit(cache=True)
def _move_and_wait(hand: Array, config: Array, ex: float, ey: float, ez: float, tolerance: float, share: float) -> None:
    """Make one smooth move (minimum jerk, Flash and Hogan 1985), then wait until the picture has shown it."""
    if hand[MOVE_LEFT] > 0.0:
        hand[MOVE_LEFT] -= STEP
        s = min(max(1.0 - hand[MOVE_LEFT] / hand[MOVE_LONG], 0.0), 1.0)
        progress = s * s * s * (10.0 + s * (6.0 * s - 15.0))
        for axis in range(3):
            hand[HAND + axis] = hand[MOVE_FROM + axis] + progress * hand[MOVE_BY + axis]
        hand[REST] = 0.0
        return
    hand[REST] += STEP
    if hand[REST] < hand[LAG] + config[REACTION] + config[WAIT_SETTLE]:
        return
    length = np.sqrt(ex * ex + ey * ey + ez * ez)
    if length < tolerance:
        return
    part = min(max(config[WAIT_GAIN] + config[WAIT_NOISE] * share, 0.3), 1.2)
    hand[MOVE_LONG] = max(0.35, 1.875 * part * length / config[SPEED]) * (1.0 + config[WAIT_CAUTION] * hand[LAG])
    hand[MOVE_LEFT] = hand[MOVE_LONG]
    for axis in range(3):
        hand[MOVE_FROM + axis] = hand[HAND + axis]
    hand[MOVE_BY], hand[MOVE_BY + 1], hand[MOVE_BY + 2] = part * ex, part * ey, part * ez


@njit(cache=True)
def hand_step(hand: Array, config: Array, task: Array, views: Array, index: int, noise: Array) -> bool:
    """Advance the operator by one step.

    Args:
        hand: State, changed in place; COMMAND holds where his hand is, with its tremor, shape (39,).
        config: OperatorConfig.parameters().
        task: TaskConfig.parameters().
        views: Pictures of the last RING steps; row index % RING is that of now.
        index: Number of the step.
        noise: Normal numbers, the last one uniform, shape (8,).

    Returns:
        Whether the transfer is done.
    """
    now = index * STEP
    view = views[(index - int(config[REACTION] / STEP)) % RING]
    _watch(hand, config, view[VIEW_STAMP], now, view[VIEW_READY])
    for axis in range(3):
        hand[AIMED + axis] = _AIM_KEEP * hand[AIMED + axis] + _AIM_NEW * config[AIM] * noise[3 + axis]
        before, last = hand[TREMOR2 + axis], hand[TREMOR1 + axis]
        hand[TREMOR2 + axis] = last
        hand[TREMOR1 + axis] = _A1 * last + _A2 * before + _INNOVATION * config[TREMOR] * noise[axis]
    if hand[FROZEN] > 0.5:
        hand[IDLE] += STEP
        for axis in range(3):
            hand[VEL + axis] *= 1.0 - STEP / config[SMOOTHING]
            hand[HAND + axis] += STEP * hand[VEL + axis]
        hand[MOVE_LEFT] = 0.0
    else:
        tx, ty, tz = target(int(hand[PHASE]), view[VIEW_OBJ], view[VIEW_OBJ + 1], view[VIEW_OBJ + 2])
        ex, ey, ez = tx - view[VIEW_TIP], ty - view[VIEW_TIP + 1], tz - view[VIEW_TIP + 2]
        _decide(hand, task, view, np.sqrt(ex * ex + ey * ey + ez * ez))
        ex, ey, ez = ex + hand[AIMED], ey + hand[AIMED + 1], ez + hand[AIMED + 2]
        waits = hand[LAG] > config[WAIT_ABOVE] * (0.9 if hand[WAITS] > 0.5 else 1.0)
        if waits != (hand[WAITS] > 0.5):
            hand[MOVE_LEFT], hand[REST] = 0.0, 0.0
            hand[WAITS] = 1.0 if waits else 0.0
        if waits:
            for axis in range(3):
                hand[VEL + axis] = 0.0
            phase = int(hand[PHASE])
            tolerance = task[FINE] if phase in (DESCEND, INSERT, GRASP, RELEASE) else task[COARSE]
            _move_and_wait(hand, config, ex, ey, ez, 0.7 * tolerance, noise[6])
        else:
            _servo(hand, config, ex, ey, ez)
    for axis in range(3):
        hand[COMMAND + axis] = hand[HAND + axis] + hand[TREMOR1 + axis]
    return bool(hand[PHASE] >= DONE)
