"""Exports of OptiTrack's Motive."""

import numpy as np
import pytest
from recording_texts import known_poses

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import quat_from_rotation
from twin_nodes.io.recordings import open_recording

POSES = known_poses(12)


def export(path, *, units='Millimeters', scale=1e3, turn='Quaternion', kind='Rigid Body', lost=(4,), ending='\r\n'):
    bodies = ('Pointer', 'Head, left')
    first = f'Format Version,1.23,Take Name,Take 1,Rotation Type,{turn},Length Units,{units},Coordinate Space,Global'
    rows = [first, '']
    for cells in (
        [kind] * 7 + ['Rigid Body Marker'] * 3,
        ['{}'] * 7 + ['{}:Marker 1'] * 3,
        ['"A"'] * 10,
        ['Rotation'] * 4 + ['Position'] * 6,
        list('XYZWXYZXYZ'),
    ):
        start = 'Frame,Time (Seconds)' if cells[0] == 'X' else ','
        named = [f'"{cell.format(name)}"' if '{}' in cell else cell for name in bodies for cell in cells]
        rows.append(','.join([start, *named]))
    for index, pose in enumerate(POSES):
        values = [*quat_from_rotation(pose[:3, :3]), *(scale * pose[:3, 3]), 1.0, 2.0, 3.0]
        cells = ['' if index in lost else f'{value:.9f}' for value in values] + [f'{value:.9f}' for value in values]
        rows.append(','.join([str(index), f'{index * 0.01:.6f}', *cells]))
    path.write_bytes(ending.join(rows).encode('utf-8-sig'))
    return path


@pytest.mark.parametrize(('units', 'scale'), [('Millimeters', 1e3), ('Meters', 1.0), ('Centimeters', 1e2)])
def test_bodies_by_name_in_the_unit_that_is_said(tmp_path, units, scale):
    recording = open_recording(export(tmp_path / 'take.csv', units=units, scale=scale))
    assert (recording.kind, recording.devices) == ('motive_csv', ('Pointer', 'Head, left'))
    stamps, poses = recording.tracked('Pointer')
    np.testing.assert_allclose(poses, np.delete(POSES, 4, axis=0), atol=1e-8)
    assert stamps[:2] == (0, 10_000_000)
    assert len(recording.tracked('Head, left')[0]) == 12
    assert recording.frames[4].poses['Pointer'].reason == 'not written in this frame'


@pytest.mark.parametrize(
    ('change', 'said'),
    [({'turn': 'XYZ'}, 'Rotation: Quaternion'), ({'units': 'Feet'}, "length units 'Feet'"),
     ({'kind': 'Bone'}, 'no rigid body')],
)  # fmt: skip
def test_what_cannot_be_read_is_said(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        open_recording(export(tmp_path / 'take.csv', **change))


def test_a_cut_export_is_read_to_the_cut(tmp_path):
    path = export(tmp_path / 'take.csv')
    whole = path.read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        try:
            found = open_recording(path)
        except InputError:
            continue
        assert len(found.frames) <= 12
