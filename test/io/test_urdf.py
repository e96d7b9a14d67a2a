"""Robots from URDF and xacro: what is read, and what is refused with its reason."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_nodes.core.errors import ConfigError, InputError, TwinError
from twin_nodes.core.geometry.se3 import random_transform
from twin_nodes.core.robot.chain import SerialChain
from twin_nodes.core.robot.published import MODELS, published_model
from twin_nodes.io.urdf import open_robot, parse_robot, read_robot, rotation_from_rpy
from twin_nodes.io.urdf_writing import rpy_from_rotation, write_robot

URDF = Path(__file__).resolve().parents[2] / 'urdf'
ARM = """<robot name="arm">
  <link name="a"/><link name="b"/>
  <joint name="j" type="revolute"><parent link="a"/><child link="b"/><axis xyz="0 0 2"/>
    <limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
</robot>"""


def parse(text, folder=Path()):
    return parse_robot(text.encode(), where='arm.urdf', folder=Path(folder))


@pytest.mark.parametrize('name', MODELS)
def test_shipped_file_is_the_published_model(name):
    text = (URDF / f'{name}.urdf').read_text()
    assert text == write_robot(published_model(name)), 'write it again: python -m twin_nodes.io.urdf_writing'
    read, made = SerialChain(read_robot(URDF / f'{name}.urdf')), SerialChain(published_model(name))
    positions = made.sample(np.random.default_rng(0), 50)
    assert np.abs(read.forward(positions) - made.forward(positions)).max() < 1e-12
    assert read.names == made.names
    assert read.lower == pytest.approx(made.lower) and read.upper == pytest.approx(made.upper)


def test_no_other_robot_lies_in_the_folder():
    assert {path.stem for path in URDF.glob('*.urdf')} == set(MODELS)


def test_reads_a_small_arm():
    model = parse(ARM)
    assert model.joints[0].axis.tolist() == [0.0, 0.0, 1.0]  # made a unit vector
    assert (model.joints[0].lower, model.joints[0].upper) == (-1.0, 1.0)
    assert model.leaf() == 'b'


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_rpy_round_trip(seed):
    rotation = random_transform(np.random.default_rng(seed))[:3, :3]
    assert rotation_from_rpy(*rpy_from_rotation(rotation)) == pytest.approx(rotation, abs=1e-12)


@pytest.mark.parametrize('pitch', [np.pi / 2, -np.pi / 2])
def test_rpy_round_trip_straight_up(pitch):
    rotation = rotation_from_rpy(0.3, pitch, -1.1)
    assert rotation_from_rpy(*rpy_from_rotation(rotation)) == pytest.approx(rotation, abs=1e-9)


BOMB = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">' + ''.join(
    f'<!ENTITY a{i} "{"&a" + (str(i - 1) if i else "") + ";"}{("&a" + (str(i - 1) if i else "") + ";") * 9}">'
    for i in range(12)
) + ']><robot name="&a11;"/>'  # fmt: skip
OUTSIDE = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><robot name="&x;"/>'


def changed(old, new):
    assert old in ARM
    return ARM.replace(old, new)


MESH = '<link name="b"><visual><geometry><mesh filename="{}"/></geometry></visual></link>'
LOOP = """<robot name="r"><link name="a"/><link name="b"/><link name="c"/>
  <joint name="j1" type="fixed"><parent link="a"/><child link="b"/></joint>
  <joint name="j2" type="fixed"><parent link="b"/><child link="c"/></joint>
  <joint name="j3" type="fixed"><parent link="c"/><child link="{}"/></joint></robot>"""
MASS = '<mass value="-1"/>'
BAD = {
    'entity bomb': (BOMB, 'document types and entities'),
    'outside entity': (OUTSIDE, 'document types and entities'),
    'not XML': ('<robot', 'not XML'),
    'empty': ('', 'not XML'),
    'another root': ('<sdf/>', 'expected <robot>'),
    'no joints': ('<robot name="r"><link name="a"/></robot>', 'no joints'),
    'deep': ('<robot>' + '<a>' * 200 + '</a>' * 200 + '</robot>', 'nested deeper'),
    'loop': (LOOP.format('a'), 'loop'),
    'two movers': (LOOP.format('b'), 'moved by j1 and j3'),
    'zero axis': (changed('0 0 2', '0 0 0'), 'axis has length 0'),
    'NaN axis': (changed('0 0 2', '0 nan 0'), 'NaN or Inf'),
    'NaN limit': (changed('lower="-1"', 'lower="nan"'), 'NaN or Inf'),
    'endless limit': (changed('upper="1"', 'upper="1e999"'), 'NaN or Inf'),
    'limits swapped': (changed('upper="1"', 'upper="-2"'), 'above the upper'),
    'no limit': (changed('<limit lower="-1" upper="1" effort="1" velocity="1"/>', ''), 'needs <limit'),
    'no such link': (changed('<child link="b"/>', '<child link="bb"/>'), "did you mean 'b'"),
    'two of a name': (changed('<link name="b"/>', '<link name="b"/><link name="b"/>'), 'there twice'),
    'loose link': (changed('<link name="b"/>', '<link name="b"/><link name="c"/>'), 'hangs on nothing'),
    'floating': (changed('revolute', 'floating'), "type 'floating'"),
    'a mass below zero': (
        changed('<link name="b"/>', '<link name="b"><inertial><mass value="-1"/></inertial></link>'),
        'mass',
    ),
    'millimetres': (changed('<axis', '<origin xyz="4318 0 0"/><axis'), 'millimetres'),
    'not a number': (changed('<axis', '<origin xyz="1 2 x"/><axis'), 'not numbers'),
    'mimic of itself': (changed('<axis', '<mimic joint="j"/><axis'), 'no position of its own'),
    'mimic of nobody': (changed('<axis', '<mimic joint="k"/><axis'), 'is not there'),
    'too many': (changed('<link name="b"/>', '<link name="b"/>' * 600), 'above the limit'),
    'mesh outside': (changed('<link name="b"/>', MESH.format('../../etc/passwd')), 'leaves the folder'),
    'mesh of root': (changed('<link name="b"/>', MESH.format('file:///etc/passwd')), 'leaves the folder'),
    'mesh of a package': (changed('<link name="b"/>', MESH.format('package://x/../../y.stl')), 'leaves its package'),
    'mesh of the web': (changed('<link name="b"/>', MESH.format('http://x/y.stl')), 'only files and packages'),
}


@pytest.mark.parametrize('case', BAD)
def test_refuses_with_the_reason(case, tmp_path):
    text, reason = BAD[case]
    with pytest.raises(InputError, match=reason) as caught:
        parse(text, tmp_path)
    assert caught.value.code == 'MODEL_REFUSED'


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_survives_any_bytes(data):
    with pytest.raises(TwinError):
        parse_robot(b'<robot>' + data, where='x', folder=Path())


def test_opens_by_name_or_file(tmp_path):
    assert open_robot('ecm_si').name == 'ecm_si'
    with pytest.raises(ConfigError, match='neither a file nor'):
        open_robot('no_such')
    (tmp_path / 'big.urdf').write_bytes(b' ' * 17_000_000)
    with pytest.raises(InputError, match='above the limit'):
        open_robot(str(tmp_path / 'big.urdf'))


XACRO = """<?xml version="1.0"?>
<robot xmlns:xacro="http://www.ros.org/wiki/xacro" name="arm">
  <xacro:property name="length" value="${0.1 * 3}"/>
  <link name="a"/><link name="tip"/>
  <joint name="j" type="prismatic"><origin xyz="0 0 ${length}"/><parent link="a"/><child link="tip"/><axis xyz="0 0 1"/>
    <limit lower="0" upper="${length}" effort="1" velocity="1"/></joint>
