"""What the demo of a recording takes: devices with long names, and a refusal where nothing was tracked."""

import pytest

from twin_nodes.app.demo_recording import open_scene, scene_configs
from twin_nodes.core.errors import InputError

HEAD = 'ObjectType = Image\nNDims = 3\nDimSize = 1 1 1\n'
POSE = '1 0 0 5 0 1 0 0 0 0 1 0 0 0 0 1'


def sequence(path, devices):
    lines = [HEAD]
    for frame in range(3):
        lines.append(f'Seq_Frame{frame:04d}_Timestamp = {frame}.5\n')
        for device in devices:
            lines.append(f'Seq_Frame{frame:04d}_{device}Transform = {POSE}\n')
            lines.append(f'Seq_Frame{frame:04d}_{device}TransformStatus = OK\n')
    path.write_text(''.join([*lines, 'ElementDataFile = LOCAL\n']))
    return path


def test_names_are_those_that_go_over_the_wire(tmp_path):
    scene = open_scene(
        sequence(tmp_path / 'a.igs.mha', ['StepperEncoderValuesToStepperHome', 'ProbeToTracker']), None, None
    )
    tracker = scene_configs(scene, tmp_path, 1.0)['tracker']
    assert tracker['tracking.device_names'] == ['StepperEncoderValues', 'ProbeToTracker']


def test_a_recording_in_which_nothing_was_tracked_is_refused(tmp_path):
    with pytest.raises(InputError, match='no device was tracked in its 3 frames'):
        open_scene(sequence(tmp_path / 'a.igs.mha', []), None, None)
