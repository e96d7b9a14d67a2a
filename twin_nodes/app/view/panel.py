"""The panel as HTML: pure functions from a picture to text. Every word from a message is escaped."""

from collections.abc import Callable, Iterable
from html import escape

from twin_nodes.app.view.picture import DistancePicture, LinkPicture, Picture, SiteTool, SubsystemPicture, ToolPicture
from twin_nodes.app.view.records import Event, Level
from twin_nodes.app.view.style import LEVELS, TARGET_SIGN, ZONES, Look
from twin_nodes.core.guidance.zones import Zone

RECENT_EVENTS = 3
CSS = (
    '<style>'
    '.tw{font:12px/1.35 system-ui,sans-serif;font-variant-numeric:tabular-nums;padding:2px 10px 6px}'
    '.tw h4{margin:9px 0 3px;font-size:11px;letter-spacing:.03em;opacity:.6;font-weight:600}'
    '.tw table{width:100%;border-collapse:collapse}'
    '.tw td{padding:2px 0;vertical-align:baseline;border-top:1px solid rgba(128,140,160,.16)}'
    '.tw tr:first-child td{border-top:0}'
    '.tw .n{text-align:right;white-space:nowrap;padding-left:8px}'
    '.tw .w{width:1%;white-space:nowrap;padding-right:8px}'
    '.tw .d{opacity:.62;font-size:11px}'
    '.tw .big{font-size:15px;font-weight:650}'
    '.tw .lost{opacity:.55}'
    '</style>'
)


def live_html(picture: Picture) -> str:
    """Return the panel that is always in sight: distances, subsystems, tools and the last events."""
    return ''.join(
        [
            CSS,
            '<div class="tw" data-view="live">',
            *_room_or_sites(picture),
            section('Subsystems', [_subsystem(line) for line in picture.subsystems], ''),
            section('Last events', _recent(picture), 'nothing so far'),
            _footer(picture),
            '</div>',
        ]
    )


def _room_or_sites(picture: Picture) -> list[str]:
    if not picture.sites:
        return [
            section('Distance to structures', [_distance(row) for row in picture.distances], 'no anatomy yet'),
            section('Tools', [_tool(tool) for tool in _bodies(picture)], ''),
        ]
    return [section(f'Site {site.name}', [_site_tool(tool) for tool in site.tools], '') for site in picture.sites]


def _site_tool(tool: SiteTool) -> str:
    """An arm at a site: whether it lives, its mode, and how old what is seen of it is."""
    look = LEVELS[Level.OK if tool.live and tool.seen_live else Level.ERROR]
    word = ('twin' if tool.is_twin else 'robot') if tool.live else 'LOST'
    delay = '–' if tool.delay_s is None else f'{"seen " if tool.is_twin else ""}{duration(tool.delay_s)} ago'
    gap = f'<div class="d">{millimetres(tool.gap)} mm behind the twin</div>' if tool.gap is not None else ''
    mode = f'<div class="d">{escape(tool.mode)}</div>' if tool.mode else ''
    return (
        f'<td class="w"><span style="color:{look.css}">{look.sign} {word}</span></td><td>{escape(tool.name)}{mode}</td>'
        f'<td class="n" data-tool="{escape(tool.name)}">{delay}{gap}</td>'
    )


def errors_html(picture: Picture) -> str:
    """Return what is known of errors: each link of the chain, and each target."""
    targets = [
        f'<td>{TARGET_SIGN} {escape(target.name)}</td><td class="n">{millimetres(target.sigma, 2)} mm</td>'
        for target in picture.overlays.targets
    ]
    parts = [section('Error of each link, at the tip (1σ)', [_link(link) for link in picture.links], 'none known yet')]
    parts += [section('Error of each target (1σ); the ellipsoids hold 95 %', targets, '')] if targets else []
    return f'{CSS}<div class="tw" data-view="errors">{"".join(parts)}</div>'


def millimetres(metres: float, digits: int = 1) -> str:
    """Write metres as millimetres, without a minus on zero."""
    text = f'{metres * 1e3:.{digits}f}'
    return text.lstrip('-') if float(text) == 0.0 else text.replace('-', '−')


def distance_text(row: DistancePicture) -> str:
    """Write a distance with its sigma and unit, or why there is none."""
    if row.row is None:
        return row.reason
    return f'{millimetres(row.row.distance)} mm ± {millimetres(row.row.sigma)}'


def duration(seconds: float) -> str:
    """Write an age shortly: 12 ms, 3.4 s, 5 min."""
    if abs(seconds) < 0.9995:
        return f'{seconds * 1e3:.0f} ms'
    if abs(seconds) < 99.95:
        return f'{seconds:.1f} s'
    return f'{seconds / 60:.0f} min' if abs(seconds) < 7200 else f'{seconds / 3600:.0f} h'


def section(title: str, rows: list[str], empty: str) -> str:
    """Return a heading and a table of rows of cells, or a word for none."""
    body = ''.join(f'<tr>{row}</tr>' for row in rows) or f'<tr><td class="d">{escape(empty)}</td></tr>'
    return f'<h4>{escape(title)}</h4><table>{body}</table>'


