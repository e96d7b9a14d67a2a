"""The time line of alarms: a strip where shape, height and colour tell the level, and the list under it."""

from dataclasses import dataclass
from html import escape

from twin_nodes.app.view.panel import CSS, duration, event_rows, section
from twin_nodes.app.view.picture import Picture
from twin_nodes.app.view.records import Event, Level
from twin_nodes.app.view.style import LEVELS

SIZE = (360, 64)
SPANS_S = (60, 300, 900, 3600, 4 * 3600)
_MARGIN = 8
_ROWS = {Level.OK: 3, Level.STALE: 2, Level.WARN: 1, Level.ERROR: 0}  # the worst on top
_ROW_HEIGHT = 12


@dataclass(frozen=True)
class Extent:
    """The span that the strip shows [ns], where in it the page is, and whether it is that of a recording."""

    start_ns: int
    end_ns: int
    cursor_ns: int
    recorded: bool = False


def timeline_html(picture: Picture, extent: Extent | None = None, events: tuple[Event, ...] | None = None) -> str:
    """Return strip and list, newest first.

    Args:
        picture: Its events, and now.
        extent: The span, as of a recording; when None the shortest round one up to now that holds all events.
        events: Other events than those of the picture, as of a whole recording.
    """
    events = picture.events if events is None else events
    if extent is None:
        extent = recent(picture)
        rows = event_rows(events, lambda event: f'{duration((picture.moment.ros_ns - event.stamp_ns) / 1e9)} ago')
    else:
        start_ns = extent.start_ns
        rows = event_rows(events, lambda event: clock_text((event.stamp_ns - start_ns) / 1e9))
    body = section('Events, newest first', rows, 'nothing so far')
    return f'{CSS}<div class="tw" data-view="events">{strip(events, extent)}{body}</div>'


def recent(picture: Picture) -> Extent:
    """The last minutes, as many as it takes to hold all events."""
    now_ns = picture.moment.ros_ns
    oldest = min((event.stamp_ns for event in picture.events), default=now_ns)
    wanted = (now_ns - oldest) / 1e9
    span_s = next((span for span in SPANS_S if span >= wanted), SPANS_S[-1])
    return Extent(now_ns - span_s * 10**9, now_ns, now_ns)


def strip(events: tuple[Event, ...], extent: Extent, size: tuple[int, int] = SIZE) -> str:
    """Return the strip as SVG: one row per level, the worst on top, a sign for each event, a line where the page is."""
    width, height = size
    span_ns = max(extent.end_ns - extent.start_ns, 1)

    def place(stamp_ns: int) -> float:
        share = (stamp_ns - extent.start_ns) / span_ns
        return _MARGIN + (width - 2 * _MARGIN) * share

    marks = [
        f'<text x="{place(event.stamp_ns):.1f}" y="{_row(event.level):.0f}" text-anchor="middle" font-size="11" '
        f'fill="{LEVELS[event.level].css}"><title>{escape(event.text)}</title>{LEVELS[event.level].sign}</text>'
        for event in events
        if extent.start_ns <= event.stamp_ns <= extent.end_ns
    ]
    x = place(extent.cursor_ns)
    base = height - 13
    return (
        f'<svg data-view="strip" viewBox="0 0 {width} {height}" width="100%" role="img" '
        f'aria-label="time line of {len(marks)} events">'
        f'<line x1="{_MARGIN}" x2="{width - _MARGIN}" y1="{base}" y2="{base}" stroke="#7a8494"/>'
        f'{"".join(marks)}<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{base}" stroke="#5ac8fa" stroke-width="1.5"/>'
        f'{_tick(_MARGIN, height, "start", _since(extent.start_ns, extent))}'
        f'{_tick(width - _MARGIN, height, "end", _since(extent.end_ns, extent))}</svg>'
    )


def _row(level: Level) -> float:
    return 11.0 + _ROW_HEIGHT * _ROWS[level]


def _tick(x: float, height: int, anchor: str, text: str) -> str:
    return (
        f'<text x="{x:.0f}" y="{height - 2}" text-anchor="{anchor}" font-size="10" fill="currentColor" '
        f'opacity=".7">{escape(text)}</text>'
    )


def _since(stamp_ns: int, extent: Extent) -> str:
    """A time before now; of a recording, after its start."""
    if not extent.recorded:
        ago = (extent.end_ns - stamp_ns) / 1e9
        return 'now' if ago < 1.0 else f'{ago / 60:.0f} min ago' if ago < 7200 else f'{ago / 3600:.0f} h ago'
    return clock_text((stamp_ns - extent.start_ns) / 1e9)


def clock_text(seconds: float) -> str:
    """Write a time in a recording: 1:02.3, 1:05:07.0."""
    minutes, rest = divmod(max(seconds, 0.0), 60.0)
    hours, minutes = divmod(int(minutes), 60)
    return f'{hours}:{minutes:02d}:{rest:04.1f}' if hours else f'{minutes}:{rest:04.1f}'
