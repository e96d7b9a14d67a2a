"""What is packed, locked and named fits what is there."""

import ast
import os
import re
import runpy
import shutil
import stat
import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import twin_nodes

ROOT = Path(__file__).resolve().parents[1]
NAME = 'twin_nodes'
BENCH = 'twin_nodes/app/bench'
MAX_BYTES = 1_000_000
TEXT = {'', '.cfg', '.css', '.html', '.js', '.json', '.md', '.py', '.sh', '.toml', '.txt', '.xml', '.yaml', '.yml'}
IN_ROS = {'tf2_ros': 'tf2_ros_py'}  # module → the ROS package that brings it
# written so that this file does not hold what it looks for
MACHINE = re.compile('|'.join(['/' + place for place in ('work/', 'root/', 'farm/', r'home/\w+/')]))
REGISTRY = re.compile('|'.join([r'py' + r'pi\.org', 'python' + r'hosted\.org', 'index' + '-url', 'npm' + r'js\.org']))
EXTRAS = [f'requirements-{name}.txt' for name in ('images', 'learn', 'tetwild', 'wan', 'pdf', 'lerobot')]
PEERS = 'requirements-peers.txt'
# what carries another name than its module
NAMED = {'open3d': 'open3d-cpu', 'pinocchio': 'pin', 'warp': 'warp-lang', 'zenoh': 'eclipse-zenoh'}
# requirements that rosdep knows under another name than python3-<name>, and those that it does not know: by pip
IN_ROSDEP = {
    'opencv-python-headless': 'python3-opencv', 'pyyaml': 'python3-yaml', 'scikit-image': 'python3-skimage',
    'rosbags': 'python3-rosbags-pip',
}  # fmt: skip
BY_PIP = {'llvmlite', 'lz4', 'mcap', 'nibabel', 'pynrrd', 'viser', 'zstandard'}
IF_IMPORTABLE = {'crtk_msgs'}  # ROS packages that are used where they are, and not asked for
PLACEHOLDER = re.compile('/home/' + '(you|user|me)/')


