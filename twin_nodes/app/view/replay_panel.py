"""The scrubber: a window under the scene with the time line of the bag, pause, speed and steps."""

from __future__ import annotations

import bisect
from typing import Any

from twin_nodes.app.view.panel import CSS
from twin_nodes.app.view.playback import Playback
from twin_nodes.app.view.records import Event, Level
from twin_nodes.app.view.timeline import Extent, clock_text, strip

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_START, _BACK, _PLAY, _ON, _ALARM, _SLOWER, _FASTER = (
    'start', '−5 s', 'play/pause', '+5 s', 'next alarm', 'slower', 'faster',
)  # fmt: skip
STEP_S = 5.0
BEFORE_ALARM_S = 1.0
WIDTH, LEFT, BOTTOM = 640, 15, -15
HEIGHT = 205  # of the window with its margin, as browsers draw it
STRIP = (600, 64)
PUSH_PERIOD_NS = 200_000_000
_SETTLE_NS = 700_000_000  # after a hand was on the slider it is left alone


class ReplayPanel:
    """Controls of a playback; any browser may use them, all see the same place.

    Args:
        gui: The viser GUI.
        playback: What they move.
    """

    def __init__(self, gui: Any, playback: Playback) -> None:
        self._playback = playback
        self._asked: list[tuple[str, float]] = []  # appended by the threads of the browsers, taken when drawn
        self._alarms: list[float] = []
        self._pushed_ns = self._touched_ns = 0
        panel = gui.add_panel()
        panel.float(x=LEFT, y=BOTTOM, width=WIDTH)
        with panel.add_tab('Replay'):
            self._strip = gui.add_html('')
            last = max(round(playback.duration_s, 2), 0.01)
            self._slider = gui.add_slider('time [s]', min=0.0, max=last, step=0.01, initial_value=0.0)
            self._buttons = gui.add_button_group('', (_START, _BACK, _PLAY, _ON, _ALARM, _SLOWER, _FASTER))
        self._slider.on_update(self._on_slider)
        self._buttons.on_click(self._on_button)

    def set_events(self, events: tuple[Event, ...], start_ns: int) -> None:
        """Tell the alarms of the whole bag, for stepping; start on the clock of their stamps."""
        bad = (event for event in events if event.level in (Level.WARN, Level.ERROR))
        self._alarms = sorted((event.stamp_ns - start_ns) / 1e9 for event in bad)

    def apply(self, now_ns: int) -> bool:
        """Do what was asked for since the last time; returns whether the place has jumped."""
        jumped = False
        while self._asked:
            what, value = self._asked.pop(0)
            if what == 'speed':
                self._playback.set_rate(value)
            elif what == 'toggle':
                at_end = self._playback.position_ns >= self._playback.end_ns
                self._playback.toggle()
                jumped = jumped or at_end
            else:
                self._playback.seek(value)
                self._touched_ns, jumped = now_ns, True
        return jumped

    def show(self, events: tuple[Event, ...], extent: Extent, now_ns: int) -> None:
        """Show where the page is, a few times a second."""
        if now_ns - self._pushed_ns < PUSH_PERIOD_NS:
            return
        self._pushed_ns = now_ns
        playback = self._playback
        state = '▶ playing' if playback.playing else 'Ⅱ paused'
        where = f'{state} ×{playback.rate:g} · {clock_text(playback.seconds)} of {clock_text(playback.duration_s)}'
        self._strip.content = (
            f'{CSS}<div class="tw" data-view="replay"><b>{where}</b>{strip(events, extent, STRIP)}</div>'
        )
        if now_ns - self._touched_ns > _SETTLE_NS:
            self._slider.value = min(round(playback.seconds, 2), self._slider.max)

    def _on_slider(self, event: Any) -> None:
        if event.client_id is not None:  # else it was moved from here
            self._asked.append(('seek', float(self._slider.value)))

    def _on_button(self, _event: Any) -> None:
        name, here = self._buttons.value, self._playback.seconds
        if name == _PLAY:
            self._asked.append(('toggle', 0.0))
        elif name in (_SLOWER, _FASTER):
            self._asked.append(('speed', next_speed(self._playback.rate, faster=name == _FASTER)))
        elif name == _ALARM:
            following = bisect.bisect_right(self._alarms, here + BEFORE_ALARM_S + 0.05)
            if following < len(self._alarms):
                self._asked.append(('seek', self._alarms[following] - BEFORE_ALARM_S))
        else:
            self._asked.append(('seek', {_START: 0.0, _BACK: here - STEP_S, _ON: here + STEP_S}[name]))


def next_speed(rate: float, *, faster: bool) -> float:
    """Return the next speed on the list, the same at its ends."""
    if faster:
        return next((speed for speed in SPEEDS if speed > rate * 1.001), rate)
    return next((speed for speed in reversed(SPEEDS) if speed < rate * 0.999), rate)
