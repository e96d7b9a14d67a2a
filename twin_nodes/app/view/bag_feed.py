"""Feeds the view from a bag, from any place in it: no nodes, no DDS."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from tf2_msgs.msg import TFMessage

from twin_nodes.app.bag_poses import poses_of, stamp_of
from twin_nodes.app.view.config import ViewConfig
from twin_nodes.app.view.feed import Input, ViewFeed
from twin_nodes.app.view.foreign import edge_of, foreign_poses
from twin_nodes.app.view.picture import Picture
from twin_nodes.app.view.records import Event, Moment
from twin_nodes.core.errors import InputError
from twin_nodes.io.bags.part import BagMessage
from twin_nodes.io.bags.reader import BagReader

WARM_NS = 3_000_000_000  # what streams is read from so long before the place: poses, trail, diagnostics
WARM_STEP_NS = 100_000_000
TRUSTED_NS = 1_000_000_000  # stamps and log times that differ by more are of different clocks
_OFFSET_SAMPLES = 50
_TF, _TF_STATIC = '/tf', '/tf_static'
_MAX_EVENTS = 200


class BagFeed:
    """Reads a bag into pictures.

    Args:
        reader: The bag.
        config: What is shown.
    """

    def __init__(self, reader: BagReader, config: ViewConfig) -> None:
        self._poses = foreign_poses(reader, config.tools)
        self._reader, self._config = reader, config
        self._feed = ViewFeed(config)
        self._offset_ns: int | None = None
        inputs = self._match(self._feed)
        self._inputs = {name: one for name, one in inputs.items() if name in reader.topics}
        self._tf = {name for name in (_TF, _TF_STATIC) if name in reader.topics}
        self._states = {name for name in self._inputs if _is_state(reader, name)}
        self._events = {name for name in self._states if name.endswith('/events')}
        self._times = self._index(self._states)
        self._offset_ns = self._clock_offset()
        self._ahead: Iterator[BagMessage] = iter(())
        self._next: BagMessage | None = None
        self.position_ns = reader.start_ns
        self.seek(reader.start_ns)

    @property
    def topics(self) -> set[str]:
        """The topics of the bag that are shown."""
        return {*self._inputs, *self._tf, *self._poses}

    def seek(self, position_ns: int) -> None:
        """Go to a place: what was latched before it, and what streamed just before it."""
        self._feed.restart()
        for message in self._latched(position_ns):
            self._take(message)
        streams = {name for name in self.topics if name not in self._states and name != _TF_STATIC}
        step_ns = position_ns - WARM_NS
        for message in self._reader.messages(streams, since_ns=position_ns - WARM_NS, until_ns=position_ns):
            if message.log_time_ns > step_ns + WARM_STEP_NS:
                self._feed.picture(self._moment(message.log_time_ns))  # so that the trail has a past
                step_ns = message.log_time_ns
            self._take(message)
        self._ahead = self._reader.messages(self.topics, since_ns=position_ns + 1)
        self._next = next(self._ahead, None)
        self.position_ns = position_ns

    def advance(self, position_ns: int, *, budget_s: float = 0.1) -> int:
        """Take all messages up to a place, for no longer than the budget; return the place that was reached."""
        end = time.monotonic() + budget_s
        while self._next is not None and self._next.log_time_ns <= position_ns:
            if time.monotonic() > end:
                self.position_ns = max(self.position_ns, self._next.log_time_ns)
                return self.position_ns
            self._take(self._next)
            self._next = next(self._ahead, None)
        self.position_ns = position_ns
        return position_ns

    def picture(self) -> Picture:
        """Return the picture of where it is."""
        return self._feed.picture(self._moment(self.position_ns))

    def ros_ns(self, log_ns: int) -> int:
        """The time on the clock of the stamps at a log time."""
        return log_ns - (self._offset_ns or 0)

    def all_events(self, stop: threading.Event | None = None) -> tuple[Event, ...]:
        """Read the events of the whole bag, the newest 200, newest first; fewer when it is stopped."""
        feed = ViewFeed(dataclasses.replace(self._config, alarm_count=_MAX_EVENTS))
        inputs = self._match(feed)
        told = {name for name in self._inputs if name in self._events or name.endswith(('/diagnostics', 'link/state'))}
        moment = self._moment(self._reader.start_ns)
        for message in self._reader.messages(told):
            if stop is not None and stop.is_set():
                break
            moment = self._moment(message.log_time_ns)
            self._hand_over(inputs[message.topic], message, moment, feed)
        return feed.state.picture(moment).events

    def _match(self, feed: ViewFeed) -> dict[str, Input]:
        """Inputs by their full names in the bag, in the namespace that the guided tool was recorded in."""
        site = f'/{self._config.sites[0]}' if self._config.sites else ''
        ending = f'{site}/{self._config.tools[0]}/{"measured_cp" if site else "filtered_cp"}'
        prefix = next((name.removesuffix(ending) for name in self._reader.topics if name.endswith(ending)), '')
        return {one.topic if one.topic.startswith('/') else f'{prefix}/{one.topic}': one for one in feed.inputs}

    def _index(self, topics: set[str]) -> dict[str, np.ndarray]:
        """Log times of what is latched, by topic."""
        times: dict[str, list[int]] = {name: [] for name in topics}
        for message in self._reader.messages(topics) if topics else ():
            times[message.topic].append(message.log_time_ns)
        return {name: np.array(found, np.int64) for name, found in times.items()}

    def _latched(self, position_ns: int) -> list[BagMessage]:
        """The last of each latched topic up to a place, all events, and all fixed frames, in their order."""
        found: list[BagMessage] = []
        whole = {*self._events, *(self._tf & {_TF_STATIC})}
        if whole:
            found += self._reader.messages(whole, until_ns=position_ns)
        for name in self._states - self._events:
            times = self._times[name]
            last = int(np.searchsorted(times, position_ns, side='right')) - 1
            if last >= 0:
                at = int(times[last])
                found += list(self._reader.messages({name}, since_ns=at, until_ns=at))[-1:]
        return sorted(found, key=lambda message: message.log_time_ns)

    def _clock_offset(self) -> int:
        """How far log times are ahead of stamps, 0 where they are of one clock."""
        streams = {name for name in self._inputs if name.endswith('filtered_cp')} or set(self._poses)
        offsets: list[int] = []
        for message in self._reader.messages(streams) if streams else ():
            offsets.append(message.log_time_ns - stamp_of(self._reader.decode(message)))
            if len(offsets) >= _OFFSET_SAMPLES:
                break
        offset_ns = int(np.median(offsets)) if offsets else 0
        return offset_ns if abs(offset_ns) > TRUSTED_NS else 0

    def _moment(self, log_ns: int) -> Moment:
        return Moment(self.ros_ns(log_ns), log_ns)

    def _take(self, message: BagMessage) -> None:
        if message.topic in self._tf:
            record: Any = self._reader.decode(message)
            self._feed.on_tf(record, static=message.topic == _TF_STATIC)
            return
        if message.topic in self._poses:
            self._take_pose(message)
            return
        self._hand_over(self._inputs[message.topic], message, self._moment(message.log_time_ns), self._feed)

    def _take_pose(self, message: BagMessage) -> None:
        for pose in poses_of(message.topic, message.type_name, self._reader.decode(message)):
            edge = edge_of(pose, self._poses[message.topic])
            if edge is None:
                self._feed.state.count_dropped()
            else:
                self._feed.on_tf(TFMessage(transforms=[edge]), static=False)

    def _hand_over(self, one: Input, message: BagMessage, moment: Moment, feed: ViewFeed) -> None:
        try:
            one.take(message.data if one.raw else self._reader.decode(message), moment)
        except InputError:
            feed.state.count_dropped()


def _is_state(reader: BagReader, name: str) -> bool:
    return any(qos.latched for qos in reader.topics[name].qos) or name.endswith('/events')
