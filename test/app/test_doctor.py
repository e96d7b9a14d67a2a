"""What the doctor says of a machine, good and bad."""

import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twin_nodes.app import doctor, shared_memory

OLD_S = 3600.0


@pytest.fixture
def quick(monkeypatch):
    """Leave out the two checks that start processes or need a network."""
    slow = (doctor.check_messages, doctor.check_clock)
    monkeypatch.setattr(doctor, 'CHECKS', tuple(check for check in doctor.CHECKS if check not in slow))


def test_every_line_has_a_level_and_each_fault_a_mend(quick, capsys):
    doctor.doctor(json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line['check'] for line in lines} >= {'python', 'ros', 'rmw', 'tf2', 'discovery', 'encryption', 'disk'}
    for line in lines:
        assert line['level'] in ('ok', 'warn', 'fail')
        assert line['text']
        assert line['level'] != 'fail' or line['mend']


def test_a_message_goes_from_process_to_process():
    line = doctor.check_messages()
    assert (line.level, line.mend) == (doctor.OK, ''), line


def test_tf2_msgs_has_the_official_hash():
    assert doctor.check_tf2().level == doctor.OK


def test_a_wrong_hash_fails(monkeypatch):
    monkeypatch.setattr(doctor, 'TF2_MSGS_HASH', 'RIHS01_other')
    assert doctor.check_tf2().level == doctor.FAIL


@pytest.mark.parametrize(
    ('name', 'value', 'check', 'level', 'mend'),
    [
        ('RMW_IMPLEMENTATION', 'rmw_zenoh_cpp', doctor.check_rmw, 'fail', 'unset RMW_IMPLEMENTATION'),
        ('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp', doctor.check_rmw, 'ok', ''),
        ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'OFF', doctor.check_discovery, 'fail', 'LOCALHOST'),
        ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET', doctor.check_discovery, 'warn', 'LOCALHOST'),
        ('ROS_SECURITY_ENABLE', 'true', doctor.check_encryption, 'fail', 'unset ROS_SECURITY_ENABLE'),
        ('AMENT_PREFIX_PATH', '/opt/ros/jazzy', doctor.check_ros, 'fail', 'without sourcing'),
        ('NUMBA_CACHE_DIR', '/proc/none/none', doctor.check_numba, 'warn', 'NUMBA_CACHE_DIR'),
    ],
)
def test_environment_is_judged(monkeypatch, name, value, check, level, mend):
    monkeypatch.setenv(name, value)
    line = check()
    assert line.level == level
    assert mend in line.mend


def test_a_full_disk_fails(monkeypatch):
    monkeypatch.setattr(doctor, 'DISK_FAIL_BYTES', 2**80)
    assert doctor.check_disk().level == doctor.FAIL


def test_a_check_that_breaks_is_a_finding_and_the_rest_is_seen(monkeypatch, capsys):
    def check_broken_thing():
        raise OSError('no such luck')

    monkeypatch.setattr(doctor, 'CHECKS', (check_broken_thing, doctor.check_python))
    assert doctor.doctor() == 1
    out = capsys.readouterr().out
    assert 'broken thing' in out
    assert 'no such luck' in out
    assert 'python' in out


def leave(folder: Path, name: str, age_s: float) -> Path:
    path = folder / name
    path.write_bytes(b'x' * 1000)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_only_old_unmapped_files_are_stale(tmp_path):
    old = leave(tmp_path, 'fastdds_0123', OLD_S)
    leave(tmp_path, 'fastdds_young', 1.0)
    leave(tmp_path, 'other_file', OLD_S)
    mapped = leave(tmp_path, 'fastdds_mapped', OLD_S)
    opened = leave(tmp_path, 'fastrtps_open', OLD_S)
    with mapped.open('r+b') as file, opened.open('rb'):
        view = mmap.mmap(file.fileno(), 0)
        file.close()
        assert shared_memory.stale_files(tmp_path) == [old]
        view.close()
    assert shared_memory.stale_files(tmp_path) == [old, mapped, opened]
    assert shared_memory.remove([old, mapped, opened, old]) == (3, 3000)
    assert shared_memory.stale_files(tmp_path) == []


def test_files_of_another_process_are_left_alone(tmp_path):
    path = leave(tmp_path, 'fastdds_theirs', OLD_S)
    text = f'import sys\nf = open({str(path)!r})\nprint(1, flush=True)\nsys.stdin.read()'
    with subprocess.Popen([sys.executable, '-c', text], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b'1\n'
        assert shared_memory.stale_files(tmp_path) == []
        child.stdin.close()
        child.wait(10)
    assert shared_memory.stale_files(tmp_path) == [path]


def test_clean_says_what_it_removed(quick, monkeypatch, tmp_path, capsys):
    path = leave(tmp_path, 'fastdds_1', OLD_S)
    monkeypatch.setattr(doctor, 'stale_files', lambda: shared_memory.stale_files(tmp_path))
    doctor.doctor(clean=True)
    assert 'removed 1 stale' in capsys.readouterr().out
    assert not path.exists()
