import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.io.recordings.plus_config import read_plus_config
from twin_nodes.io.recordings.plus_neighbours import find_plus_config, find_truth

TIP = '<Transform From="{tip}" To="{stylus}" Matrix="1 0 0 108.5 0 1 0 7.7 0 0 1 2.5 0 0 0 1" Error="0.46" Date="d"/>'
LANDMARKS = ''.join(f'<Landmark Name="L{i}" Position="{10 * i} 0.0 20.0"/>' for i in range(4))


def config_text(tip='StylusTip', stylus='Stylus', sequence='run.igs.mha', extra=''):
    return (
        '<PlusConfiguration version="2.1"><DataCollection>'
        f'<Device SequenceFile="{sequence}" ToolReferenceFrame="Tracker"/></DataCollection>'
        f'<CoordinateDefinitions>{TIP.format(tip=tip, stylus=stylus)}</CoordinateDefinitions>'
        f'<PhantomDefinition><Geometry><Landmarks>{LANDMARKS}</Landmarks></Geometry></PhantomDefinition>'
        f'{extra}</PlusConfiguration>'
    )


def test_tip_landmarks_and_units(tmp_path):
    path = tmp_path / 'c.xml'
    path.write_text(config_text())
    config = read_plus_config(path)
    np.testing.assert_allclose(config.stylus_T_tip[:3, 3], [0.1085, 0.0077, 0.0025])
    assert config.find('StylusTip', 'Stylus').error_m == pytest.approx(0.46e-3)
    assert config.landmark_names == ('L0', 'L1', 'L2', 'L3')
    np.testing.assert_allclose(config.landmarks_phantom[3], [0.03, 0.0, 0.02])
    assert (config.stylus_device, config.reference_device) == ('StylusToTracker', 'ReferenceToTracker')


def test_frames_are_named_by_the_algorithms(tmp_path):
    extra = (
        '<vtkPlusPivotCalibrationAlgo ObjectMarkerCoordinateFrame="Pointer" ObjectPivotPointCoordinateFrame="Tip"/>'
        '<vtkPlusPhantomLandmarkRegistrationAlgo PhantomCoordinateFrame="Skull" ReferenceCoordinateFrame="Clamp" '
        'StylusTipCoordinateFrame="Tip"/>'
    )
    path = tmp_path / 'c.xml'
    path.write_text(config_text(tip='Tip', stylus='Pointer', extra=extra))
    config = read_plus_config(path)
    assert (config.phantom_frame, config.stylus_device, config.reference_device) == (
        'Skull',
        'PointerToTracker',
        'ClampToTracker',
    )
    assert config.stylus_T_tip[0, 3] == pytest.approx(0.1085)


def test_entities_are_refused_before_they_are_expanded(tmp_path):
    path = tmp_path / 'bomb.xml'
    path.write_text('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><PlusConfiguration>&a;</PlusConfiguration>')
    with pytest.raises(InputError, match='DOCTYPE is refused'):
        read_plus_config(path)


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('<PlusConfiguration>', 'not well-formed'),
        ('<Other/>', "root is 'Other'"),
        ('<a>' * 100 + '</a>' * 100, 'nested above'),
        (config_text().replace('108.5', 'many'), 'not numeric'),
        (config_text().replace('108.5', 'nan'), 'finite'),
        (config_text().replace('Position="0 0.0 20.0"', 'Position="0 0.0"'), 'Landmark L0: expected 3'),
    ],
)
def test_broken_files_are_refused(tmp_path, text, match):
    path = tmp_path / 'c.xml'
    path.write_text(text)
    with pytest.raises(InputError, match=match):
        read_plus_config(path)


def test_missing_tip_is_said(tmp_path):
    path = tmp_path / 'c.xml'
    path.write_text(config_text(tip='Other'))
    with pytest.raises(InputError, match='From="StylusTip" To="Stylus"'):
        _ = read_plus_config(path).stylus_T_tip


def test_finds_the_configuration_in_a_sibling_folder_and_not_the_results(tmp_path):
    (tmp_path / 'TestImages').mkdir()
    (tmp_path / 'ConfigFiles').mkdir()
    recording = tmp_path / 'TestImages' / 'run.igs.mha'
    (tmp_path / 'TestImages' / 'a.results.xml').write_text(
        config_text().replace('From="StylusTip" To="Stylus"', 'From="Phantom" To="Reference"')
    )
    (tmp_path / 'ConfigFiles' / 'broken.xml').write_text('<')
    (tmp_path / 'ConfigFiles' / 'other.xml').write_text(config_text(sequence='other.mha'))
    wanted = tmp_path / 'ConfigFiles' / 'this.xml'
    wanted.write_text(config_text(sequence='..\\TestImages\\run.igs.mha'))
    assert find_plus_config(recording) == wanted
    assert find_truth(recording).to_T_from[0, 3] == pytest.approx(0.1085)
    assert find_plus_config(tmp_path / 'TestImages' / 'unknown.mha') is None


def test_of_several_results_that_of_the_same_stylus_is_taken(tmp_path):
    recording = tmp_path / 'run.igs.mha'
    (tmp_path / 'this.xml').write_text(config_text(sequence='run.igs.mha'))
    config = read_plus_config(find_plus_config(recording))
    for name, shift in (('a', 0.1), ('b', 0.002), ('c', 0.3)):
        tip, phantom = config.stylus_T_tip.copy() * 1.0, np.eye(4)
        tip[0, 3] += shift
        phantom[2, 3] = shift
        matrices = ''.join(
            f'<Transform From="{first}" To="{second}" Matrix="{" ".join(map(str, millimetres(pose).ravel()))}"/>'
            for first, second, pose in (('StylusTip', 'Stylus', tip), ('Phantom', 'Reference', phantom))
        )
        (tmp_path / f'{name}.results.xml').write_text(
            f'<PlusConfiguration><CoordinateDefinitions>{matrices}</CoordinateDefinitions></PlusConfiguration>'
        )
    assert find_truth(recording, config).to_T_from[2, 3] == pytest.approx(0.002)


def millimetres(pose):
    return pose * np.array([[1, 1, 1, 1e3], [1, 1, 1, 1e3], [1, 1, 1, 1e3], [1, 1, 1, 1]])


def test_real_configuration(shared_data):
    recording = shared_data / 'plus_tracker/TestImages/EightLandmarkPointsTrackedForPhantomRegistration.igs.mha'
    config = read_plus_config(find_plus_config(recording))
    np.testing.assert_allclose(config.stylus_T_tip[:3, 3] * 1e3, [108.565, 7.77385, 2.5389], rtol=1e-12)
    assert len(config.landmark_names) == 8
    assert find_truth(recording, config).date == '100814_153927'
