"""The report of a bag: what was tracked, tied, guided and said, from the recorded messages alone."""

import datetime
from pathlib import Path

import numpy as np

from twin_nodes.app.metrics import measure_bag
from twin_nodes.app.report.bag_anatomy import anatomy_section, told, unit_of, words
from twin_nodes.app.report.bag_gather import Gathered, gather
from twin_nodes.app.report.content import Fact, Plot, Report, Section, Table, line, number, snake
from twin_nodes.app.report.files import configuration, figures_beside
from twin_nodes.core.errors import InputError
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.reader import BagReader
from twin_nodes.io.recordings.recording import file_sha256

_SIGMAS = 1.959964
_LINK_PLOTS = ('delay_ms', 'age_ms', 'jitter_ms', 'silent_ms', 'percent', 'round_trip_ms')


def report_of_bag(path: Path) -> Report:
    """Gather a bag into a report.

    Raises:
        InputError: when it cannot be read, or holds nothing.
    """
    reader = BagReader(path)
    if not reader.message_count:
        raise InputError(f'{path.name} holds no message')
    seen = gather(reader)
    started = datetime.datetime.fromtimestamp(reader.start_ns / NANOSECONDS, datetime.UTC)
    sections = (
        _overview(reader, started),
        _figures(path),
        _tracking(seen),
        _accuracy(seen),
        _clearance(seen),
        anatomy_section(seen),
        _link(seen),
        _alarms(seen),
        _skill(path),
        _faults(seen),
        configuration(path),
        _calibrations(seen),
    )
    return Report(
        f'Report of {path.resolve().parent.name}/{path.name}', f'recorded {started:%Y-%m-%d %H:%M:%S} UTC', sections
    )


def _overview(reader: BagReader, started: datetime.datetime) -> Section:
    seconds = (reader.end_ns - reader.start_ns) / NANOSECONDS
    loss = reader.loss
    facts = (
        Fact('started_utc', 'start', f'{started:%Y-%m-%d %H:%M:%S.%f}', '', 'first log time'),
        Fact('duration_s', 'duration', float(seconds), 's', 'first to last log time'),
        Fact('messages', 'messages', float(reader.message_count), '', 'read from whole, checked chunks'),
        Fact('topics', 'topics', float(len(reader.topics)), '', 'channels of the bag'),
        Fact('bad_chunks', 'damaged chunks', float(loss.bad_chunks), '', 'chunks with a wrong checksum'),
        Fact(
            'lost_messages',
            'messages known to be lost',
            float(loss.missing_messages),
            '',
            'promised by the file, in no whole chunk',
        ),
    )
    rows = tuple((file.name, f'{file.stat().st_size}', file_sha256(file)) for file in reader.files)
    topics = tuple((name, topic.type_name, str(reader.counts[name])) for name, topic in sorted(reader.topics.items()))
    tables = (Table(('file', 'bytes', 'SHA-256'), rows), Table(('topic', 'type', 'messages'), topics))
    return Section('What was recorded', '', facts, tables)


def _figures(path: Path) -> Section:
    rows = figures_beside(path)
    if not rows:
        return Section('Promises')
    return Section('Promises', 'What the run measured of itself against the known truth.', (), (rows,))


def _tracking(seen: Gathered) -> Section:
    rows = []
    for topic, stamps in sorted(seen.measured.items()):
        gaps = np.diff(np.unique(stamps)) * 1e-6
        rate = 1e3 / float(np.median(gaps)) if len(gaps) else 0.0
        longest = float(gaps.max()) if len(gaps) else 0.0
        rows.append((topic, number(float(len(stamps))), number(round(rate, 2)), number(round(longest, 1))))
    headings = ('topic', 'poses', 'rate [Hz]', 'longest gap [ms]')
    figures, units = ('', 'poses', 'rate_hz', 'longest_gap_ms'), ('', '', 'Hz', 'ms')
    tables = (Table(headings, tuple(rows), 'from the stamps of measurement', figures, units),)
    return Section('Tracking', '', (), tables if rows else ())


def _accuracy(seen: Gathered) -> Section:
    rows = [
        (
            name,
            number(round(1e3 * tie.position, 4)),
            number(round(float(np.degrees(tie.rotation)), 4)),
            number(round(tie.after, 1)),
        )
        for name, tie in sorted(seen.ties.items())
    ]
    facts = [
        Fact(f'{snake(name)}_{snake(key)}', told(name, key), float(value), unit_of(key), 'last value in /diagnostics')
        for name, values in sorted(seen.states.items())
        for key, value in values.items()
    ]
    plots = []
    if seen.tip_sigma:
        plots.append(Plot('σ of the tip in the anatomy', 'time [s]', 'σ [mm]', (line('', seen.tip_sigma),)))
        values = np.array(seen.tip_sigma)[:, 1]
        facts.append(
            Fact('tip_sigma_median_mm', 'σ of the tip in the anatomy, median', float(np.median(values)), 'mm',
                 'root of the trace of the covariance on guidance/tip')
        )  # fmt: skip
    headings = ('tie', 'σ position [mm]', 'σ rotation [°]', 'known after [s]')
    figures, units = ('', 'sigma_mm', 'sigma_deg', 'known_after_s'), ('', 'mm', '°', 's')
    tables = (Table(headings, tuple(rows), 'last message of each', figures, units),)
    return Section('Accuracy of the chain', '', tuple(facts), tables if rows else (), tuple(plots))


