"""What can stand in an argument, for the completion of shells. Called at each press of the tab key: nothing heavy."""


def codes(incomplete: str) -> list[tuple[str, str]]:
    """Codes with their titles."""
    from twin_nodes.core.codes import CODES

    wanted = incomplete.upper().replace('-', '_')
    return [(code, entry.title) for code, entry in CODES.items() if code.startswith(wanted)]


def scenes(incomplete: str) -> list[str]:
    """Scenes of the demo."""
    from twin_nodes.app.demo import SCENES

    return [scene for scene in SCENES if scene.startswith(incomplete)]


def forms(incomplete: str) -> list[str]:
    """Forms of the export."""
    return [form for form in ('tum', 'csv', 'vtk', 'lerobot') if form.startswith(incomplete)]


def benches(incomplete: str) -> list[str]:
    """Benches by name."""
    from twin_nodes.app.bench.runner import BENCHES

    return sorted(name for name in BENCHES if name.startswith(incomplete))


def launch_files(incomplete: str) -> list[str]:
    """Launch files of this package."""
    from twin_nodes.app.launch.packages import find_share

    folder = find_share('twin_nodes', {}) / 'launch'
    return sorted(path.name for path in folder.glob('*.xml') if path.name.startswith(incomplete))
