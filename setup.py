"""Installs twin_nodes by pip, by colcon and into ROS; the ROS parts that PyPI lacks come from embedded/."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

NAME = 'twin_nodes'
HERE = Path(__file__).resolve().parent
# pip asks for a wheel and makes bin/twin itself; in a workspace of colcon nobody does
IN_WORKSPACE = {'bdist_wheel', 'dist_info', 'editable_wheel'}.isdisjoint(sys.argv)
NODES = sorted(path.stem for path in HERE.glob('twin_nodes/nodes/*_node.py'))


def requirements(file: str) -> list[str]:
    """Return the lines of a requirements file that are no comments."""
    lines = (line.split('#')[0].strip() for line in (HERE / file).read_text().splitlines())
    return [line for line in lines if line]


def shared(*folders: str) -> list[tuple[str, list[str]]]:
    """Return the files below these folders with the place of each below the prefix."""
    tree = [(path, names) for folder in folders for path, _, names in os.walk(folder) if names]
    return [(f'share/{NAME}/{path}', [f'{path}/{name}' for name in sorted(names)]) for path, names in sorted(tree)]


class FreshBuild(build_py):
    """Builds from the sources alone: setuptools would take along modules that an earlier build left behind."""

    def run(self) -> None:
        """Forget the earlier build, then build."""
        shutil.rmtree(Path(self.build_lib) / NAME, ignore_errors=True)
        super().run()


def sourced_ros_has(package: str) -> bool:
    """Whether a sourced ROS brings this package."""
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return any((Path(prefix) / 'share' / package / 'package.xml').is_file() for prefix in prefixes if prefix)


# our folder → the ROS package that brings the same Python module
IN_ROS = {'tf2_msgs': 'tf2_msgs', 'tf2_ros': 'tf2_ros_py', 'tf_transformations': 'tf_transformations'}
EMBEDDED = [
    f'{folder.replace("_", "-")} @ {(HERE / "embedded" / folder).as_uri()}'
    for folder, package in IN_ROS.items()
    if not sourced_ros_has(package)
]
for left_over in (*HERE.glob('embedded/*/build'), *HERE.glob('embedded/*/*.egg-info')):
    shutil.rmtree(left_over, ignore_errors=True)  # pip builds these folders in place: no stale module may travel

setup(
    name=NAME,
    version='0.1.0',
    description='Live digital twins for surgery as ROS 2 nodes.',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={
        NAME: [
            'py.typed',
            'core/guidance/prediction/*.npz',
            'io/links/*.yaml',
            'app/**/*.html',
            'app/**/*.css',
            'app/**/*.js',
        ]
    },
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/twin_nodes']),
        (f'share/{NAME}', ['package.xml']),
        *shared('launch', 'config', 'layouts', 'urdf'),
        *([('bin', ['scripts/twin'])] if IN_WORKSPACE else []),
    ],
    install_requires=['setuptools', *requirements('requirements.txt'), *EMBEDDED],
    extras_require={
        name: requirements(f'requirements-{name}.txt')
        for name in ('ros', 'test', 'images', 'tetwild', 'wan', 'learn', 'pdf', 'peers', 'docs', 'lerobot')
    },
    zip_safe=False,
    cmdclass={'build_py': FreshBuild},
    entry_points={
        'console_scripts': [
            'twin = twin_nodes.app.cli:main',
            *[f'{node} = twin_nodes.nodes.{node}:main' for node in NODES],
        ]
    },
)