def tracked() -> list[Path]:
    """List the files of the repository: tracked, or new and not ignored."""
    words = ['git', '-C', str(ROOT), 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    listing = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return [path for name in sorted(set(listing.split('\0'))) if name and (path := ROOT / name).is_file()]


def requirements(file: str) -> list[Requirement]:
    lines = (line.split('#')[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def third_party(folder: str, *, but: str = '') -> set[str]:
    """Return the top-level modules that the Python files below a folder import from elsewhere."""
    files = [path for path in sorted((ROOT / folder).rglob('*.py')) if not but or not path.is_relative_to(ROOT / but)]
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.split('.')[0])
    local = {path.stem for path in files} | {NAME}
    return found - set(sys.stdlib_module_names) - local


def is_ros(module: str) -> bool:
    return module.startswith(('rclpy', 'tf2_', 'tf_transformations')) or module.endswith(
        ('_msgs', '_srvs', '_interfaces')
    )


@pytest.fixture(scope='module')
def setup_arguments() -> dict:
    """What setup.py hands to setuptools."""
    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.delenv('AMENT_PREFIX_PATH', raising=False)
        patch.setattr(setuptools, 'setup', lambda **arguments: seen.update(arguments))
        runpy.run_path(str(ROOT / 'setup.py'))
    return seen


@pytest.fixture(scope='module')
def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / 'package.xml').getroot()


@pytest.fixture(scope='module')
def locked() -> dict[str, str]:
    """Version by name in constraints.txt."""
    versions = {}
    for requirement in requirements('constraints.txt'):
        (specifier,) = requirement.specifier
        assert specifier.operator == '==', f'{requirement} is not locked'
        versions[canonicalize_name(requirement.name)] = specifier.version
    return versions


def test_name_version_and_licence_agree(setup_arguments, manifest):
    assert setup_arguments['version'] == manifest.findtext('version') == twin_nodes.__version__
    assert setup_arguments['name'] == manifest.findtext('name') == NAME
    assert setup_arguments['license'] == manifest.findtext('license') == 'Apache-2.0'
    words = ' '.join((ROOT / 'LICENSE').read_text().split())
    assert words.startswith('Apache License Version 2.0, January 2004')


def test_every_node_has_a_console_script_and_every_script_a_target(setup_arguments):
    scripts = dict(line.split(' = ') for line in setup_arguments['entry_points']['console_scripts'])
    assert set(scripts) == {'twin', *(path.stem for path in (ROOT / NAME / 'nodes').glob('*_node.py'))}
    for target in scripts.values():
        module, _, function = target.partition(':')
        assert callable(getattr(import_module(module), function)), target


def test_everything_in_the_package_is_packed(setup_arguments):
    folder = ROOT / NAME
    packages = {package.replace('.', '/') for package in setup_arguments['packages']}
    patterns = setup_arguments['package_data'][NAME]
    data = {path for pattern in patterns for path in folder.glob(pattern)}
    for path in tracked():
        if path.is_relative_to(folder):
            packed = str(path.parent.relative_to(ROOT)) in packages if path.suffix == '.py' else path in data
            assert packed, f'{path.relative_to(ROOT)} would not be in the wheel'


def test_shared_folders_are_packed_whole(setup_arguments):
    packed = {file for _, files in setup_arguments['data_files'] for file in files}
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.split('/')[0] in ('launch', 'config', 'urdf', 'resource') or name == 'package.xml':
            assert name in packed
    places = dict(setup_arguments['data_files'])
    assert places['share/ament_index/resource_index/packages'] == [f'resource/{NAME}']
    assert f'launch/{"demo.launch.xml"}' in places[f'share/{NAME}/launch']


def test_package_xml_names_what_the_code_imports_from_ros(manifest):
    named = {tag.text for tag in manifest.findall('exec_depend') if not tag.text.startswith('python3-')}
    imported = {IN_ROS.get(module, module) for module in third_party(NAME) if is_ros(module)}
    assert named == imported - IF_IMPORTABLE


def test_package_xml_names_the_libraries_that_rosdep_knows(manifest):
    named = {tag.text for tag in manifest.findall('exec_depend') if tag.text.startswith('python3-')}
    required = {canonicalize_name(item.name) for item in requirements('requirements.txt')}
    assert named == {IN_ROSDEP.get(name, f'python3-{name}') for name in required - BY_PIP}
    assert required >= BY_PIP


@pytest.mark.parametrize(
    ('folder', 'but', 'files'),
    [
        (NAME, BENCH, ['requirements.txt', *EXTRAS]),  # extras are imported when they are needed
        (BENCH, '', ['requirements.txt', 'requirements-test.txt', PEERS, *EXTRAS]),  # what figures are compared with
        ('test', '', ['requirements.txt', 'requirements-test.txt']),
    ],
)
def test_requirements_name_what_is_imported(folder, but, files):
    named = {canonicalize_name(item.name) for file in files for item in requirements(file)} | {'setuptools'}
    brings = metadata.packages_distributions()
    come_along = {'packaging', 'crcmod'} if 'requirements-test.txt' in files else set()  # with pytest and pyigtl
    for module in sorted(third_party(folder, but=but)):
        if is_ros(module) or module in {'build_tf2_msgs', *come_along}:
            continue
        # a wheel that lists no modules, such as that of small_gicp, or that is not there has the name of its module
        distributions = {canonicalize_name(name) for name in brings.get(module, [NAMED.get(module, module)])}
        assert distributions & named, f'{module} (of {distributions}) is not in {files}'


def test_everything_required_is_locked_in_its_range(locked):
    required = [
        item
        for file in ('requirements.txt', 'requirements-ros.txt', 'requirements-test.txt', 'requirements-docs.txt')
        for item in requirements(file)
    ]
    for file in (ROOT / 'pyproject.toml', *ROOT.glob('embedded/*/pyproject.toml')):
        project = tomllib.loads(file.read_text())
        lines = project['build-system']['requires'] + project.get('project', {}).get('dependencies', [])
        required += [Requirement(line) for line in lines]
    for item in required:
        name = canonicalize_name(item.name)
        assert name in locked, f'{item} is not in constraints.txt; type: make lock'
        assert item.specifier.contains(locked[name]), f'{item}, yet constraints.txt has {locked[name]}; type: make lock'
    assert 'pip' in locked


def test_what_the_requirements_bring_along_is_locked_too(locked):
    todo = [item for file in ('requirements.txt', 'requirements-ros.txt') for item in requirements(file)]
    seen = set()
    while todo:
        item = todo.pop()
        name, extras = canonicalize_name(item.name), ('', *sorted(item.extras))
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        assert name in locked, f'{name} is not in constraints.txt; type: make lock'
        for line in metadata.requires(item.name) or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({'extra': extra}) for extra in extras):
                todo.append(needed)
    assert len(seen) > 50


