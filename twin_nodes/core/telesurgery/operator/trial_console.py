"""The surgeon's side of a simulated transfer: leader, twin, fixtures, what he sees, and when he asks to go on."""

from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.core.telesurgery.command import FollowerState, Vector, distance
from twin_nodes.core.telesurgery.geofence import HalfSpace
from twin_nodes.core.telesurgery.leader import MOVED_ALONE, Leader
from twin_nodes.core.telesurgery.modes import Mode
from twin_nodes.core.telesurgery.operator.config import STEP
from twin_nodes.core.telesurgery.operator.direct import STEP_NS
from twin_nodes.core.telesurgery.operator.hand_kernels import (
    COMMAND,
    HAND,
    JAW,
    VIEW_CARRY,
    VIEW_CLOSED,
    VIEW_OBJ,
    VIEW_PLACED,
    VIEW_READY,
    VIEW_STAMP,
    VIEW_TIP,
)
from twin_nodes.core.telesurgery.operator.task_kernels import CARRY, CLOSED, OBJ, PLACED, new_task, task_step
from twin_nodes.core.telesurgery.operator.trial_config import TrialConfig
from twin_nodes.core.telesurgery.operator.trial_link import Order, Report
from twin_nodes.core.telesurgery.operator.trial_robot import object_at
from twin_nodes.core.telesurgery.passivity import FixtureRenderer

_MOST_COPIES, _COPIES = 20, 8  # in each datagram, on a link that loses and on one that does not
_HAND_DAMPING = 20.0  # of the arm that holds the console [N s/m]
_ASK_AGAIN_NS = NANOSECONDS // 2
_OFTEN_NS = 10 * NANOSECONDS  # a link that went twice within this comes and goes: he lets the robot follow
_SEEN_NS = NANOSECONDS // 2  # he does not ask by an older state of the robot
_DISAGREES_NS = NANOSECONDS // 10
_FRESH_NS = NANOSECONDS // 5
_FOLLOWS = (Mode.CONNECTED, Mode.DEGRADED)


