"""`twin` alone: where you stand, and the next step."""

import importlib.metadata
import os
import sys
from importlib.util import find_spec
from pathlib import Path


def version() -> str:
    """Return the version of twin_nodes."""
    try:
        return f'twin_nodes {importlib.metadata.version("twin_nodes")}'
    except importlib.metadata.PackageNotFoundError:
        return 'twin_nodes (from the source tree, not installed)'


def ros() -> str:
    """Say which ROS 2 there is."""
    found = find_spec('rclpy')
    if found is None or found.origin is None:
        return 'none'
    if Path(found.origin).is_relative_to(sys.prefix):
        return f'from wheels (rclpy {importlib.metadata.version("ros-rclpy")})' if _has('ros-rclpy') else 'from wheels'
    return f'sourced ({os.environ.get("ROS_DISTRO", "unknown distribution")})'


def _has(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def running_nodes() -> list[str]:
    """List the node processes of twin_nodes that run on this machine, by their command lines."""
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            words = (folder / 'cmdline').read_bytes().split(b'\0')
        except OSError:
            continue
        for word in words[:4]:
            name = Path(os.fsdecode(word)).name.removeprefix('twin_nodes.nodes.')
            if name.endswith('_node') and (b'twin_nodes' in b' '.join(words) or b'--ros-args' in words):
                found.append(name)
                break
    return sorted(found)


def newest_output(folder: Path = Path('output')) -> Path | None:
    """Return the newest dated folder that a command wrote below the current one, or None."""
    found = [path for path in folder.glob('*_20??-??-??_*') if (path / 'README.txt').is_file()]
    return max(found, key=lambda path: path.name.split('_', 1)[1], default=None)


def show() -> int:
    """Print version, ROS, running nodes and the next step."""
    source = ros()
    nodes = running_nodes()
    print(version())
    print(f'  Python  {sys.version.split()[0]} in {sys.prefix}')
    print(f'  ROS 2   {source}')
    print(f'  nodes   {", ".join(nodes) if nodes else "none running"}')
    newest = newest_output()
    if newest is not None:
        print(f'  newest  {newest}')
    print()
    if source == 'none':
        print('Next: `make` installs ROS 2 from wheels; or source yours (source /opt/ros/<distro>/setup.bash).')
    elif nodes:
        print('Next: `twin frames` draws the frames, `twin why TOPIC` explains a silent topic.')
    elif newest is not None:
        print(f'Next: `twin report {newest}` makes a page of what was done; `twin demo` starts anew.')
    else:
        print('Next: `twin demo` starts the twin of an operating room; `twin doctor` checks this machine.')
    print('All commands: `twin --help`')
    return 0
