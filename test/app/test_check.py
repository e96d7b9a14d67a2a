"""`twin check` names file, line and key, and says what a good file is."""

import subprocess
import sys

import pytest

from twin_nodes.app import check_yaml as module
from twin_nodes.app.check import check, inspect
from twin_nodes.core.errors import ConfigError, TwinError


@pytest.fixture
def small_config(monkeypatch):
    """A node with three settings in place of a real one."""
    from dataclasses import dataclass, field

    from twin_nodes.core.config import group, setting
    from twin_nodes.ros import registry

    @dataclass(frozen=True)
    class Filter:
        cutoff_hz: float = setting('Where it falls off.', 5.0, unit='Hz', minimum=0.1, maximum=100.0)

    @dataclass(frozen=True)
    class Config:
        source: str = setting('Where from.', 'igtl', choices=('igtl', 'crtk'))
        names: tuple[str, ...] = setting('Names.', ())
        filter: Filter = field(default_factory=Filter)

    assert group(Filter) is not None
    monkeypatch.setattr(registry, 'CONFIGS', {'tracker_node': 'unused:Unused'})
    monkeypatch.setattr(registry, 'config_type', lambda name: Config)


def write(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text, encoding='utf-8')
    return file


HEAD = 'tracker:\n  ros__parameters:\n'


def test_a_good_parameter_file(tmp_path, small_config, capsys):
    text = HEAD + '    use_sim_time: true\n    source: crtk\n    filter:\n      cutoff_hz: 3.0\n    names: [a, b]\n'
    file = write(tmp_path, 'tracker.yaml', text)
    assert check(file) == 0
    assert 'tracker.yaml: parameters, good: tracker → tracker_node' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ('    sorce: igtl\n', r"tracker.yaml:3: tracker_node: unknown key 'sorce'; did you mean 'source'"),
        (
            '    source: crtk\n    filter:\n      cutof_hz: 1.0\n',
            r":5: .*unknown key 'filter.cutof_hz'.*'filter.cutoff_hz'",
        ),
        ('    filter.cutoff_hz: 200.0\n', ':3: .*filter.cutoff_hz=200.0 Hz is above its maximum 100.0 Hz'),
        ('    filter:\n      cutoff_hz: fast\n', ':4: .*expected float, got str'),
        ('    source: igt\n', ":3: .*none of igtl, crtk; did you mean 'igtl'"),
        ('    source:\n', ':3: source has no value'),
        ('    names: a\n', ':3: .*expected a list'),
        ('    source: [\n', r'tracker.yaml:\d+: not readable as YAML'),
    ],
)
def test_a_wrong_key_is_named_with_its_line(tmp_path, small_config, body, message):
    with pytest.raises(TwinError, match=message):
        inspect(write(tmp_path, 'tracker.yaml', HEAD + body))


def test_a_section_with_more_than_parameters(tmp_path, small_config):
    with pytest.raises(TwinError, match=":1: section 'tracker' must hold ros__parameters"):
        inspect(write(tmp_path, 'tracker.yaml', HEAD + '    source: igtl\n  extra: 1\n'))


def test_a_foreign_node_is_said_to_be_unchecked(tmp_path, small_config):
    text = 'camera:\n  ros__parameters:\n    fps: 30\n'
    assert 'keys not checked' in inspect(write(tmp_path, 'camera.yaml', text))


def test_launch_files(tmp_path):
    good = write(tmp_path, 'a.launch.xml', '<launch><arg name="x" default="1"/><executable cmd="true"/></launch>')
    assert inspect(good) == 'launch file, good: 1 arguments, 1 processes by default (true)'
    needs = write(tmp_path, 'b.launch.xml', '<launch><arg name="who"/></launch>')
    assert 'needs who' in inspect(needs)
    with pytest.raises(TwinError, match=r":1: <nod>: .*did you mean 'node'"):
        inspect(write(tmp_path, 'c.launch.xml', '<launch><nod/></launch>'))


def test_other_files(tmp_path):
    assert 'PLUS configuration' in inspect(write(tmp_path, 'p.xml', '<PlusConfiguration version="2.1"/>'))
    with pytest.raises(TwinError, match='files of this kind are not known'):
        inspect(write(tmp_path, 'x.doc', ''))
    with pytest.raises(TwinError, match=r"does not exist; did you mean 'p.xml'"):
        check(tmp_path / 'q.xml')
    with pytest.raises(TwinError, match='neither parameters'):
        inspect(write(tmp_path, 'x.yaml', 'a: 1\n'))
    with pytest.raises(TwinError, match='holds no map'):
        inspect(write(tmp_path, 'y.yaml', '- 1\n'))


