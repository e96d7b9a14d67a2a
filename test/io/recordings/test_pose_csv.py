import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import quat_from_rotation, random_transform
from twin_nodes.io.recordings import table_archive
from twin_nodes.io.recordings.pose_csv import parse_pose_table, read_pose_csv


def rows(count=10, start=1491754390.48):
    rng = np.random.default_rng(1)
    poses = np.array([random_transform(rng) for _ in range(count)])
    values = np.column_stack([poses[:, :3, 3], quat_from_rotation(poses[:, :3, :3])])
    return poses, [[f'{start + 0.01 * i:.2f}', *(f'{v:.15g}' for v in row)] for i, row in enumerate(values)]


@pytest.mark.parametrize('mark', [',', ', ', ' ,', ';', ' ', '\t', '   '])
def test_all_separators_say_the_same(tmp_path, mark):
    poses, cells = rows()
    path = tmp_path / 'poses.csv'
    path.write_text('\n'.join(mark.join(row) for row in cells) + '\n')
    table = read_pose_csv(path)
    np.testing.assert_allclose(table.poses, poses, atol=1e-12)
    assert table.stamps_ns[1] == 1491754390490000000  # exact: no binary fraction on the way
    assert table.notes == ('no header: quaternions taken as x y z w',)


def test_tum_with_comments_and_crlf(tmp_path):
    poses, cells = rows()
    text = '# ground truth trajectory\r\n# timestamp tx ty tz qx qy qz qw\r\n'
    path = tmp_path / 'truth.txt'
    path.write_bytes((text + '\r\n'.join(' '.join(row) for row in cells)).encode())
    np.testing.assert_allclose(read_pose_csv(path).poses, poses, atol=1e-12)


def test_header_orders_the_columns_and_names_nanoseconds(tmp_path):
    poses, cells = rows()
    header = '#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []'
    lines = [','.join(['1403636579763555584', *row[1:4], row[7], *row[4:7]]) for row in cells]
    path = tmp_path / 'euroc.csv'
    path.write_text('\n'.join([header, *lines]))
    table = read_pose_csv(path)
    np.testing.assert_allclose(table.poses, poses, atol=1e-12)
    assert set(table.stamps_ns) == {1403636579763555584}


def test_unordered_and_repeated_stamps_are_kept_and_then_put_in_order(tmp_path):
    poses, cells = rows(12)
    order = [0, 1, 1, 3, 2, 2, 4, 5, 11, 6, 7, 8, 9, 10]
    path = tmp_path / 'poses.csv'
    path.write_text('\n'.join(','.join(cells[i]) for i in order))
    table = read_pose_csv(path)
    assert len(table.stamps_ns) == 14
    assert (table.stream.merged, table.stream.reordered) == (2, 7)
    np.testing.assert_allclose(table.stream.poses, poses, atol=1e-9)


def test_zip_members_by_name_pattern_and_path(tmp_path):
    _, cells = rows()
    text = '\n'.join(','.join(row) for row in cells)
    path = tmp_path / 'both.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('set/hand.csv', text)
        archive.writestr('set/eye.csv', text)
        archive.writestr('README', 'nothing')
    with pytest.raises(InputError, match=r'name one of its 2 tables: set/hand\.csv, set/eye\.csv'):
        read_pose_csv(path)
    for table in (
        read_pose_csv(path, member='set/eye.csv'),
        read_pose_csv(path, member='eye.csv'),
        read_pose_csv(path, member='*eye*'),
        read_pose_csv(path / 'set' / 'eye.csv'),
    ):
        assert (table.member, table.name, table.path) == ('set/eye.csv', 'eye.csv', path)
    with pytest.raises(InputError, match=r"'\*\.csv' fits 2 of its tables"):
        read_pose_csv(path, member='*.csv')
    with pytest.raises(InputError, match=r"no table 'set/hends\.csv'.*did you mean 'set/hand\.csv'"):
        read_pose_csv(path, member='set/hends.csv')


def test_archive_writes_nothing_and_follows_no_path(tmp_path):
    _, cells = rows()
    path = tmp_path / 'inner' / 'evil.zip'
    path.parent.mkdir()
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('../../escaped.csv', '\n'.join(','.join(row) for row in cells))
    assert len(read_pose_csv(path).poses) == 10
    assert sorted(p.name for p in tmp_path.rglob('*')) == ['evil.zip', 'inner']


def test_archive_that_unpacks_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_archive, 'MAX_TABLE_BYTES', 10_000)
    path = tmp_path / 'bomb.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('zeros.csv', '0' * 1_000_000)
    with pytest.raises(InputError, match='1000000 bytes, limit 10000'):
        read_pose_csv(path)
    data = bytearray(path.read_bytes())
    for mark, at in ((b'PK\x01\x02', 24), (b'PK\x03\x04', 22)):
        where = data.index(mark) + at
        data[where : where + 4] = (100).to_bytes(4, 'little')  # the archive lies about the size
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_pose_csv(path)


