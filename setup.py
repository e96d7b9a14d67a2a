"""Installs twin_nodes by pip, by colcon and into ROS; the ROS parts that PyPI lacks come from embedded/."""

import os
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'twin_nodes'
HERE = Path(__file__).resolve().parent
NODES = sorted(path.stem for path in HERE.glob('twin_nodes/nodes/*_node.py'))


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

setup(
    name=NAME,
    version='0.1.0',
    description='Live digital twins for surgery as ROS 2 nodes.',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['py.typed', 'app/**/*.html', 'app/**/*.css', 'app/**/*.js']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/twin_nodes']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', glob('launch/*.xml')),
        (f'share/{NAME}/config', glob('config/*.*')),
        (f'share/{NAME}/urdf', glob('urdf/*.*')),
    ],
    install_requires=[
        'setuptools',
        'numpy>=1.26,<3',
        'scipy>=1.11',
        'numba>=0.60',
        'PyYAML>=6',
        'typer>=0.12',
        'rich>=13',
        'psutil>=5.9',
        'rosbags>=0.10',
        'mcap>=1.2',
        'meshio>=5.3',
        'scikit-image>=0.22',
        'nibabel>=5',
        'pynrrd>=1.0',
        'viser>=1.1,<1.2',
        'zstandard>=0.20',
        'lz4>=4',
        *EMBEDDED,
    ],
    extras_require={
        'test': ['pytest>=8', 'pytest-timeout', 'hypothesis>=6', 'pyigtl>=0.3.4', 'playwright>=1.40', 'pillow'],
    },
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'twin = twin_nodes.app.cli:main',
            *[f'{node} = twin_nodes.nodes.{node}:main' for node in NODES],
        ]
    },
)
