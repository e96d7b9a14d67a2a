"""Deforming live: tools that hold, sensors inside and clouds of the surface in; nodes, targets and surfaces out."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from twin_nodes.core.anatomy.carving_volume import CarvedVolume
from twin_nodes.core.anatomy.learning import StiffnessNews
from twin_nodes.core.anatomy.nonrigid.tracker import Deformation
from twin_nodes.core.anatomy.session import AnatomySession
from twin_nodes.core.anatomy.session_body import Body
from twin_nodes.core.anatomy.session_config import LiveDeformingConfig
from twin_nodes.core.anatomy.session_feed import Outcome, Refused, Resected, SessionFeed, Turn
from twin_nodes.core.anatomy.session_frame import Frame
from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.geometry.se3 import Array
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.carved_tissue import CarvedTissue
from twin_nodes.ros.deforming_input import DeformingInput, force_stream
from twin_nodes.ros.deforming_output import DeformingOutput
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.jumps import on_jump_back
from twin_nodes.ros.live_learning import LiveLearning
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.prompt_process import hurried
from twin_nodes.ros.silence import ReplaySilence

_REFRESH_NS = NANOSECONDS  # errors grow also where nothing moves
_DRILL = '\0drill'  # no tool can have this name
_REPLAY_WATCH_S = 0.5


class LiveDeforming:
    """Connects the streams to one `AnatomySession`, and its frames to topics.

    Live, a frame is made at `rate` while anything changes, else each second; the solver has its budget. In replay the
    stamps decide.

    Args:
        node: The node that it is part of.
        health: Its health.
        config: Settings.
        frame: Frame of the anatomy.
        body: What deforms.
        targets: Where the targets are at rest [m] (3,), by name.
        surfaces: The structures.
        markers: Their markers, in the same order.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        config: LiveDeformingConfig,
        frame: str,
        body: Body,
        targets: Mapping[str, Array],
        surfaces: list[Surface],
        markers: list[Marker],
    ) -> None:
        self._node, self._health, self._config = node, health, config
        self._replay, self._surfaces = is_replay(node), surfaces
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        places = np.array(config.sensor_places, float).reshape(-1, 3)
        self.session = AnatomySession(
            body, np.array(list(targets.values()), float).reshape(-1, 3),
            dict(zip(config.sensors, places, strict=True)), config.session, replay=self._replay, pushers=config.pushers,
            learning=config.learning if config.learning.enabled else None,
        )  # fmt: skip
        forces = map(force_stream, config.learning.forces if config.learning.enabled else ())
        self.feed = SessionFeed(
            self.session, (*config.tools, *config.sensors, *forces), period_ns=round(NANOSECONDS / config.rate),
            event_wait_ns=round(config.event_wait * NANOSECONDS), max_age_ns=round(config.max_age * NANOSECONDS),
            ordered=self._replay,
        )  # fmt: skip
        self.output = DeformingOutput(node, health, config, frame, body, tuple(targets), surfaces, markers)
        self.output.first(self.feed.frame())
        self._silence = ReplaySilence(node, _REPLAY_WATCH_S)
        self._silence.follow(*(f'{name}/filtered_cp' for name in (*config.tools, *config.sensors, config.patient)))
        self.input = DeformingInput(
            node, health, config, frame, self.feed, self._handle, self._on_registered, self._silence.hear
        )  # fmt: skip
        self._framed_ns = self._stamp_ns = 0
        self._joined: tuple[str, ...] = ()
        self.drill_is_over: Callable[[], bool] = lambda: True  # in replay; lets go what the drill holds back
        self.learning: LiveLearning | None = None
        self._service = node.create_service(Trigger, 'anatomy/reset_deformation', self._on_reset)
        self._jump = on_jump_back(node, self._on_jump)
        self._timer = node.create_timer(
            _REPLAY_WATCH_S if self._replay else 1.0 / config.rate, self._on_timer, clock=self._steady
        )  # fmt: skip

    def tissue(self, volume: CarvedVolume) -> CarvedTissue:
        """Return what a drill that carves this body has to do with it."""
        session, output = self.session, self.output

        def carve(share: Array) -> None:
            session.carve(share)
            self.feed.is_changed = True

        if self._replay:
            self.feed.join(_DRILL)
            self._joined = (_DRILL,)
        return CarvedTissue(
            session.body.model.mesh, volume, self._surfaces, output.surfaces,
            lambda: (session.positions, session.sigma), carve, self._in_turn,
        )  # fmt: skip

    def _in_turn(self, stamp_ns: int, act: Callable[[], None]) -> None:
        """Let a drill act on the body as it is at a stamp: in replay when all others have come so far, else at once."""
        if self._replay:
            self._handle(self.feed.add(_DRILL, stamp_ns, Turn(act)))
        else:
            act()

    def learn(self, names: Mapping[str, str], write: Callable[[StiffnessNews], str]) -> None:
        """Begin to learn stiffness; arguments as `LiveLearning`."""
        at_end = self._config.learning.write_at_end
        self.learning = LiveLearning(self._node, self._health, self.session, names, write, write_at_end=at_end)
        self.feed.before = self.learning.before

    def close(self) -> None:
        """End the threads of the solvers."""
        if self.learning is not None:
            self.learning.close()
        self.session.close()

    def _handle(self, outcomes: list[Outcome]) -> None:
        for item in outcomes:
            if isinstance(item, Frame):
                self.output.frame(item)
            elif isinstance(item, Deformation):
                self._say_observed(item)
            elif isinstance(item, Resected):
                self.output.cut(self.session.left, item.plane.normal, item.plane.offset, item.positions)
                self._say_resected(item)
            else:
                self._say_refused(item)

    def _say_resected(self, item: Resected) -> None:
        left = self.session.left
        text, values = f'{1e6 * item.volume:.2f} cm³ taken away', {'gone_cm3': 1e6 * left.volume}
        for what, loose in (('went too, hanging by no face', item.crumbs), ('stay, fixed by nothing', left.loose)):
            if loose.parts:
                text += f'; {loose.parts} pieces of {1e6 * loose.volume:.2f} cm³ {what}'
        self._health.set('resection', OK, 'OK', text, values)

    def _say_refused(self, item: Refused) -> None:
        self._health.warn(item.code or 'OBSERVED_REFUSED', f'{item.what}: {item.reason}')
        if item.code != 'OUT_OF_ORDER':
            self._health.set(item.what, WARN, item.code, item.reason)

    def _say_observed(self, found: Deformation) -> None:
        values = {
            'rms_mm': 1e3 * found.rms,
            'inliers_percent': 100.0 * found.inlier_share,
            'steps': found.iterations,
            'amplitude': found.amplitude,
        }
        good = not found.reasons
        message = f'RMS {1e3 * found.rms:.2f} mm' if good else '; '.join(found.reasons)
        self._health.set('observed', OK if good else WARN, 'OK' if good else 'OBSERVED_DOUBTFUL', message, values)

    def _on_timer(self) -> None:
        self.input.watch()
        if self._replay:
            self._silence.tick()
            if self._silence.has_ended and (self._is_over_for_all() or self._silence.is_long):
                self._end()
            return
        began = self._now_ns()
        if self.feed.is_changed or (began - self._framed_ns > _REFRESH_NS and self.session.stamp_ns > self._stamp_ns):
            self._framed_ns, self._stamp_ns = began, self.session.stamp_ns
            with hurried() if self._config.realtime else nullcontext():
                frame = self.feed.frame(partial(self._is_over, began + round(self._config.budget * NANOSECONDS)))
            self.output.frame(frame, took_ms=(self._now_ns() - began) / 1e6)
        self.output.due(self._now_ns())

    def _is_over_for_all(self) -> bool:
        """Whether all that was heard has come to its place, and to its turn but for streams that have ended."""
        done = self.input.finish()
        return self.drill_is_over() and done

    def _end(self) -> None:
        """Let go what waited for streams of a replay that have ended."""
        if self.feed.waits:
            self._handle(self.input.give_up())
            for stream in self._joined:
                self._handle(self.feed.give_up(stream))
        self.output.end()

    def _now_ns(self) -> int:
        return int(self._steady.now().nanoseconds)

    def _is_over(self, deadline_ns: int) -> bool:
        return self._now_ns() > deadline_ns

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.start_again('asked for')
        response.success, response.message = True, 'the anatomy lies as in the scan'
        return response

    def start_again(self, reason: str, *, keep_cuts: bool = False) -> None:
        """Begin anew from the scan; see `AnatomySession.reset`."""
        self.feed.reset(keep_cuts=keep_cuts)
        self._framed_ns = self._stamp_ns = 0
        self._health.set('observed', OK, 'OK', f'began anew: {reason}')
        for check in (*(f'grasp {tool}' for tool in self._config.tools), 'pressure', 'resection'):
            self._health.clear(check)
        self.output.leave(self.session.left)
        if not keep_cuts:
            self.output.heal()
        self.output.first(self.feed.frame())

    def _on_registered(self, reason: str) -> None:
        self.start_again(reason, keep_cuts=True)

    def _on_jump(self) -> None:
        self._health.count('CLOCK_JUMP')
        self.input.reset()
        if self.learning is not None:
            self.learning.reset()
        self.start_again('the clock jumped back')