def test_damaged_archive_is_refused(tmp_path):
    path = tmp_path / 'cut.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.csv', '\n'.join(','.join(row) for row in rows(200)[1]))
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(InputError, match='damaged'):
        read_pose_csv(path)
    path.write_bytes(data[:-30])
    with pytest.raises(InputError):
        read_pose_csv(path)


def test_bad_lines_are_left_out_and_said(tmp_path):
    _, cells = rows()
    cells[2][3] = 'nan'
    cells[4][7] = '7'
    cells[6] = cells[6][:5]
    cells[8][0] = '12:30'
    path = tmp_path / 'poses.csv'
    path.write_text('\n'.join(','.join(row) for row in cells))
    table = read_pose_csv(path)
    assert len(table.poses) == 6
    assert table.notes[0] == '4 lines left out; line 3: NaN or Inf'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', '0 poses in 0 lines'),
        ('1,2,3\n4,5,6\n', 'line 1: 3 of 8 values'),
        ('name,age\nx,3\n', "names 'name,age'"),
        ('0,1000,0,0,2,0,0,0\n' * 3, 'quaternion of norm 2'),
    ],
)
def test_other_tables_are_refused(tmp_path, text, message):
    path = tmp_path / 'other.csv'
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pose_csv(path)


def test_absent_file_is_said(tmp_path):
    with pytest.raises(InputError, match='cannot be read: No such file'):
        read_pose_csv(tmp_path / 'none.csv')


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | st.text('0123456789.,;-+eE \n#nqxyzwt', max_size=300).map(str.encode))
def test_any_bytes_are_a_table_or_refused(data):
    try:
        stamps, poses, _ = parse_pose_table(data, 'any')
    except InputError:
        return
    assert len(stamps) == len(poses) > 0
    assert np.isfinite(poses).all()


def test_real_tables(shared_data):
    archive = shared_data / 'handeye_asl' / 'robot_arm_w_color_camera_sim.zip'
    hand = read_pose_csv(archive, member='*hand.csv')
    assert len(hand.poses) == 3488
    assert (np.diff(hand.stamps_ns) <= 0).sum() == 1280
    assert len(hand.stream.stamps_ns) == 2124


def table_with(header, cells, *, unit=1.0, w_first=False):
    rows_of = [
        [row[0], *(f'{float(v) * unit:.12g}' for v in row[1:4]), *((row[7], *row[4:7]) if w_first else row[4:])]
        for row in cells
    ]
    return '\n'.join([header, *(','.join(row) for row in rows_of)]).encode()


@pytest.mark.parametrize(
    'header',
    [
        '#timestamp [s],p_x [m],p_y [m],p_z [m],q_w [],q_x [],q_y [],q_z []',
        'time,position.x,position.y,position.z,orientation.w,orientation.x,orientation.y,orientation.z',
        'field.header.stamp,field.pose.position.x,field.pose.position.y,field.pose.position.z,'
        'field.pose.orientation.w,field.pose.orientation.x,field.pose.orientation.y,field.pose.orientation.z',
        't,pos_x,pos_y,pos_z,quat_w,quat_x,quat_y,quat_z',
    ],
)
def test_headers_of_other_tools_order_the_quaternion(header):
    poses, cells = rows()
    _, found, notes = parse_pose_table(table_with(header, cells, w_first=True), 'a.csv')
    np.testing.assert_allclose(found, poses, atol=1e-9)
    assert notes == ()


@pytest.mark.parametrize('header', ['t,x_mm,y_mm,z_mm,qx,qy,qz,qw', '# t [s],x [mm],y [mm],z [mm],qx,qy,qz,qw'])
def test_millimetres_that_the_header_names(header):
    poses, cells = rows()
    np.testing.assert_allclose(parse_pose_table(table_with(header, cells, unit=1e3), 'a.csv')[1], poses, atol=1e-9)


def test_millimetres_that_nothing_names_are_recognised_and_said():
    poses, cells = rows()
    _, found, notes = parse_pose_table(table_with('', cells, unit=1e3), 'a.csv')
    np.testing.assert_allclose(found, poses, atol=1e-9)
    assert 'taken as millimetres' in notes[0]


@pytest.mark.parametrize(
    'header', ['# stamp,a,b,c,quat_w,d,e,f', 't,x_mm,y,z,qx,qy,qz,qw', 't,x_ft,y_ft,z_ft,qx,qy,qz,qw']
)
def test_a_header_that_is_not_understood_is_not_passed_over(header):
    with pytest.raises(InputError, match='line 1 names'):
        parse_pose_table(table_with(header, rows()[1], w_first=True), 'a.csv')
