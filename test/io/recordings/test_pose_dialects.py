"""Tables of poses as other programs and other countries write them: separators, decimal commas, and the place of w."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.pose_csv import parse_pose_table, read_pose_csv

COUNT = 80
TIMES = np.arange(COUNT) * 0.02
PLACES = np.column_stack([0.1 * np.sin(TIMES), 0.05 * np.cos(TIMES), 0.2 + 0.01 * TIMES])
HEAD = ['t', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw']


def turning(angles):
    """Rotations about a slowly moving axis by angles [rad], xyzw with w ≥ 0 as most recorders have it."""
    axis = np.column_stack([np.cos(0.1 * TIMES), np.sin(0.1 * TIMES), 0.5 + 0 * TIMES])
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    quaternions = Rotation.from_rotvec(axis * angles[:, None]).as_quat()
    return quaternions * np.where(quaternions[:, 3:] < 0.0, -1.0, 1.0)


MANY = turning(2.0 + 2.5 * np.sin(3.0 * TIMES))  # passes half turns, where the sign turns


def text(quaternions, *, head=None, mark=',', end='\n', comma=False, scale=1.0, quote=False):
    table = np.column_stack([TIMES, scale * PLACES, quaternions])
    cells = [[f'"{value:.9f}"' if quote else f'{value:.9f}' for value in row] for row in table]
    lines = ([mark.join(head)] if head else []) + [mark.join(row) for row in cells]
    whole = end.join(lines) + end
    return whole.replace('.', ',') if comma else whole


def check(found, quaternions):
    stamps, poses, notes = found
    assert stamps.tolist() == np.round(TIMES * 1e9).astype(int).tolist()
    np.testing.assert_allclose(poses[:, :3, :3], Rotation.from_quat(quaternions).as_matrix(), atol=1e-6)
    np.testing.assert_allclose(poses[:, :3, 3], PLACES, atol=1e-8)
    return notes


UNITS = ['time (s)', 'x (mm)', 'y (mm)', 'z (mm)', 'qx', 'qy', 'qz', 'qw']


@pytest.mark.parametrize(
    ('form', 'encoding'),
    [
        ({'mark': ';', 'comma': True, 'end': '\r\n', 'head': HEAD}, 'utf-8-sig'),
        ({'mark': '\t', 'comma': True, 'head': HEAD}, 'utf-8'),
        ({'mark': ' ', 'comma': True, 'head': HEAD}, 'utf-8'),
        ({'mark': '\t', 'head': UNITS, 'scale': 1e3}, 'utf-8'),
        ({'mark': ' \t', 'head': HEAD}, 'utf-8'),
        ({'mark': ';', 'comma': True, 'quote': True, 'head': HEAD}, 'utf-8'),
        ({'mark': ',', 'quote': True, 'head': HEAD}, 'utf-8'),
        ({'mark': ',', 'head': HEAD}, 'utf-16'),
        ({'mark': '\t', 'comma': True}, 'utf-8'),
        ({'mark': '   ', 'comma': True}, 'utf-8'),
    ],
)
def test_all_say_the_same(form, encoding):
    check(parse_pose_table(text(MANY, **form).encode(encoding), 'a.csv'), MANY)


def test_where_w_stands_is_seen_where_signs_turn():
    notes = check(parse_pose_table(text(MANY[:, [3, 0, 1, 2]]).encode(), 'a.csv'), MANY)
    assert 'no header: quaternions are w x y z, by where their signs turn' in notes
    notes = check(parse_pose_table(text(MANY).encode(), 'a.csv'), MANY)
    assert 'no header: quaternions are x y z w, by where their signs turn' in notes


def test_small_rotations_with_w_in_front_are_not_guessed(tmp_path):
    small = turning(0.1 + 0.3 * np.sin(TIMES) ** 2)
    wxyz = small[:, [3, 0, 1, 2]]
    with pytest.raises(InputError, match='write `# t x y z qw qx qy qz` or'):
        parse_pose_table(text(wxyz).encode(), 'a.csv')
    check(parse_pose_table(('# t x y z qw qx qy qz\n' + text(wxyz)).encode(), 'a.csv'), small)
    half = Rotation.from_quat(wxyz).as_quat()  # the same numbers as x y z w: a tool that points down
    check(parse_pose_table(('# t,x,y,z,qx,qy,qz,qw\n' + text(wxyz)).encode(), 'a.csv'), half)
    (tmp_path / 'a.tum').write_text(text(wxyz, mark=' '))
    table = read_pose_csv(tmp_path / 'a.tum')  # that form says it
    check((table.stamps_ns, table.poses, table.notes), half)
    assert table.notes == ()


def test_an_order_that_nothing_tells_is_said():
    steady = turning(1.0 + 0.5 * np.sin(TIMES))
    notes = check(parse_pose_table(text(steady).encode(), 'a.csv'), steady)
    assert notes == ('no header: quaternions taken as x y z w',)


def test_damaged_text_of_16_bits_is_refused():
    with pytest.raises(InputError, match='16 bits that is damaged'):
        parse_pose_table(text(MANY, head=HEAD).encode('utf-16')[:-1], 'a.csv')
