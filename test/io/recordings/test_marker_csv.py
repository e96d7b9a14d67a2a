"""Tables of one marker, with the traps that real ones have."""

import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.marker_csv import read_marker_csv

HEADER = '"Frame";"Timestamp";"x";"y";"z"\n'


def write(tmp_path, text):
    path = tmp_path / 'trace.csv'
    path.write_text(text)
    return path


def test_reads_decimal_commas_sorts_and_drops_the_end_mark(tmp_path):
    rows = '0;0;-396,9;5,1;85,6\n3;200;-397,5;5,2;85,6\n2;100;-397;5;85\n4;200;1;1;1\n0;0;0;0;0\n'
    trace = read_marker_csv(write(tmp_path, HEADER + rows))
    assert trace.stamps_ns.tolist() == [0, 100_000_000, 200_000_000]
    assert np.allclose(trace.positions[0], [-0.3969, 0.0051, 0.0856])
    assert len(trace.notes) == 3


def test_reads_commas_between_fields(tmp_path):
    trace = read_marker_csv(write(tmp_path, 'time,x,y,z\n0,1,2,3\n50,4,5,6\n'))
    assert np.allclose(trace.positions, [[1e-3, 2e-3, 3e-3], [4e-3, 5e-3, 6e-3]])


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is empty'),
        ('a;b;c\n1;2;3\n', 'expected columns'),
        (HEADER + '0;0;1;1;1\n', '1 samples'),
        (HEADER + 'x;y;z\n' * 5 + '0;0;1;1;1\n', 'rows are unreadable'),
    ],
)
def test_refuses_what_is_no_trace(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_marker_csv(write(tmp_path, text))


def test_reads_every_recording(shared_data):
    paths = sorted((shared_data / 'resp_extmarker').glob('*.csv'))
    for path in paths:
        trace = read_marker_csv(path)
        assert (np.diff(trace.stamps_ns) > 0).all()
        assert np.abs(trace.positions).max() > 1e-3
        assert trace.positions[-1].any()


@pytest.mark.parametrize(
    'text',
    ['Frame,Time [s],X (cm),Y (cm),Z (cm)\n1,0.5,1,2,3\n2,0.6,1.5,2,3\n',
     't_s\tx_mm\ty_mm\tz_mm\n0,5\t10\t20\t30\n0,6\t15\t20\t30\n',
     'time;x;y;z\n0,5;10;20;30\n0,6;15;20;30\n',
     'timestamp_ms,marker_x_m,marker_y_m,marker_z_m\n500,0.01,0.02,0.03\n600,0.015,0.02,0.03\n'],
)  # fmt: skip
def test_other_units_partings_and_names(tmp_path, text):
    path = tmp_path / 'a.csv'
    path.write_text(text)
    trace = read_marker_csv(path)
    assert np.diff(trace.stamps_ns).tolist() == [100_000_000]
    np.testing.assert_allclose(trace.positions, [[0.01, 0.02, 0.03], [0.015, 0.02, 0.03]])


def test_units_that_differ_or_are_not_known_are_refused(tmp_path):
    path = tmp_path / 'a.csv'
    for header in ('t,x_mm,y_cm,z_mm', 't,x [px],y [px],z [px]', 't [h],x,y,z'):
        path.write_text(f'{header}\n1,1,1,1\n2,2,2,2\n')
        with pytest.raises(InputError, match='expected columns'):
            read_marker_csv(path)
