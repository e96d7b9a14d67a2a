"""`twin demo` as a user types it: the simulated room and the real recording, through the real nodes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TWIN = [sys.executable, '-m', 'twin_nodes']


def run_demo(folder: Path, *words: str, deadline_s: float = 110.0) -> tuple[int, dict[str, dict], str]:
    command = [*TWIN, 'demo', '--headless', '--json', '--out', str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, check=False)
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    for figure in figures:
        assert {'figure', 'value', 'unit', 'goal', 'peer', 'ratio', 'ok'} <= set(figure)
    return done.returncode, {figure['figure']: figure for figure in figures}, done.stdout + done.stderr


def test_room_keeps_its_promises_and_leaves_a_whole_bag(tmp_path):
    code, figures, said = run_demo(tmp_path, '--seconds', '28')
    assert code == 0, said
    assert figures['landmarks_found']['value'] == 6
    assert figures['lost_poses_published']['value'] == 0
    assert figures['tip_error_rms_mm']['value'] < 0.5
    assert all(figure['ok'] for figure in figures.values()), said
    from rosbags.highlevel import AnyReader

    with AnyReader([tmp_path / 'bag']) as reader:
        topics = {connection.topic: connection.msgcount for connection in reader.connections}
    for topic in ('/drill/filtered_cp', '/patient/measured_cp', '/guidance/clearance', '/tf', '/registration'):
        assert topics.get(topic, 0) > 0, topics
    assert (tmp_path / 'config' / 'guidance.yaml').is_file() and (tmp_path / 'README.txt').is_file()


def test_recording_gives_all_landmarks_and_the_published_pose(tmp_path, shared_data):
    recording = shared_data / 'plus_tracker' / 'TestImages' / 'EightLandmarkPointsTrackedForPhantomRegistration.igs.mha'
    code, figures, said = run_demo(tmp_path, '--recording', str(recording), '--rate', '3', '--no-bag')
    assert code == 0, said
    assert figures['landmarks_found']['value'] == 8
    assert figures['fre_mm']['value'] <= 0.30
    assert figures['pose_error_deg']['value'] <= 0.1
    assert figures['pose_error_mm']['value'] <= 0.2
    assert figures['lost_poses_published']['value'] == 0


def test_recording_with_an_invalid_stylus_publishes_none_of_it_and_says_why(tmp_path, shared_data):
    recording = shared_data / 'plus_tracker' / 'TestImages' / 'NwirePhantomFreehand.igs.mha'
    code, figures, said = run_demo(tmp_path, '--recording', str(recording), '--rate', '3', '--no-bag')
    assert code == 0, said
    assert figures['lost_poses_published']['value'] == 0
    assert figures['poses_published']['value'] == 2 * 97
    assert 'stylus: no pose published: TOOL_LOST: INVALID' in said


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        (['--recording', 'no_such_file.igs.mha'], 'no_such_file.igs.mha'),
        (['--scene', 'roon'], "scene='roon' is none of room"),
    ],
)
def test_refuses_in_one_line(tmp_path, words, says):
    code, figures, said = run_demo(tmp_path, *words)
    assert code == 1 and not figures
    assert says in said and 'Traceback' not in said


def test_ctrl_c_ends_all_processes_soon_and_leaves_a_readable_bag(tmp_path):
    command = [*TWIN, 'demo', '--headless', '--out', str(tmp_path), '--seconds', '100']
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 40.0
    log = tmp_path / 'log.txt'
    while not (log.is_file() and 'the room starts' in log.read_text()):
        assert time.monotonic() < end and demo.poll() is None, 'the room did not start'
        os.sched_yield()
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=40.0)  # of the 100 s that it would go on
    from twin_nodes.io.bags.reader import BagReader

    assert not BagReader(tmp_path / 'bag').loss
