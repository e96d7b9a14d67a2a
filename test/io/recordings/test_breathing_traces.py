"""Traces of breathing as belts, monitors and sleep laboratories write them, with what goes wrong in them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_nodes.app.breathing import judge_trace, print_breathing
from twin_nodes.app.check import inspect
from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.respiration.config import BreathingConfig
from twin_nodes.io.recordings.breathing import read_breathing
from twin_nodes.io.recordings.edf import read_edf
from twin_nodes.io.recordings.wfdb import read_wfdb

TIMES = np.arange(0.0, 60.0, 0.1)


def breath(times):
    return 5.0 * np.sin(2.0 * np.pi * 0.25 * times) + 1.0 * np.sin(2.0 * np.pi * 0.5 * times + 0.3)


def table(path, head, rows, *, mark=',', comma=False, end='\n'):
    lines = [mark.join(head), *(mark.join(f'{value:.6f}' for value in row) for row in rows)]
    text = end.join(lines) + end
    path.write_text(text.replace('.', ',') if comma else text, encoding='utf-8-sig', newline='')
    return path


@pytest.mark.parametrize(
    ('head', 'mark', 'comma', 'unit'),
    [
        (('time [s]', 'amplitude [mm]'), ',', False, 'mm'),
        (('Time (s)', 'Resp (V)'), '\t', True, 'v'),
        (('seconds', 'chest_cm'), ';', True, 'cm'),
        (('t', 'displacement'), ';', False, 'units'),
    ],
)
def test_one_column_in_any_unit_is_told_as_it_was(tmp_path, head, mark, comma, unit):
    path = table(
        tmp_path / 'belt.csv', head, np.column_stack([TIMES, breath(TIMES)]), mark=mark, comma=comma, end='\r\n'
    )
    trace = read_breathing(path)
    assert trace.unit == unit
    assert trace.positions[:, 0] * trace.per_metre == pytest.approx(breath(TIMES), abs=1e-5)
    spread = float(np.std(trace.positions[:, 0]))
    assert spread == pytest.approx({'mm': 3.6e-3, 'cm': 3.6e-2}.get(unit, 3e-3), rel=0.02)


def test_a_prediction_does_not_depend_on_the_unit(tmp_path):
    quick = BreathingConfig(horizons=(0.3,))
    errors = {}
    for name, factor, head in (('volts', 0.02, 'belt [V]'), ('millivolts', 20.0, 'belt [mV]')):
        path = table(tmp_path / f'{name}.csv', ('time [s]', head), np.column_stack([TIMES, factor * breath(TIMES)]))
        (row,) = judge_trace(read_breathing(path), quick)
        errors[name] = row['rmse'] / factor
        assert row['skill'] > 0.8 and row['predictions'] > 300
    assert errors['volts'] == pytest.approx(errors['millivolts'], rel=1e-3)


def test_what_is_no_breath_is_left_out_and_said(tmp_path):
    values = breath(TIMES) + 0.02 * TIMES  # a drift, which is breath all the same
    values[100:112] = values.max() + 1.0  # at the limit of the sensor
    values[300:340] = values[300]  # stands still
    rows = np.column_stack([TIMES, values])[np.r_[0:400, 450:600]]  # a gap
    path = table(tmp_path / 'belt.csv', ('time [s]', 'belt [mm]'), rows)
    path.write_text(path.read_text(encoding='utf-8-sig').replace(f'{values[20]:.6f}', 'nan'))
    trace = read_breathing(path)
    said = ' '.join(trace.notes)
    assert '12 samples at the limit' in said and '40 samples of a sensor that stood still' in said
    assert 'unreadable rows are left out' in said
    assert len(trace.stamps_ns) == 550 - 12 - 39 - 1
    assert np.diff(trace.stamps_ns).max() == pytest.approx(5.1e9, rel=1e-6)
    assert judge_trace(trace, BreathingConfig(horizons=(0.3,)))[0]['predictions'] > 50


def test_a_fast_trace_is_averaged_and_a_change_of_rate_is_said(tmp_path):
    times = np.concatenate([np.arange(0.0, 30.0, 0.002), np.arange(30.0, 60.0, 0.2)])
    path = table(tmp_path / 'belt.csv', ('time [s]', 'belt [mm]'), np.column_stack([times, breath(times)]))
    trace = read_breathing(path)
    assert 700 < len(trace.stamps_ns) < 800
    assert any('the rate changes from' in note for note in trace.notes)
    expected = breath(trace.stamps_ns * 1e-9)
    assert trace.positions[:, 0] * trace.per_metre == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(('rate', 'together'), [(30.0, 2), (50.0, 3), (60.0, 3), (100.0, 5)])
def test_alike_many_samples_are_averaged_each_time_whatever_the_rate(tmp_path, rate, together):
    times = np.round(np.arange(0.0, 40.0, 1.0 / rate), 3)
    path = table(tmp_path / 'belt.csv', ('time [s]', 'belt [mm]'), np.column_stack([times, breath(times)]))
    stamps = read_breathing(path).stamps_ns
    assert len(stamps) == pytest.approx(len(times) / together, abs=1.0)
    assert np.diff(stamps[:-1]) * 1e-9 == pytest.approx(together / rate, abs=1e-3)  # as the stamps are rounded


def write_wfdb(folder, *, form, values, gain='100(20)/mV', name='RESP', rate=50):
    counts = np.round(100.0 * values + 20).astype(np.int64)
    if form == 212:
        pairs = np.append(counts, 0)[: 2 * ((len(counts) + 1) // 2)].reshape(-1, 2) & 0xFFF
        raw = np.column_stack([pairs[:, 0] & 0xFF, pairs[:, 0] >> 8 | pairs[:, 1] >> 8 << 4, pairs[:, 1] & 0xFF])
        data = raw.astype(np.uint8).tobytes()
    elif form == 24:
        data = np.column_stack([counts >> shift & 0xFF for shift in (0, 8, 16)]).astype(np.uint8).tobytes()
    else:
        kind = {16: '<i2', 61: '>i2', 32: '<i4', 160: '<u2', 80: 'u1'}[form]
        data = (counts + {160: 1 << 15, 80: 128}.get(form, 0)).astype(kind).tobytes()
    (folder / 'rec.dat').write_bytes(data)
    line = f'rec.dat {form} {gain} 12 0 0 0 0 {name}'
    (folder / 'rec.hea').write_text(f'# a note\nrec 1 {rate} {len(counts)}\n{line}\n# 60 F\n')
    return folder / 'rec.hea'


@pytest.mark.parametrize('form', [16, 24, 32, 61, 80, 160, 212])
def test_records_of_physionet_come_back_in_every_format(tmp_path, form):
    values = np.round(0.9 * np.sin(np.arange(301) / 10.0), 2)
    (signal,) = read_wfdb(write_wfdb(tmp_path, form=form, values=values))
    assert (signal.name, signal.unit, signal.rate_hz) == ('RESP', 'mV', 50.0)
    assert signal.values == pytest.approx(values, abs=1e-9)
    assert "'RESP' [mV] 50 Hz; 6.0 s" in inspect(tmp_path / 'rec.hea')


def test_invalid_samples_and_headers_of_records(tmp_path):
    values = np.zeros(20)
    values[3] = (-32768 - 20) / 100.0
    (signal,) = read_wfdb(write_wfdb(tmp_path, form=16, values=values))
    assert np.isnan(signal.values[3]) and np.isfinite(np.delete(signal.values, 3)).all()
    whole = (tmp_path / 'rec.hea').read_text()
    for old, new, reason in (
        (' 16 ', ' 516 ', "format '516' is not read; convert it with `rdsamp"),
        ('rec 1 50', 'rec/3 1 50', 'several segments'),
        ('rec.dat', '../rec.dat', 'beside the header'),
        ('rec.dat', 'other.dat', 'cannot be read'),
        (' 20\n', ' 2000\n', '20 frames where the header promises 2000'),
        ('rec 1 50 20', 'nothing', 'no header of a WFDB record'),
        ('rec 1 50 20', 'rec 1 fast 20', "rec.hea: 'fast' stands where a number belongs"),
        ('100(20)', 'e(20)', "'e' stands where"),
        (' 12 0 ', ' 12 x ', "'x' stands where"),
        (' 16 ', ' 16x0 ', 'no samples in a frame'),
    ):
        (tmp_path / 'rec.hea').write_text(whole.replace(old, new, 1))
        with pytest.raises(InputError, match=reason):
            read_wfdb(tmp_path / 'rec.hea')


def write_edf(path, signals, *, seconds=1, reserved='', cut=0):
    """Write an EDF: label, unit, samples a record, physical values; 16 bits between -10 and 10."""
    records = min(len(values) // rate for _, _, rate, values in signals)
    count = len(signals)
    head = (
        f'{"0":8}{"X":80}{"":80}01.01.2601.01.01{256 * (count + 1):<8}{reserved:44}{records:<8}{seconds:<8}{count:<4}'
    )
    columns = [
        [f'{label:16}' for label, *_ in signals], [' ' * 80] * count, [f'{unit:8}' for _, unit, *_ in signals],
        [f'{-10:<8}'] * count, [f'{10:<8}'] * count, [f'{-32768:<8}'] * count, [f'{32767:<8}'] * count,
        [' ' * 80] * count, [f'{rate:<8}' for _, _, rate, _ in signals], [' ' * 32] * count,
    ]  # fmt: skip
    counts = [np.round((v + 10.0) / 20.0 * 65535.0 - 32768.0).astype('<i2') for *_, v in signals]
    data = b''.join(
        counts[at][record * rate : (record + 1) * rate].tobytes()
        for record in range(records) for at, (_, _, rate, _) in enumerate(signals)
    )  # fmt: skip
    text = head + ''.join(''.join(column) for column in columns)
    path.write_bytes(text.encode('ascii') + data[: len(data) - cut])
    return path


CHANGES = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6)


@given(CHANGES)
def test_any_bytes_in_a_header_are_read_or_refused(changes):
    with TemporaryDirectory() as name:
        folder = Path(name)
        times = np.arange(0.0, 4.0, 0.04)
        header = write_wfdb(folder, form=16, values=0.9 * np.sin(times))
        night = write_edf(folder / 'night.edf', [('Resp', 'mm', 25, breath(times))])
        for path, read, length in ((header, read_wfdb, header.stat().st_size), (night, read_edf, 512)):
            data = bytearray(path.read_bytes())
            for at, value in changes:
                data[at % length] = value
            path.write_bytes(data)
            try:
                signals = read(path)
            except InputError as error:
                assert path.name in str(error) or 'rec' in str(error)
            else:
                assert all(np.isfinite(one.rate_hz) and one.rate_hz > 0.0 for one in signals)


def test_edf_comes_back_and_its_breathing_channel_is_found(tmp_path):
    fast, slow = np.arange(0.0, 60.0, 0.01), np.arange(0.0, 60.0, 0.04)
    signals = [
        ('ECG', 'mV', 100, np.cos(fast)),
        ('Resp thorax', 'mm', 25, breath(slow)),
        ('EDF Annotations', '', 25, 0 * slow),
    ]
    path = write_edf(tmp_path / 'night.edf', signals)
    found = read_edf(path)
    assert [(one.name, one.unit, one.rate_hz) for one in found] == [('ECG', 'mV', 100.0), ('Resp thorax', 'mm', 25.0)]
    assert found[1].values == pytest.approx(breath(slow), abs=2e-4)
    trace = read_breathing(path)
    assert trace.name == 'night.edf#Resp thorax' and trace.unit == 'mm'
    assert read_breathing(path, channel='ecg').name == 'night.edf#ECG'
    with pytest.raises(InputError, match="0 channels are named 'EEG'; it has 'ECG', 'Resp thorax'"):
        read_breathing(path, channel='EEG')
    for changed, reason in (
        ({'reserved': 'EDF+D'}, r'has gaps \(EDF\+D\): convert it'),
        ({'cut': 400}, 'where the header promises 60'),
    ):
        with pytest.raises(InputError, match=reason):
            read_edf(write_edf(tmp_path / 'bad.edf', signals, **changed))
    (tmp_path / 'bad.edf').write_bytes(b'\xffBIOSEMI' + bytes(400))
    with pytest.raises(InputError, match='BDF of 24 bits: convert it'):
        read_edf(tmp_path / 'bad.edf')


def test_says_what_it_cannot_use(tmp_path, capsys):
    rows = np.column_stack([TIMES, breath(TIMES), breath(TIMES)])
    path = table(tmp_path / 'two.csv', ('time [s]', 'left', 'right'), rows)
    with pytest.raises(InputError, match='which column is it'):
        read_breathing(path)
    assert read_breathing(path, channel='left').name == 'two.csv#left'
    with pytest.raises(InputError, match='0 samples that move'):
        read_breathing(table(tmp_path / 'flat.csv', ('time [s]', 'belt'), np.column_stack([TIMES, 0 * TIMES + 1.0])))
    short = table(tmp_path / 'short.csv', ('time [s]', 'belt [mm]'), rows[:120, :2])
    with pytest.raises(InputError, match='15 s without a gap'):
        print_breathing([short])
    (tmp_path / 'none.csv').write_text('# only a note\n')
    with pytest.raises(InputError, match='is empty'):
        read_breathing(tmp_path / 'none.csv')


def test_a_record_of_a_monitor(shared_data):
    signals = {one.name: one for one in read_wfdb(shared_data / 'physio_wfdb' / 'v102s.hea')}
    assert signals['RESP'].rate_hz == 250.0 and len(signals['RESP'].values) == 75000
    assert read_wfdb(shared_data / 'physio_wfdb' / '100.hea')[0].values[0] == pytest.approx(-0.145)
    trace = read_breathing(shared_data / 'physio_wfdb' / 'v102s.hea')
    assert trace.name == 'v102s.hea#RESP' and 5700 < len(trace.stamps_ns) <= 6000


def marker(times):
    return np.column_stack([0.2 * breath(times) - 490.0, 0.1 * breath(times) + 4.0, breath(times) + 64.0])


def test_a_time_that_begins_anew_is_told_as_two_parts_and_not_interleaved(tmp_path):
    rows = [np.column_stack([TIMES + shift, side * marker(TIMES)]) for shift, side in ((0.0, 1.0), (0.05, -1.0))]
    trace = read_breathing(table(tmp_path / 'twice.csv', ('time [s]', 'x', 'y', 'z'), np.vstack(rows)))
    assert any('begins anew at sample 601' in note for note in trace.notes)
    gaps = np.flatnonzero(np.diff(trace.stamps_ns) > 1e9)
    assert list(gaps) == [599]
    assert np.abs(np.diff(trace.positions[:600], axis=0)).max() < 2e-3


def test_a_marker_that_was_not_seen_is_written_as_zeros_and_left_out(tmp_path):
    rows = np.column_stack([TIMES, marker(TIMES)])
    rows[200:210, 1:] = rows[::97, 1:] = 0.0
    trace = read_breathing(table(tmp_path / 'lost.csv', ('time [s]', 'x [mm]', 'y [mm]', 'z [mm]'), rows))
    assert any('17 samples of zero' in note for note in trace.notes)
    assert np.ptp(trace.positions, axis=0).max() < 0.012
    centred = np.column_stack([TIMES, breath(TIMES)])  # a breath about zero keeps its zeros
    centred[::97, 1] = 0.0
    assert len(read_breathing(table(tmp_path / 'centred.csv', ('time [s]', 'amp [mm]'), centred)).stamps_ns) == 600


def test_positions_in_metres_without_a_unit_are_said(tmp_path):
    path = table(tmp_path / 'metres.csv', ('time', 'x', 'y', 'z'), np.column_stack([TIMES, 1e-3 * marker(TIMES)]))
    trace = read_breathing(path)
    assert any('taken as metres' in note for note in trace.notes)
    assert np.ptp(trace.positions[:, 2]) == pytest.approx(np.ptp(breath(TIMES)) * 1e-3, rel=0.01)


def test_rows_of_several_markers_are_refused_with_their_names(tmp_path):
    lines = ['time,marker,x,y,z']
    for time, position in zip(TIMES, marker(TIMES), strict=True):
        lines += [f'{time:.1f},{name},{position[0]},{position[1]},{position[2]}' for name in ('chest', 'belly')]
    path = tmp_path / 'both.csv'
    path.write_text('\n'.join(lines))
    with pytest.raises(InputError, match=r"2 markers in column 'marker' \(belly, chest\)"):
        read_breathing(path)


@pytest.mark.parametrize('form', ['2026-01-05T10:{m:02d}:{s:06.3f}', '10:{m:02d}:{s:06.3f}'])
def test_times_of_a_clock_are_read(tmp_path, form):
    stamps = [form.format(m=int(time // 60), s=time % 60) for time in TIMES]
    path = tmp_path / 'clock.csv'
    path.write_text(
        'time amp\n'.replace(' ', ';') + '\n'.join(f'{a};{b}' for a, b in zip(stamps, breath(TIMES), strict=True))
    )
    trace = read_breathing(path)
    assert trace.stamps_ns[-1] - trace.stamps_ns[0] == pytest.approx(59.9e9, abs=1e6)


def test_what_would_come_in_a_gap_is_not_judged(tmp_path):
    kept = (TIMES < 30.0) | (TIMES > 34.0)
    path = table(tmp_path / 'gap.csv', ('time [s]', 'amp [mm]'), np.column_stack([TIMES, breath(TIMES)])[kept])
    whole = table(tmp_path / 'whole.csv', ('time [s]', 'amp [mm]'), np.column_stack([TIMES, breath(TIMES)]))
    rows = [
        judge_trace(read_breathing(each), BreathingConfig(horizons=(1.0,)))[0]['predictions'] for each in (path, whole)
    ]
    assert rows[1] - rows[0] == 41 + 10  # what lay in the gap, and a second before it


def test_a_bench_of_other_recordings_leaves_out_what_is_no_breath(tmp_path, monkeypatch, capsys):
    from twin_nodes.app.bench import respiration

    folder = tmp_path / 'resp_extmarker'
    folder.mkdir()
    (folder / 'a_notes.csv').write_text('nothing\n1\n')
    table(folder / 'b.csv', ('time [s]', 'amp [mm]'), np.column_stack([TIMES, breath(TIMES)]))
    monkeypatch.setenv('TWIN_NODES_RECORDINGS', str(tmp_path))
    traces = list(respiration._traces(quick=False))
    assert [(source, len(times)) for source, times, _ in traces] == [('resp_extmarker', 600)]
    assert 'left out: a_notes.csv' in capsys.readouterr().err


def test_a_single_time_that_is_wrong_does_not_begin_anew(tmp_path):
    for wrong in (20.05, 45.05):
        times = TIMES.copy()
        times[300] = wrong
        path = table(tmp_path / 'stray.csv', ('time [s]', 'x', 'y', 'z'), np.column_stack([times, marker(TIMES)]))
        notes = read_breathing(path).notes
        assert any('out of the order of time' in note for note in notes)
        assert not any('anew' in note for note in notes)