def test_a_huge_yaml_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'MAX_YAML_BYTES', 10)
    with pytest.raises(TwinError, match='is above 0 MiB'):
        inspect(write(tmp_path, 'x.yaml', 'a: 12345678901234\n'))


def test_results_and_landmarks(tmp_path):
    import numpy as np

    from twin_nodes.io.landmarks import write_landmarks

    file = tmp_path / 'l.yaml'
    write_landmarks(
        file, {'nasion': np.zeros(3), 'tragus': np.array([0.1, 0.0, 0.0]), 'inion': np.array([0.0, 0.1, 0.0])}
    )
    assert inspect(file) == 'landmarks, good: nasion, tragus, inion'
    with pytest.raises(TwinError, match=r'key .* is missing|format='):
        inspect(write(tmp_path, 'r.yaml', 'format: 1\nkind: tool_tip\nparent_frame: a\nchild_frame: b\n'))


def test_a_material_is_said_with_its_interval_and_verdict(tmp_path):
    from twin_nodes.io.material_results import StoredMaterial, write_material

    law = {'mu1': 3000.0, 'alpha1': 4.0}
    stored = StoredMaterial(
        'liver_gel', 'ogden_1', law, law, law, 'specimens', 3000.0, 2500.0, 3600.0, 'engineering', 0.4, 12.0, 'stable',
        'warn', '2026-03-04T05:06:07+00:00', ('one specimen',),
    )  # fmt: skip
    write_material(tmp_path / 'gel.yaml', stored)
    said = 'material liver_gel, warn: ogden_1, shear modulus 3000 Pa (2500 … 3600), 2026-03-04T05:06:07+00:00'
    assert inspect(tmp_path / 'gel.yaml') == said
    text = (tmp_path / 'gel.yaml').read_text()
    (tmp_path / 'gel.yaml').write_text(text.replace('shear_pa: 3000.0', 'shear_pa: .nan'))
    with pytest.raises(ConfigError, match='shear_pa'):
        inspect(tmp_path / 'gel.yaml')
    (tmp_path / 'gel.yaml').write_text(text.replace('ogden_1', 'ogdan_1'))
    with pytest.raises(ConfigError, match=r"ogdan_1.*did you mean 'ogden_1'"):
        inspect(tmp_path / 'gel.yaml')


def test_a_bag_whole_and_cut(tmp_path):
    from rclpy.serialization import serialize_message
    from std_msgs.msg import String

    from twin_nodes.io.bags.writer import BagWriter

    bag = tmp_path / 'bag'
    with BagWriter(bag, compression='') as writer:
        handle = writer.add_topic('/words', 'std_msgs/msg/String')
        for i in range(500):
            writer.write(handle, 1_000_000_000 + i * 1_000_000, serialize_message(String(data=f'word {i}' * 40)))
    assert 'bag, good: 500 messages on 1 topics' in inspect(bag)
    file = next(bag.glob('*.mcap'))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(TwinError, match='twin recover'):
        inspect(bag)


TETRAHEDRON = (
    'v 0 0 0\nv {0} 0 0\nv 0 {0} 0\nv 0 0 {0}\n',
    'f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n',
)


def test_surfaces(tmp_path):
    points, faces = TETRAHEDRON
    closed = inspect(write(tmp_path, 'a.obj', points.format(50) + faces))
    assert closed == 'surface, good: 4 vertices, 4 triangles, 50.0 × 50.0 × 50.0 mm when read in mm, closed'
    assert 'when read in m,' in inspect(write(tmp_path, 'b.obj', points.format(0.05) + faces))
    assert 'not closed' in inspect(write(tmp_path, 'c.obj', points.format(50) + faces[: faces.rindex('f')]))
    with pytest.raises(TwinError, match=r'd\.obj'):
        inspect(write(tmp_path, 'd.obj', points.format('nan') + faces))


def test_cameras(tmp_path):
    from twin_nodes.core.simulate.camera_views import ENDOSCOPE
    from twin_nodes.io.camera_info import camera_info_text

    text = camera_info_text(ENDOSCOPE)
    found = inspect(write(tmp_path, 'left.yaml', text))
    assert found == 'camera left, good: 1920x1080 px, plumb_bob, focal length 1400.0 1405.0 px'
    nameless = inspect(write(tmp_path, 'c.yaml', text.replace('camera_name: left', "camera_name: ''")))
    assert nameless.startswith('camera, good: 1920x1080')
    with pytest.raises(TwinError, match='not calibrated'):
        inspect(write(tmp_path, 'b.yaml', text.replace('1400.0', '0.0')))