def _sign(look: Look, *, word: bool = False) -> str:
    label = f' {look.word}' if word else ''
    return f'<span style="color:{look.css}" title="{look.word}">{look.sign}{label}</span>'


def _distance(row: DistancePicture) -> str:
    look = ZONES[row.zone]
    name = f'<td class="w">{_sign(look, word=True)}</td><td>{escape(row.name)}'
    if row.row is None:
        return f'{name}</td><td class="d" style="text-align:right">{escape(row.reason)}</td>'
    weight = 'big' if row.zone in (Zone.NEAR, Zone.INSIDE) else ''
    notes = [f'breach {100 * row.row.probability:.1f} %']
    notes += [f'contact in {row.row.time_to_contact:.1f} s'] if row.row.time_to_contact >= 0.0 else []
    notes += ['at the shaft'] if row.row.at_shaft else []
    return (
        f'{name} <span class="d">{" · ".join(notes)}</span></td>'
        f'<td class="n"><span class="{weight}">{distance_text(row)}</span></td>'
    )


def _bodies(picture: Picture) -> tuple[ToolPicture, ...]:
    """The tools and the patient; where models are shown, a patient that was never seen is not missed."""
    absent = bool(picture.models) and picture.patient.fixed_T_tool is None
    return picture.tools if absent else (*picture.tools, picture.patient)


def _tool(tool: ToolPicture) -> str:
    look = LEVELS[0 if tool.live else 2]  # type: ignore[index]
    word = 'tracked' if tool.live else 'LOST'
    state = f'<span style="color:{look.css}">{look.sign} {word}</span>'
    reason = f'<div class="d">{escape(tool.reason)}</div>' if tool.reason else ''
    where = _where(tool)
    numbers = ' · '.join(
        part
        for part in (
            f'σ {millimetres(tool.sigma, 2)} mm' if tool.sigma is not None and tool.live else '',
            f'{tool.rate_hz:.0f} Hz' if tool.rate_hz is not None and tool.live else '',
            f'age {duration(tool.age_s)}' if tool.age_s is not None else '',
        )
        if part
    )
    lost = '' if tool.live else ' lost'
    return (
        f'<td class="w">{state}</td><td>{escape(tool.name)}{reason}</td>'
        f'<td class="n{lost}" data-tool="{escape(tool.name)}">{where}<div class="d">{numbers}</div></td>'
    )


def _where(tool: ToolPicture) -> str:
    pose = tool.fixed_T_tip if tool.fixed_T_tip is not None else tool.fixed_T_tool
    if pose is None:
        return '–'
    prefix = '' if tool.live else 'last at '
    return f'{prefix}{" ".join(millimetres(part) for part in pose[:3, 3])} mm'


def _subsystem(line: SubsystemPicture) -> str:
    """State, or what is wrong and the code that `twin explain` knows; and rate, age and error of the output."""
    code = f' <span class="d">{escape(line.code)}</span>' if line.code not in ('', 'OK') else ''
    numbers = ' · '.join(
        part
        for part in (
            f'{line.rate_hz:.0f} Hz' if line.rate_hz is not None and line.rate_hz >= 0.95 else '',
            f'age {duration(line.age_s)}' if line.age_s is not None else '',
            escape(line.error),
        )
        if part
    )
    measured = f'<div class="d m">{numbers}</div>' if numbers else ''
    return (
        f'<td class="w">{_sign(LEVELS[line.level])} {escape(line.name)}</td>'
        f'<td data-subsystem="{escape(line.name)}">{escape(line.text)}{code}{measured}</td>'
    )


def _link(link: LinkPicture) -> str:
    angle = link.sigma_angle * 57.29577951308232
    return (
        f'<td>{escape(link.parent)} → {escape(link.child)}</td>'
        f'<td class="n">{millimetres(link.sigma_position, 2)} mm · {angle:.2f}°</td>'
        f'<td class="n d">{duration(link.age_s) if link.age_s is not None else "from a file"}</td>'
    )


def _recent(picture: Picture) -> list[str]:
    now_ns = picture.moment.ros_ns
    return event_rows(picture.events[:RECENT_EVENTS], lambda event: f'{duration((now_ns - event.stamp_ns) / 1e9)} ago')


def event_rows(events: Iterable[Event], when: Callable[[Event], str]) -> list[str]:
    """Return the cells of events; `when` writes their time."""
    return [_event(event, when(event)) for event in events]


def _event(event: Event, when: str) -> str:
    code = f' <span class="d">{escape(event.code)}</span>' if event.code not in ('', 'OK') else ''
    return (
        f'<td class="w">{_sign(LEVELS[event.level])}</td><td>{escape(event.text)}{code}</td>'
        f'<td class="n d">{escape(when)}</td>'
    )


def _footer(picture: Picture) -> str:
    note = f' ({picture.frame_note})' if picture.frame_note else ''
    dropped = f' · {picture.dropped} messages refused' if picture.dropped else ''
    return f'<div class="d" style="margin-top:8px">positions in {escape(picture.fixed_frame + note)}{dropped}</div>'