class ConsoleSide:
    """Leader, twin and screen; told the true time for what he does and the leader's clock for what is stamped.

    Args:
        config: Settings of the trial.
        start: Where the robot stands [m].
        mode: 'bridge' shows the real picture, 'prediction' the predicted robot, 'twin' also in outages.
        error: By how much the twin's anatomy is off [m].
        begin_ns: When the trial begins [ns].
    """

    def __init__(self, config: TrialConfig, start: Vector, mode: str, error: Vector, begin_ns: int) -> None:
        self._config, self._mode, self._error, self._begin_ns = config, mode, error, begin_ns
        self._task = config.task.parameters()
        self.leader = Leader(config.leader, start)
        board = HalfSpace((0.0, 0.0, -0.5 * config.task.press), (0.0, 0.0, 1.0))
        self.fixture = FixtureRenderer(config.fixture, [board])
        self._hand = start
        self._twin, self._scene = new_task(), new_task()
        self._log: dict[int, tuple[bool, Vector]] = {}  # the twin's object by the leader's time
        self._said: dict[int, Vector] = {}
        self._heard: FollowerState | None = None
        self._heard_ns = 0
        self._asked_ns = -_OFTEN_NS
        self._waits_ns: int | None = None
        self._begun = self._opens = False
        self._alone_ns = 0  # leader's time when he last worked in the twin alone

    def twin_at(self, played_ns: int) -> Vector | None:
        """Return where the twin had the object at a leader's time [ns], None where that is not known."""
        then = self._log.get(played_ns // STEP_NS)
        return then[1] if then is not None else None

    def lead(self, hand: Array, now_ns: int, here_ns: int) -> None:
        """Make the command of now, with what the fixtures do to the hand and what the operator asks for.

        Args:
            hand: State of the operator, changed where a fixture pushes him, shape (39,).
            now_ns: True time [ns].
            here_ns: Leader's clock [ns].
        """
        self._feel(hand)
        if self._opens:
            hand[JAW], self._opens = 1.0, False
        made = self.leader.command(here_ns, vector(hand, COMMAND), jaw=float(hand[JAW]))
        self._ask(now_ns)
        task_step(self._twin, self._task, *self.leader.predicted(), made.jaw, 1.0)
        self._said[made.stamp_ns // STEP_NS] = made.position
        self._log[made.stamp_ns // STEP_NS] = (bool(self._twin[CARRY] > 0.5), object_at(self._twin))

    def order(self, share: int, queue_s: float) -> Order:
        """Return the datagram of now.

        Args:
            share: How many commands it may carry.
            queue_s: Standing queue on the way back [s].
        """
        lossy = self._heard is None or self._heard.loss > 0.001
        live, backlog = self.leader.packet(min(share, _MOST_COPIES if lossy else _COPIES))
        rest = share - len(live)
        return Order(live, backlog[-rest:] if rest > 0 else (), queue_s)

    def _feel(self, hand: Array) -> None:
        """Push the hand out of the fixtures; the arm gives way like a damper."""
        tip, here, before = self.leader.predicted(), vector(hand, HAND), self._hand
        velocity = ((here[0] - before[0]) / STEP, (here[1] - before[1]) / STEP, (here[2] - before[2]) / STEP)
        self._hand = here
        if tip[2] < 0.0 or self.fixture.observer.energy < 0.0:
            force = self.fixture.force(tip, velocity, STEP)
            for axis in range(3):
                push = STEP * force[axis] / _HAND_DAMPING
                hand[HAND + axis] += push
                hand[COMMAND + axis] += push

    def _ask(self, now_ns: int) -> None:
        """Press resume some time after he has seen that the robot waits for it."""
        state = self._heard
        seen = state is not None and now_ns - self._heard_ns < _SEEN_NS
        if state is None or not seen or state.mode not in (Mode.HOLD, Mode.OUTAGE):
            self._waits_ns = None
            return
        if self._waits_ns is None:
            if state.mode == Mode.OUTAGE:
                return
            self._waits_ns = now_ns
        pause_ns = round((self._config.operator.reaction + self._config.operator.ask) * NANOSECONDS)
        if now_ns - self._waits_ns >= pause_ns and now_ns - self._asked_ns >= _ASK_AGAIN_NS:
            self._request(state, now_ns)

    def _request(self, state: FollowerState, now_ns: int) -> None:
        """Ask for what fits: to follow where the link comes and goes, to discard where twin and reality have parted."""
        alone = self._config.assisted and self._went_alone(state)
        if alone:
            self.leader.rebase(state.position)
            self._opens = bool(self._scene[CARRY] < 0.5)  # he opens his hand where the robot has let go
        often = now_ns - self._asked_ns < _OFTEN_NS
        self._asked_ns = now_ns
        if self._mode == 'twin' and (self._begun or often) and self._same(state) and not alone:
            self.leader.request('follow' if often else 'replay')
        else:
            self.leader.request('discard')
            self._twin[:] = self._scene

    def _went_alone(self, state: FollowerState) -> bool:
        """Whether the robot is not where the commands that it has reached would have it."""
        said = self._said.get(state.played_ns // STEP_NS)
        return said is not None and distance(said, state.position) > MOVED_ALONE

    def _same(self, state: FollowerState) -> bool:
        """Whether the twin, at what the robot has reached, agrees with what is seen there."""
        then = self._log.get(state.played_ns // STEP_NS)
        if then is None:
            return True
        divergence = self._config.follower.divergence
        near = distance(then[1], object_at(self._scene)) <= divergence.agree_share * divergence.tolerance
        return near and then[0] == (self._scene[CARRY] > 0.5)  # else the follower would refuse it, or stop

    def hear(self, report: Report, now_ns: int) -> bool:
        """Take in what comes back; return whether it is newer than what was known."""
        if self._heard is not None and report.state.stamp_ns <= self._heard.stamp_ns:
            return False
        self._heard, self._scene, self._heard_ns = report.state, report.scene, now_ns
        self._begun = self._begun or report.state.mode in _FOLLOWS
        return True

    def show(self, row: Array, now_ns: int, here_ns: int, *, came: bool) -> None:
        """Fill in what his mode lets him see.

        Args:
            row: The picture of now, that of before at first, shape (11,).
            now_ns: True time [ns].
            here_ns: Leader's clock [ns].
            came: Whether something has come back in this step.
        """
        if came and self._heard is not None:
            self.leader.feedback(self._heard, here_ns)
        follows = self._heard is not None and self._heard.mode in _FOLLOWS
        if self._mode == 'bridge':
            self._show_real(row, now_ns, here_ns, follows)
        else:
            self._show_twin(row, now_ns, here_ns, follows and now_ns - self._heard_ns < _FRESH_NS)

    def _show_real(self, row: Array, now_ns: int, here_ns: int, follows: bool) -> None:
        state = self._heard
        row[VIEW_READY] = float(follows or not self._begun)
        if state is None:
            return
        row[VIEW_TIP : VIEW_TIP + 3] = state.position
        if state.played_ns:
            row[VIEW_STAMP] = (now_ns - self._begin_ns - (here_ns - state.played_ns)) / NANOSECONDS
        scene = self._scene
        row[VIEW_CARRY], row[VIEW_PLACED], row[VIEW_CLOSED] = scene[CARRY], scene[PLACED], scene[CLOSED]
        row[VIEW_OBJ : VIEW_OBJ + 3] = scene[OBJ : OBJ + 3]

    def _show_twin(self, row: Array, now_ns: int, here_ns: int, linked: bool) -> None:
        """Show the predicted robot; objects as the twin has them, made real by what comes back.

        What he did in the twin stays on the screen until the picture of it has come: an older one would let him do it
        again.
        """
        alone = self._mode == 'twin' and not linked and self._begun
        row[VIEW_READY] = float(linked or alone or not self._begun)
        row[VIEW_TIP : VIEW_TIP + 3] = self.leader.predicted()
        row[VIEW_STAMP] = (now_ns - self._begin_ns) / NANOSECONDS
        if alone:
            self._alone_ns = here_ns
        else:
            self._make_real()
        shown = self._heard.played_ns if self._heard is not None else 0
        source = self._twin if alone or shown < self._alone_ns else self._scene
        row[VIEW_CARRY], row[VIEW_PLACED], row[VIEW_CLOSED] = source[CARRY], source[PLACED], source[CLOSED]
        at = object_at(self._twin if self._twin[CARRY] > 0.5 else source)
        for axis in range(3):
            row[VIEW_OBJ + axis] = at[axis] + self._error[axis]

    def _make_real(self) -> None:
        """Correct the twin's object where the picture of what it did has come back and says otherwise."""
        if self._heard is None or not self._heard.played_ns:
            return
        twin, scene, played_ns = self._twin, self._scene, self._heard.played_ns
        held = bool(scene[CARRY] > 0.5)
        # for some time, too: the robot takes an object a few ticks before or after the twin did
        then = [self._log.get((played_ns - before_ns) // STEP_NS) for before_ns in (0, _DISAGREES_NS)]
        if any(each is None or each[0] == held for each in then):
            if twin[CARRY] < 0.5 and scene[CARRY] < 0.5:
                twin[OBJ : OBJ + 3] = scene[OBJ : OBJ + 3]
                twin[PLACED] = scene[PLACED]
            return
        twin[CARRY], twin[PLACED] = scene[CARRY], scene[PLACED]
        twin[OBJ : OBJ + 3] = scene[OBJ : OBJ + 3]


def vector(state: Array, at: int) -> Vector:
    """Return three numbers of a state."""
    return float(state[at]), float(state[at + 1]), float(state[at + 2])