def test_label_volumes(tmp_path):
    import nibabel
    import numpy as np

    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 1:3, 1:3] = 7
    file = tmp_path / 'l.nii.gz'
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([1.0, 1.0, 1.0, 1.0])), file)
    assert inspect(file) == 'label volume, good: 4 × 5 × 6 voxels of 1 × 1 × 1 mm, labels 7'


def test_a_real_recording(shared_data):
    folder = shared_data / 'plus_tracker' / 'TestImages'
    file = next(folder.glob('EightLandmark*Tracked*.mha'))
    assert 'recording (plus_sequence), good: 1000 frames' in inspect(file)


def test_each_table_of_an_archive_is_described(tmp_path):
    import zipfile

    rows = 't,x,y,z,qx,qy,qz,qw\n' + ''.join(f'{0.1 * n:.1f},{0.01 * n},0,0,0,0,0,1\n' for n in range(20))
    with zipfile.ZipFile(tmp_path / 'set.zip', 'w') as archive:
        archive.writestr('a/hand.csv', rows)
        archive.writestr('a/eye.csv', rows)
        archive.writestr('a/notes.txt', 'nothing')
    text = inspect(tmp_path / 'set.zip')
    assert 'a/hand.csv: table of poses, good: hand.csv, 20 poses' in text
    assert 'a/notes.txt: no table of poses' in text


def test_a_trace_of_a_marker_is_known_and_a_bad_table_of_poses_is_not_one(tmp_path):
    file = write(tmp_path, 'breath.csv', 'time [s],x [mm],y [mm],z [mm]\n0,1,2,3\n0.1,1,2,5\n')
    assert 'trace of one marker, good: 2 samples over 0.1 s, moves 0.0 × 0.0 × 2.0 mm' in inspect(file)
    with pytest.raises(TwinError, match='quaternion of norm'):
        inspect(write(tmp_path, 'bad.csv', 't,x,y,z,qx,qy,qz,qw\n0,1,2,3,0,0,0,2\n1,1,2,3,0,0,0,2\n'))


def test_a_robot_is_checked_without_what_moves_it(tmp_path):
    """numba alone takes longer than the second that is promised, on a busy machine."""
    robot = write(tmp_path, 'arm.xacro', '<robot name="arm"><link name="a"/><link name="b"/><joint name="$(arg j)" '
                  'type="continuous"><parent link="a"/><child link="b"/></joint></robot>')  # fmt: skip
    code = (
        'import sys; from pathlib import Path; from twin_nodes.app.check import check; '
        f'check(Path({str(robot)!r}), ["j:=elbow"]); print({{"numba", "scipy"}} & sys.modules.keys())'
    )
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=120).stdout
    assert "from 'a' to 'b' by elbow" in said
    assert said.endswith('set()\n')
    with pytest.raises(TwinError, match='only a xacro file takes arguments'):
        check(write(tmp_path, 'p.xml', '<PlusConfiguration version="2.1"/>'), ['j:=elbow'])


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (
            'format: 1\nkind: force_profile\ndepths_m: [0.0, 0.01]\nspeeds_m_s: [0.001]\nentering_n: [[0.0], [1.5]]\n'
            'leaving_n: [[0.0], [0.5]]\nsigma_n: 0.1\n',
            'force profile, good: to 10.0 mm at up to 1.0 mm/s, 1.50 N ± 0.10',
        ),
        (
            'format: 1\nkind: stiffness\ncase: liver\nabsolute: false\n'
            'stiffness:\n  - {name: lobe, factor: 2.0, learned: true}\n',
            'stiffness of the case liver, good (ratios only): lobe 2',
        ),
        ('name: slow\ntitle: by hand\nboth: {delay: {base: 0.2}}\n', 'link scenario slow, good: by hand'),
        ('landmarks: {a: [0, 0, 0], b: [0.1, 0, 0], c: [0, 0.1, 0]}\n', 'landmarks, good: a, b, c'),
    ],
    ids=['force profile', 'stiffness', 'link', 'landmarks'],
)
def test_files_of_other_kinds(tmp_path, text, said):
    assert said in inspect(write(tmp_path, 'some.yaml', text))


def test_a_broken_file_is_refused_by_the_reader_of_its_kind(tmp_path):
    with pytest.raises(TwinError, match="key 'depths_m' is missing"):
        inspect(write(tmp_path, 'f.yaml', 'format: 1\nkind: force_profile\n'))


def test_what_a_reader_takes_is_known():
    from twin_nodes.app.check_anatomy import TETS
    from twin_nodes.io.tet_meshes import READERS

    assert {*TETS, '.vtk'} == set(READERS)
