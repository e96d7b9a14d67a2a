"""The environment of the launched processes: good defaults, never over what the user set."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from twin_nodes.app.launch import packages
from twin_nodes.core.errors import ConfigError

WHEELS_RMW = 'rmw_fastrtps_cpp'
GUARD = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'
_ONE_THREAD = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NUMBA_NUM_THREADS')


def ros_from_wheels() -> bool:
    """Whether rclpy comes from PyPI wheels in this Python environment (else a sourced ROS, or none).

    Raises:
        ConfigError: when there is no rclpy at all.
    """
    found = find_spec('rclpy')
    if found is None or found.origin is None:
        raise ConfigError('rclpy is not installed: run `make`, or source a ROS 2 (source /opt/ros/<distro>/setup.bash)')
    return Path(found.origin).is_relative_to(sys.prefix)


def check_rmw(environment: Mapping[str, str]) -> None:
    """Refuse a middleware that the wheels lack; each process would end with code 102 and no word.

    Raises:
        ConfigError: naming the variable and the mend.
    """
    wanted = environment.get('RMW_IMPLEMENTATION', '')
    if wanted not in ('', WHEELS_RMW) and ros_from_wheels():
        raise ConfigError(
            f'RMW_IMPLEMENTATION={wanted}: ROS 2 from wheels has {WHEELS_RMW} only; type `unset RMW_IMPLEMENTATION`'
        )


def child_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for launched processes: `given`, completed where it says nothing.

    Args:
        given: The user's environment.

    Raises:
        ConfigError: for a middleware that cannot work.
    """
    check_rmw(given)
    environment = dict(given)
    for name in _ONE_THREAD:  # one thread per kernel: a second one on a shared core costs milliseconds
        environment.setdefault(name, '1')
    environment.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    environment.setdefault('PYTHONUNBUFFERED', '1')
    environment.setdefault('RCUTILS_LOGGING_BUFFERED_STREAM', '0')
    if not environment.get('AMENT_PREFIX_PATH'):
        environment['AMENT_PREFIX_PATH'] = sys.prefix
    profile = packages.find_share(packages.OURS, environment) / 'config' / 'fastdds.xml'
    if profile.is_file():
        jazzy = environment.get('ROS_DISTRO') == 'jazzy'  # Kilted and later warn about the old name
        name = 'FASTRTPS_DEFAULT_PROFILES_FILE' if jazzy else 'FASTDDS_DEFAULT_PROFILES_FILE'
        environment.setdefault(name, str(profile))
    return environment


def complete_environment() -> None:
    """Give this process what launched ones get; to be called before its first ROS context.

    Raises:
        ConfigError: for a middleware that cannot work.
    """
    for name, value in child_environment(os.environ).items():
        os.environ.setdefault(name, value)


def for_program(environment: Mapping[str, str], program: str) -> dict[str, str]:
    """Return the environment for one program, mindful of the wheels' start-up hook.

    The hook re-executes Python once with a library path and sets a guard variable. The guard may stay only where the
    library path is there too and the program runs on this very Python; any other Python would be broken by it.
    """
    own = dict(environment)
    libraries = [item for item in own.get('LD_LIBRARY_PATH', '').split(os.pathsep) if item]
    if not _runs_on_this_python(program):
        own.pop(GUARD, None)
        libraries = [item for item in libraries if not Path(item).is_relative_to(sys.prefix)]
        if 'LD_LIBRARY_PATH' in own:
            own['LD_LIBRARY_PATH'] = os.pathsep.join(libraries)
    elif str(Path(sys.prefix) / 'lib') not in libraries:
        own.pop(GUARD, None)
    return own


def _runs_on_this_python(program: str) -> bool:
    path = Path(program)
    if path.parent.absolute() == Path(sys.executable).parent.absolute():
        return True
    try:
        with path.open('rb') as file:
            first = file.readline(512)
    except OSError:
        return False
    return first.startswith(b'#!') and os.fsencode(str(Path(sys.prefix) / 'bin')) in first
