"""`twin doctor`: what works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import json as json_module
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from twin_nodes.app import standing
from twin_nodes.app.launch import packages
from twin_nodes.app.launch.environment import WHEELS_RMW, ros_from_wheels
from twin_nodes.app.shared_memory import remove, stale_files
from twin_nodes.core.errors import ConfigError

OK, WARN, FAIL = 'ok', 'warn', 'fail'
TF2_MSGS_HASH = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'  # REP-2016, TFMessage
ECHO_DEADLINE_S = 8.0
SHM_WANTED_BYTES = 128 * 2**20
DISK_WARN_BYTES = 2 * 2**30
DISK_FAIL_BYTES = 200 * 2**20
_ECHO = """
import rclpy, time
from std_msgs.msg import String
rclpy.init(args=[])
node = rclpy.create_node('twin_doctor_echo')
publisher = node.create_publisher(String, {topic!r}, 1)
end = time.monotonic() + {seconds}
while rclpy.ok() and time.monotonic() < end:
    publisher.publish(String(data='echo'))
    rclpy.spin_once(node, timeout_sec=0.05)
"""


@dataclass(frozen=True)
class Line:
    """One line of the doctor.

    Args:
        check: What was looked at.
        level: ok, warn or fail.
        text: What was seen.
        mend: The command or deed that mends it, or ''.
    """

    check: str
    level: str
    text: str
    mend: str = ''


def doctor(*, json: bool = False, clean: bool = False) -> int:
    """Look at everything; 1 when something fails.

    Args:
        json: One object per line.
        clean: Remove stale shared memory first.
    """
    if clean:
        removed, freed = remove(stale_files())
        if not json:
            print(f'removed {removed} stale shared-memory files, {freed / 2**20:.0f} MB')
    failed = False
    for check in CHECKS:
        line = _guarded(check)
        failed |= line.level == FAIL
        if json:
            print(json_module.dumps(asdict(line)), flush=True)
        else:
            mend = f'\n{"":24}→ {line.mend}' if line.mend else ''
            print(f'{line.level:<5} {line.check:<17} {line.text}{mend}', flush=True)
    return 1 if failed else 0


def _guarded(check: Callable[[], Line]) -> Line:
    try:
        return check()
    except Exception as error:  # a check that breaks is itself a finding; the others must still be seen
        name = check.__name__.removeprefix('check_').replace('_', ' ')
        return Line(name, FAIL, f'{type(error).__name__}: {error}', 'make')


def check_python() -> Line:
    """Look at the interpreter."""
    text = f'{sys.version.split()[0]} in {sys.prefix}'
    return Line('python', OK, text)


def check_ros() -> Line:
    """Look at where ROS 2 comes from, and that two do not mix."""
    try:
        wheels = ros_from_wheels()
    except ConfigError as error:
        return Line('ros', FAIL, str(error), 'make')
    sourced = [
        item for item in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if item.startswith('/opt/ros')
    ]
    if wheels and sourced:
        text = f'rclpy from wheels, yet {sourced[0]} is sourced: their libraries mix at random'
        return Line('ros', FAIL, text, 'open a shell without sourcing ROS, or leave the virtual environment')
    return Line('ros', OK, standing.ros())


def check_rmw() -> Line:
    """Look at the middleware that is asked for."""
    wanted = os.environ.get('RMW_IMPLEMENTATION', '')
    if wanted not in ('', WHEELS_RMW) and ros_from_wheels():
        text = f'RMW_IMPLEMENTATION={wanted}, but the wheels have {WHEELS_RMW} only'
        return Line('rmw', FAIL, text, 'unset RMW_IMPLEMENTATION')
    return Line('rmw', OK, wanted or f'{WHEELS_RMW} (default)')


def check_messages() -> Line:
    """Send a message from another process to this one."""
    from std_msgs.msg import String

    from twin_nodes.app.listening import Listener

    topic = f'/twin_doctor_{os.getpid()}'
    script = _ECHO.format(topic=topic, seconds=ECHO_DEADLINE_S)
    heard: list[str] = []
    child = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with Listener('twin_doctor') as listener:
            listener.node.create_subscription(String, topic, lambda message: heard.append(message.data), 1)
            listener.spin(ECHO_DEADLINE_S, until=lambda: bool(heard) or child.poll() is not None)
    finally:
        child.kill()
        _, errors = child.communicate()
    if heard:
        return Line('messages', OK, 'a message went from one process to another')
    reason = errors.decode(errors='replace').strip().splitlines()[-1:] or [f'nothing heard in {ECHO_DEADLINE_S:g} s']
    mend = 'unset ROS_DISCOVERY_SERVER FASTDDS_DEFAULT_PROFILES_FILE; twin doctor --clean'
    return Line('messages', FAIL, f'two processes cannot talk: {reason[0]}', mend)


def check_tf2() -> Line:
    """Look at which tf2_ros there is, and that tf2_msgs is the official type."""
    import tf2_ros

    source = 'sourced' if '/opt/ros' in str(tf2_ros.__file__) else 'embedded'
    share = packages.find_share('tf2_msgs', os.environ)
    content = json_module.loads((share / 'msg' / 'TFMessage.json').read_text(encoding='utf-8'))
    hashes = {entry['type_name']: entry['hash_string'] for entry in content['type_hashes']}
    found = hashes.get('tf2_msgs/msg/TFMessage', 'none')
    if found != TF2_MSGS_HASH:
        return Line('tf2', FAIL, f'tf2_ros {source}; tf2_msgs has type hash {found}', 'pip install ./embedded/tf2_msgs')
    return Line('tf2', OK, f'tf2_ros {source}, tf2_msgs has the official type hash')


def check_discovery() -> Line:
    """Look at how far nodes are seen."""
    reach = os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    text = f'{reach}, domain {domain}'
    if reach == 'OFF':
        return Line(
            'discovery', FAIL, f'{text}: nodes do not find each other', 'export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST'
        )
    if os.environ.get('ROS_LOCALHOST_ONLY', '0') == '1':
        return Line('discovery', WARN, f'{text}; ROS_LOCALHOST_ONLY is out of date', 'unset ROS_LOCALHOST_ONLY')
    if reach == 'SUBNET':
        text += ': every machine of the network sees the nodes, unencrypted'
        return Line('discovery', WARN, text, 'export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST')
    return Line('discovery', OK, text)


def check_shared_memory() -> Line:
    """Look at /dev/shm, and at what killed nodes left there."""
    folder = Path('/dev/shm')  # noqa: S108
    if not folder.is_dir():
        return Line('shared memory', WARN, 'no /dev/shm: large messages go over UDP', 'mount -t tmpfs tmpfs /dev/shm')
    free = shutil.disk_usage(folder).free
    stale = stale_files()
    size = sum(path.stat().st_size for path in stale if path.exists())
    text = f'{free / 2**20:.0f} MB free in {folder}'
    if free < SHM_WANTED_BYTES:
        mend = 'twin doctor --clean' if stale else 'give the container more, such as --shm-size=512m'
        return Line('shared memory', WARN, f'{text}, {SHM_WANTED_BYTES / 2**20:.0f} MB wanted', mend)
    if stale:
        text += f'; {len(stale)} stale files of killed nodes hold {size / 2**20:.0f} MB'
        return Line('shared memory', WARN, text, 'twin doctor --clean')
    return Line('shared memory', OK, text)


def check_clock() -> Line:
    """Look at whether something keeps the clock right."""
    if shutil.which('chronyc'):
        done = _output(['chronyc', 'tracking'])
        offset = next(
            (line.split(':', 1)[1].strip() for line in done.splitlines() if line.startswith('System time')), ''
        )
        if offset:
            return Line('clock', OK, f'chrony: {offset}')
    if shutil.which('timedatectl'):
        state = _output(['timedatectl', 'show', '-p', 'NTPSynchronized', '--value']).strip()
        if state == 'yes':
            return Line('clock', OK, 'synchronised (timedatectl)')
        if state == 'no':
            return Line('clock', WARN, 'not synchronised', 'apt-get install chrony')
    text = 'no chrony or timedatectl: not known whether the clock is right (matters with several machines)'
    return Line('clock', WARN, text, 'apt-get install chrony')


def _output(words: list[str]) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=2.0, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ''


def check_numba() -> Line:
    """Look at whether compiled kernels can be kept on disk."""
    if find_spec('numba') is None:
        return Line('numba', FAIL, 'not installed', 'pip install numba')
    named = os.environ.get('NUMBA_CACHE_DIR')
    folder = Path(named) if named else packages.source_root() / packages.OURS
    if os.access(folder if folder.exists() else folder.parent, os.W_OK):
        return Line('numba', OK, f'kernels are cached below {folder}')
    text = f'{folder} cannot be written: each start compiles anew, some seconds'
    return Line('numba', WARN, text, 'export NUMBA_CACHE_DIR=~/.cache/numba')


def check_browser() -> Line:
    """Look for a Chromium, which only the browser test needs."""
    for name in ('chromium', 'chromium-browser', 'google-chrome'):
        if found := shutil.which(name):
            return Line('browser', OK, found)
    if any((Path.home() / '.cache' / 'ms-playwright').glob('chromium*')):
        return Line('browser', OK, 'Chromium of playwright')
    return Line(
        'browser', WARN, 'no Chromium here; only the test of the live view needs it', 'apt-get install chromium'
    )


def check_encryption() -> Line:
    """Say plainly whether DDS traffic can be encrypted."""
    wanted = os.environ.get('ROS_SECURITY_ENABLE', 'false').lower() == 'true'
    if not ros_from_wheels():
        return Line('encryption', OK, 'SROS2 is on' if wanted else 'SROS2 can be used (it is off)')
    text = 'DDS encryption is not available in this install (wheels are built without DDS-Security)'
    if wanted:
        return Line(
            'encryption', FAIL, f'{text}, yet ROS_SECURITY_ENABLE=true', 'unset ROS_SECURITY_ENABLE, or source a ROS'
        )
    return Line('encryption', OK if os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE') == 'LOCALHOST' else WARN, text)


def check_disk() -> Line:
    """Look at the space for bags."""
    free = shutil.disk_usage(Path.cwd()).free
    text = f'{free / 2**30:.1f} GB free in {Path.cwd()}'
    level = FAIL if free < DISK_FAIL_BYTES else WARN if free < DISK_WARN_BYTES else OK
    return Line('disk', level, text, '' if level == OK else 'free some space, or record elsewhere')


CHECKS: tuple[Callable[[], Line], ...] = (
    check_python,
    check_ros,
    check_rmw,
    check_messages,
    check_tf2,
    check_discovery,
    check_shared_memory,
    check_clock,
    check_numba,
    check_browser,
    check_encryption,
    check_disk,
)