</robot>"""


def test_expands_xacro(tmp_path):
    file = tmp_path / 'arm.urdf.xacro'
    file.write_text(XACRO)
    chain = SerialChain(read_robot(file))
    assert chain.forward(np.array([0.05]))[2, 3] == pytest.approx(0.35)


@pytest.mark.parametrize('text', [BOMB, XACRO.replace('0.1 * 3', 'no_such')])
def test_refuses_xacro_with_the_reason(tmp_path, text):
    file = tmp_path / 'arm.xacro'
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_robot(file)
    assert caught.value.code == 'MODEL_REFUSED'


def test_refuses_a_bomb_that_a_xacro_includes(tmp_path):
    (tmp_path / 'part.xacro').write_text(BOMB)
    file = tmp_path / 'arm.xacro'
    file.write_text(XACRO.replace('<link name="a"/>', '<xacro:include filename="part.xacro"/><link name="a"/>'))
    with pytest.raises(InputError, match='document types'):
        read_robot(file)


def test_check_says_what_a_robot_is():
    from twin_nodes.app.check import inspect

    said = inspect(URDF / 'psm_classic.urdf')
    assert "from 'base' to 'tip' by yaw, pitch, insertion, roll, wrist_pitch, wrist_yaw" in said


def test_bodies_of_gazebo_are_not_those_of_the_robot():
    sdf = '<gazebo><link name="x"><inertial><mass>0.17</mass></inertial></link></gazebo></robot>'  # as in that of PR2
    assert parse(ARM.replace('</robot>', sdf)).links == ('a', 'b')


def test_reads_links_without_mass_and_blank_lines_before_the_declaration(tmp_path):
    text = changed('<link name="b"/>', '<link name="b"><inertial><mass value="0.0"/></inertial></link>')
    model = parse('\n  <?xml version="1.0"?>' + text, tmp_path)
    assert model.links == ('a', 'b')


GRIPPER = """<robot name="hand"><link name="a"/><link name="b"/><link name="left"/><link name="right"/>
  <joint name="arm" type="continuous"><parent link="a"/><child link="b"/></joint>
  <joint name="finger1" type="prismatic"><parent link="b"/><child link="left"/><limit lower="0" upper="1"/></joint>
  <joint name="finger2" type="prismatic"><parent link="b"/><child link="right"/><limit lower="0" upper="1"/>
    <mimic joint="finger1"/></joint></robot>"""


def test_leaves_out_a_shape_of_no_size(tmp_path):
    box = '<link name="b"><visual><geometry><box size="{}"/></geometry></visual></link>'
    assert parse(changed('<link name="b"/>', box.format('0 0 0')), tmp_path).shapes == ()
    with pytest.raises(InputError, match='a box of size'):
        parse(changed('<link name="b"/>', box.format('1 -1 1')), tmp_path)


def test_takes_the_palm_of_a_gripper_as_the_tip(tmp_path):
    chain = SerialChain(parse(GRIPPER, tmp_path))
    assert (chain.tip, chain.names) == ('b', ('arm',))
    assert SerialChain(parse(GRIPPER, tmp_path), tip='left').names == ('arm', 'finger1')
    with pytest.raises(InputError, match="'finger2' mimics 'finger1', which is not in the chain"):
        SerialChain(parse(GRIPPER, tmp_path), tip='right')
    alone = GRIPPER.replace('type="continuous"', 'type="fixed"')
    assert parse(alone, tmp_path).leaf() == 'left'  # the finger that leads


PARALLELOGRAM = """<robot name="psm"><link name="base"/><link name="arm"/><link name="bar"/><link name="shaft"/>
  <joint name="pitch" type="continuous"><parent link="base"/><child link="arm"/></joint>
  <joint name="pitch_back" type="continuous"><parent link="base"/><child link="bar"/><mimic joint="pitch"/></joint>
  <joint name="insertion" type="prismatic"><parent link="arm"/><child link="shaft"/><limit lower="0" upper="1"/></joint>