def _clearance(seen: Gathered) -> Section:
    facts, lines = [], []
    for name, rows in sorted(seen.clearance.items()):
        values = np.array(rows)
        nearest = values[values[:, 1].argmin()]
        how = 'least of guidance/clearance'
        facts += [
            Fact(f'{snake(name)}_closest_mm', f'{name}: closest approach', float(nearest[1]), 'mm', how),
            Fact(f'{snake(name)}_closest_sigma_mm', f'{name}: σ there', float(nearest[2]), 'mm', 'of that row'),
            Fact(f'{snake(name)}_closest_after_s', f'{name}: after', float(nearest[0]), 's', 'from the start'),
            Fact(f'{snake(name)}_breach_probability', f'{name}: largest probability of a breach',
                 float(values[:, 3].max()), '', 'largest of guidance/clearance'),
        ]  # fmt: skip
        lines.append(line(name, [(row[0], row[1], _SIGMAS * row[2]) for row in rows]))
    if not lines:
        return Section('Clearance')
    marks = tuple((event[0], str(number)) for number, event in enumerate(seen.events, start=1) if event[1] != '0')
    plot = Plot(
        'Clearance over time, with its 95 % band', 'time [s]', 'distance [mm]', tuple(lines), marks, ((0.0, 'contact'),)
    )
    return Section('Clearance', '', tuple(facts), (), (plot,))


def _link(seen: Gathered) -> Section:
    """Median and largest of what was measured, over time where it changed; of counters the last."""
    plots, measured, counted = [], [], []
    for key, rows in sorted(seen.link.items()):
        unit, values = unit_of(key), np.array(rows)[:, 1]
        if not unit:
            counted.append((words(key), number(float(values[-1]))))
            continue
        numbers = (number(round(float(value), 3)) for value in (np.median(values), values.max()))
        measured.append((key, *numbers, unit))
        if len(rows) > 1 and np.ptp(values) > 0.0 and key.endswith(_LINK_PLOTS):
            label = f'{words(key).rpartition(": ")[2]} [{unit}]'
            plots.append(Plot(f'Link: {words(key)}', 'time [s]', label, (line('', rows),)))
    facts = tuple(
        Fact(f'link_{_with_unit(key, which)}', f'{words(key)}, {which}', float(value), unit, 'of link/state')
        for key, median, largest, unit in measured
        for which, value in (('median', median), ('largest', largest))
    )
    tables = (Table(('counter', 'at the end'), tuple(counted), 'last of link/state'),) if counted else ()
    return Section('Link', '', facts, tables, tuple(plots))


def _with_unit(key: str, which: str) -> str:
    """Name of a figure of a key that ends in its unit, which it then ends in too."""
    name, _, ending = snake(key).rpartition('_')
    return f'{name}_{which}_{ending}'


def _calibrations(seen: Gathered) -> Section:
    rows = tuple((topic, 'file' if tie.from_file else 'live', tie.sha256) for topic, tie in sorted(seen.ties.items()))
    caption = 'the last of each that was used; the hash is that of its pose and covariance, 43 doubles'
    tables = (Table(('tie', 'from', 'SHA-256'), rows, caption),)
    return Section('Calibrations and registrations', '', (), tables if rows else ())


def _alarms(seen: Gathered) -> Section:
    if not seen.events:
        return Section('Alarms')
    rows = tuple(
        (str(number), f'{after:.2f}', code, message)
        for number, (after, _, code, message) in enumerate(seen.events, start=1)
    )
    facts = (Fact('alarms', 'events', float(len(rows)), '', 'messages on guidance/events'),)
    return Section('Alarms', '', facts, (Table(('number', 'after [s]', 'code', 'what'), rows[:200]),))


def _skill(path: Path) -> Section:
    try:
        trial = measure_bag(path)
    except InputError:
        return Section('Motion')
    foreign = () if any(topic.endswith('filtered_cp') for topic in trial.motions) else tuple(trial.motions)
    rows = tuple(
        (topic, *(number(round(float(value), digits)) for value, digits in (
            (motion.tracked, 1), (1e3 * motion.path_length, 0), (1e3 * motion.mean_speed, 1), (motion.smoothness, 2),
            (100.0 * motion.idle_share, 0),
        )))
        for topic, motion in trial.motions.items() if topic.endswith('filtered_cp') or topic in foreign
    )  # fmt: skip
    forces = tuple(
        (topic, number(round(float(force.peak), 2)), number(round(float(force.mean), 2)), number(float(force.peaks)))
        for topic, force in trial.forces.items()
    )
    how, tables = 'as `twin metrics` measures it', []
    if rows:
        headings = ('tool', 'tracked [s]', 'path [mm]', 'speed [mm/s]', 'log dimensionless jerk', 'at rest [%]')
        figures = ('', 'tracked_s', 'path_mm', 'mean_speed_mm_s', 'log_dimensionless_jerk', 'at_rest_percent')
        tables.append(Table(headings, rows, how, figures, ('', 's', 'mm', 'mm/s', '', '%')))
    if forces:
        figures = ('', 'peak_n', 'mean_n', 'peaks')
        tables.append(Table(('topic', 'peak [N]', 'mean [N]', 'peaks'), forces, how, figures, ('', 'N', 'N', '')))
    return Section('Motion', '', (), tuple(tables))


def _faults(seen: Gathered) -> Section:
    rows = tuple(
        (check, code, f'{fault.first:.1f}', f'{fault.last:.1f}', str(fault.count), fault.message)
        for (check, code), fault in sorted(seen.faults.items(), key=lambda item: item[1].first)
    )
    facts = (Fact('faults', 'checks that were not well at some time', float(len(rows)), '', '/diagnostics'),)
    headings = ('check', 'code', 'first [s]', 'last [s]', 'times', 'what was said')
    return Section('Faults', '`twin explain CODE` says what a code means.' if rows else '', facts,
                   (Table(headings, rows),) if rows else ())  # fmt: skip
