"""Whatever the bytes are: a recording, or an InputError; never another exception, never NaN in a pose."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_texts import IDENTITY_MM, plus_frame

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings import open_recording
from twin_nodes.io.recordings.plus_config import read_plus_config
from twin_nodes.io.results import ConfigError, read_result

PLUS = 'ObjectType = Image\nNDims = 3\n' + ''.join(
    plus_frame(i, f'{i}.5', AToTrackerTransform=IDENTITY_MM, AToTrackerTransformStatus='OK', FrameNumber=str(i))
    for i in range(3)
)
CSV = 'Sample:,Hour,Minutes,Seconds,ms,Xa,Ya,Za,qoa,qxa,qya,qza\n1, 4, 15, 52, 821, 1.0, 2.0, 3.0, 1, 0, 0, 0,\n'
XML = (
    '<PlusConfiguration><CoordinateDefinitions><Transform From="A" To="B" Matrix="1 0 0 1 0 1 0 2 0 0 1 3 0 0 0 1"/>'
    '</CoordinateDefinitions><PhantomDefinition><Landmarks><Landmark Name="a" Position="1 2 3"/></Landmarks>'
    '</PhantomDefinition></PlusConfiguration>'
)
YAML = 'format: 1\nkind: tool_tip\nposition_m: [0, 0, 1]\nquat_xyzw: [0, 0, 0, 1]\nerrors: {a_m: 1}\n'

FEW = '1 0 0 10.5 0 1 0 20 0 0 1 1500'
CAPI = (
    '#Tools,ToolInfo,Frame#,PortHandle,Face#,timespec_s,timespec_ns,TransformStatus,Q0,Qx,Qy,Qz,Tx,Ty,Tz,Error,#Markers\n'
    '1,449 s/n:3A,60,Port:10,0,5,250,Enabled,1,0,0,0,10.5,-20,-1500,0.1,0\n'
    '1,449 s/n:3A,61,Port:10,0,5,260,Missing,,,,,,,,,0\n'
)
MOTIVE = (
    'Format Version,1.23,Rotation Type,Quaternion,Length Units,Meters\n\n'
    ',,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body\n,,A,A,A,A,A,A,A\n,,1,1,1,1,1,1,1\n'
    ',,Rotation,Rotation,Rotation,Rotation,Position,Position,Position\nFrame,Time (Seconds),X,Y,Z,W,X,Y,Z\n'
    '0,0.0,0,0,0,1,0.1,0.2,0.3\n1,0.01,,,,,,,\n'
)
ECHO = (
    'header:\n  stamp:\n    sec: 5\n    nanosec: 7\npose:\n  position:\n    x: 0.1\n    y: 0.2\n    z: 0.3\n'
    '  orientation:\n    x: 0.0\n    y: 0.0\n    z: 0.0\n    w: 1.0\n---\n'
)
TABLES = {
    'mutated.csv': CAPI,
    'motive.csv': MOTIVE,
    'rows.csv': ''.join(f'{at}.5 {FEW} 0 0 0 1\n' for at in range(3)),
    'twelve.txt': f'{FEW}\n{FEW}\n',
    'stacked.txt': '1 0 0 10.5\n0 1 0 20\n0 0 1 30\n0 0 0 1\n' * 2,
    'angles.csv': 't,x,y,z,roll,pitch,yaw,valid\n0.5,1,2,3,10,20,30,1\n0.6,1,2,3,10,20,31,0\n',
    'echo.yaml': ECHO * 2,
    'echo.csv': '5,7,tracker,0.1,0.2,0.3,0,0,0,1\n5,8,tracker,0.1,0.2,0.3,0,0,0,1\n',
    'list.json': '[{"t": 1.5, "matrix": [[1,0,0,10],[0,1,0,20],[0,0,1,30],[0,0,0,1]]}]',
}

PIECES = ['', '\0', 'nan', '-1e999', '=', '9' * 30, '<', '²']
edits = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.integers(0, 12),
        st.sampled_from(['', '\0', 'nan', '-1e999', '=', '9' * 30, '<', '²']),
    ),
    min_size=1,
    max_size=8,
)


def mutate(text, changes):
    for at, length, new in changes:
        at %= len(text) + 1
        text = text[:at] + new + text[at + length :]
    return text


def check_read_whole_or_refused(path):
    try:
        recording = open_recording(path)
    except InputError:
        return
    for device in recording.devices:
        assert np.isfinite(recording.tracked(device)[1]).all()


@pytest.mark.parametrize(
    'text', [PLUS + 'ElementDataFile = LOCAL\n', PLUS, 'NRRD0004\n' + PLUS.replace('=', ':='), CSV]
)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(changes=edits)
def test_recordings(tmp_path_factory, text, changes):
    path = tmp_path_factory.getbasetemp() / 'mutated.mha'
    path.write_text(mutate(text, changes), encoding='utf-8')
    check_read_whole_or_refused(path)


@pytest.mark.parametrize('name', TABLES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(changes=edits)
def test_tables_of_other_makers(tmp_path_factory, name, changes):
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(TABLES[name], encoding='utf-8')
    assert open_recording(path).devices
    path.write_text(mutate(TABLES[name], changes), encoding='utf-8')
    check_read_whole_or_refused(path)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    ('name', 'old', 'new'),
    [('mutated.csv', '61,Port:10,0,5,260,Missing,,,,,,,,,0', '61'), ('angles.csv', '31,0', '1e308,1'),
     ('twelve.txt', '20', '1e308'), ('echo.yaml', 'x: 0.0', 'x: 1e308')],
)  # fmt: skip
def test_short_rows_and_huge_numbers(tmp_path, name, old, new):
    (tmp_path / name).write_text(TABLES[name].replace(old, new, 1), encoding='utf-8')
    assert open_recording(tmp_path / name).devices


@settings(max_examples=100, deadline=None, derandomize=True)
@given(changes=edits)
def test_configurations_and_results(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / 'mutated.xml'
    path.write_text(mutate(XML, changes), encoding='utf-8')
    with contextlib.suppress(InputError):
        assert np.isfinite(read_plus_config(path).landmarks_phantom).all()
    path.write_text(mutate(YAML, changes), encoding='utf-8')
    with pytest.raises(ConfigError):
        read_result(path)