</robot>"""


def test_an_arm_with_a_parallelogram_ends_at_its_shaft(tmp_path):
    assert SerialChain(parse(PARALLELOGRAM, tmp_path)).names == ('pitch', 'insertion')


def test_meshes_may_lie_in_packages_and_beside_a_folder_of_urdf(tmp_path):
    own, other = package(tmp_path, 'my_arm'), package(tmp_path, 'my_parts')
    bare = tmp_path / 'copied' / 'urdf'
    bare.mkdir(parents=True)
    for folder, name in (
        (own, '../meshes/a.stl'),
        (own, f'file://{other.parent}/meshes/a.stl'),
        (own, 'file:///opt/ros/kilted/share/ur_description/meshes/a.stl'),
        (own, 'model://my_parts/a.stl'),
        (bare, '../meshes/a.stl'),
    ):
        assert parse_robot(changed('<link name="b"/>', MESH.format(name)).encode(), where='r', folder=folder).links
    for folder, name in ((bare, '../../a.stl'), (bare.parent, '../meshes/a.stl'), (own, '../../../a.stl')):
        with pytest.raises(InputError, match='leaves the folder of the robot'):
            parse_robot(changed('<link name="b"/>', MESH.format(name)).encode(), where='r', folder=folder)


def package(folder, name):
    (folder / name / 'urdf').mkdir(parents=True)
    (folder / name / 'package.xml').write_text(f'<package format="2"><name>{name}</name></package>')
    return folder / name / 'urdf'


LINKS = '<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><link name="a"/><link name="b"/></robot>'
FINDS = """<robot name="arm" xmlns:xacro="http://www.ros.org/wiki/xacro">
  <xacro:include filename="$(find {})/urdf/links.xacro"/>
  <joint name="j" type="continuous"><parent link="a"/><child link="b"/></joint></robot>"""


def test_finds_packages_about_a_xacro_without_ros(tmp_path):
    own, beside = package(tmp_path, 'my_arm'), package(tmp_path, 'my_parts')
    for folder in (own, beside):
        (folder / 'links.xacro').write_text(LINKS)
    for name in ('my_arm', 'my_parts'):
        (own / 'arm.xacro').write_text(FINDS.format(name))
        assert read_robot(own / 'arm.xacro').links == ('a', 'b')
    (beside / 'links.xacro').write_text(BOMB)
    with pytest.raises(InputError, match=r'links.xacro.*document types'):
        read_robot(own / 'arm.xacro')


def test_includes_begin_at_the_xacro_file_whatever_was_read_before(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / 'robots', tmp_path / 'elsewhere'
    for folder, text in ((here / 'parts', LINKS), (elsewhere / 'parts', '<robot name="x"><link name="z"/></robot>')):
        folder.mkdir(parents=True)
        (folder / 'links.xacro').write_text(text)
    own = FINDS.format('x').replace('$(find x)/urdf', 'parts')
    (here / 'arm.xacro').write_text(own)
    (elsewhere / 'broken.xacro').write_text(own.replace('<joint', '<xacro:no_such_macro/><joint'))
    monkeypatch.chdir(elsewhere)
    with pytest.raises(InputError, match='no_such_macro'):
        read_robot(elsewhere / 'broken.xacro')
    assert read_robot(Path('..') / 'robots' / 'arm.xacro').links == ('a', 'b')


def test_says_which_package_of_a_xacro_is_missing(tmp_path):
    (tmp_path / 'arm.xacro').write_text(FINDS.format('no_such_parts'))
    with pytest.raises(InputError, match='package no_such_parts is not found: put its folder beside'):
        read_robot(tmp_path / 'arm.xacro')


NEEDS = """<robot name="arm" xmlns:xacro="http://www.ros.org/wiki/xacro">
  <xacro:arg name="side" default="left"/>
  <link name="a"/><link name="b"/>
  <joint name="j_$(arg side)" type="continuous"><parent link="a"/><child link="b"/>
    <origin xyz="0 0 $(arg length)"/></joint></robot>"""


def test_gives_arguments_to_a_xacro_file(tmp_path):
    file = tmp_path / 'arm.xacro'
    file.write_text(NEEDS)
    with pytest.raises(InputError, match=r'no default; add name:=value behind the name of the file, or --arg'):
        open_robot(str(file))
    (joint,) = open_robot(f'{file} length:=0.25 side:="right one"').joints
    assert joint.name == 'j_right one'
    assert joint.parent_T_joint[2, 3] == 0.25
    for words, why in (('lenght:=1', "no argument 'lenght'.*length"), ('length:=1 length:=2', 'given twice'),
                       ('length:="1', 'quot')):  # fmt: skip
        with pytest.raises(ConfigError, match=why):
            open_robot(f'{file} {words}')
    plain = tmp_path / 'arm.urdf'
    plain.write_text('<robot name="arm"/>')
    with pytest.raises(ConfigError, match='only a xacro file takes arguments'):
        open_robot(f'{plain} length:=1')