def test_what_is_locked_serves_the_oldest_python_that_is_promised(locked, setup_arguments):
    (promise,) = SpecifierSet(setup_arguments['python_requires'])
    needs = {
        canonicalize_name(item.name): SpecifierSet(item.metadata.get('Requires-Python') or '')
        for item in metadata.distributions()
        if locked.get(canonicalize_name(item.name)) == item.version
    }
    assert len(needs) > 50
    late = {name: str(need) for name, need in needs.items() if f'{promise.version}.0' not in need}
    assert not late, f'{late}: Python {promise.version}.0 cannot install these; type: make lock'


def test_launch_files_name_executables_and_files_that_exist(setup_arguments):
    scripts = {line.split(' = ')[0] for line in setup_arguments['entry_points']['console_scripts']}
    shares = {'$(find-pkg-share twin_nodes)': ROOT, '$(var config)': ROOT / 'config'}
    files = sorted((ROOT / 'launch').rglob('*.launch.xml'))
    assert files
    for file in files:
        tree = ElementTree.parse(file)
        for node in tree.iter('node'):
            if node.get('pkg') == NAME:
                assert node.get('exec') in scripts, f'{file.name}: no executable {node.get("exec")}'
        for element in tree.iter():
            place = element.get('from') or element.get('file') or ''
            for word, folder in shares.items():
                place = place.replace(word, str(folder))
            assert not place or '$(' in place or Path(place).is_file(), f'{file.name}: no file {place}'


def test_files_are_small_and_parse():
    for path in tracked():
        name = path.relative_to(ROOT)
        assert path.stat().st_size <= MAX_BYTES, f'{name} has more than {MAX_BYTES} bytes'
        if path.suffix in ('.yaml', '.yml'):
            list(yaml.safe_load_all(path.read_text()))
        elif path.suffix in ('.xml', '.urdf', '.xacro'):
            ElementTree.parse(path)
        elif path.suffix == '.toml':
            tomllib.loads(path.read_text())


def test_no_file_names_a_machine_or_a_registry():
    for path in tracked():
        if path.suffix in TEXT:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                bare = PLACEHOLDER.sub('', line)
                found = MACHINE.search(bare) or REGISTRY.search(bare)
                assert not found, f'{path.relative_to(ROOT)}:{number} names {found.group()}'


# scripts/debian-packages, on a machine that lacks a compiler


@pytest.fixture
def bare_machine(tmp_path):
    """Run scripts/debian-packages with a PATH that holds the given programs and little else."""

    def run(*words: str, user: int, **programs: str) -> subprocess.CompletedProcess:
        for tool in ('env', 'find', 'grep', 'sh'):
            (tmp_path / tool).symlink_to(shutil.which(tool))
        for name, body in {'id': f'echo {user}', **programs}.items():
            program = tmp_path / name.replace('_', '-')
            program.write_text(f'#!/bin/sh\n{body}\n')
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return subprocess.run(
            ['/bin/sh', str(ROOT / 'scripts' / 'debian-packages'), *words, sys.executable],
            capture_output=True,
            text=True,
            check=False,
            env={'PATH': str(tmp_path), 'LOG': str(tmp_path / 'log'), 'HOME': os.environ.get('HOME', '/')},
        )

    return run


def test_a_user_without_rights_is_told_the_one_line(bare_machine):
    done = bare_machine('build', user=1000, apt_get='exit 99')
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].strip() == 'sudo apt-get install -y --no-install-recommends g++'


def test_root_installs_what_is_missing(bare_machine, tmp_path):
    done = bare_machine('test', user=0, apt_get='echo "$@" >> "$LOG"', chromium='exit 0')
    assert done.returncode == 0, done.stderr
    update, install = (tmp_path / 'log').read_text().splitlines()
    assert update.startswith('update')
    assert install.startswith('install -y --no-install-recommends g++')
    assert 'chromium' not in install


def test_root_without_a_mirror_is_told_the_line_without_sudo(bare_machine):
    done = bare_machine('test', user=0, apt_get='exit 100')
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1].strip()
    assert line.startswith('apt-get install -y --no-install-recommends g++ chromium')


def test_nothing_is_asked_for_where_all_is_there(bare_machine):
    done = bare_machine('build', user=1000, apt_get='exit 99', **{'c++': 'exit 0'})
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
