"""The values of each node's YAML for a scene; everything else is the default in the code."""

from pathlib import Path
from typing import Any

from twin_nodes.app.config_files import render
from twin_nodes.ros.registry import CONFIGS, config_type

TOOL, PATIENT = 'drill', 'patient'
# PSM1 stands on the right of the peg board, PSM2 on the left
PEG_BASES = [0.09, -0.02, 0.15, 0.0, 0.0, 0.0, -0.09, -0.02, 0.15, 0.0, 0.0, 0.0]

ROOM: dict[str, dict[str, Any]] = {
    'tracker': {
        'source': 'openigtlink',
        'tracking.tools': [PATIENT, TOOL],
        'tracking.device_names': ['ReferenceToTracker', 'DrillToTracker'],
        'tracking.clock.latency': 0.0,
    },
    'calibration': {'tool': TOOL, 'reference': PATIENT},
    'registration': {
        'tool': TOOL,
        'patient': PATIENT,
        'landmarks_file': 'room',
        'session.dwell.min_duration_s': 0.7,
    },
    'anatomy': {
        'structures': ['bone', 'nerve', 'artery'],
        'files': ['room:bone', 'room:nerve', 'room:artery'],
        'carving.enabled': True,
        'carving.tool': TOOL,
        'carving.patient': PATIENT,
        'carving.protected': ['nerve', 'artery'],
        'carving.carver.burr.radius': 0.001,
    },
    'guidance': {
        'tool': TOOL,
        'patient': PATIENT,
        'guard': ['nerve', 'artery'],
        'advisor.guidance.tool.tip_radius': 0.001,
        'advisor.guidance.tool.shaft_length': 0.06,
        'advisor.guidance.tool.shaft_radius': 0.001,
        'advisor.guidance.tool.shaft_direction': [0.0, 0.0, 1.0],
    },
    'haptics': {'case': 'case', 'tool': TOOL},
    'respiration': {'markers': ['chest', 'belly']},
    'route': {
        'skin': 'bone',
        'guard': ['nerve', 'artery'],
        'session.target': [0.031, -0.06, 0.112],
        'session.entry_centre': [0.031, -0.047, 0.142],
    },
    'robot': {'arms': ['PSM1', 'PSM2'], 'bases': PEG_BASES},
    'simulated_robot': {'arms': ['PSM1', 'PSM2'], 'bases': PEG_BASES},
    'room': {'port': 18944},
    'simulated_liver': {'patient': PATIENT},
    'wan_bridge': {
        'key_file': '~/.config/twin/wan.key',
        'send': ['PSM1/measured_cp', 'PSM1/measured_js', 'PSM1/jaw/measured_js'],
        'receive': ['PSM1/servo_cp', 'PSM1/jaw/servo_jp'],
        'bind_port': 47800,
        'bridge.role': 'follower',
    },
    'wan_bulk': {
        'key_file': '~/.config/twin/wan.key',
        'role': 'follower',
        'endpoint': 'tcp/0.0.0.0:47810',
    },
    # stands 80 ms after the last command: the period of the set points and that of the robot come on top
    'compensation': {'role': 'follower', 'arm': 'PSM1', 'base_frame': 'world', 'follower.playback.hold_after': 0.08},
    'relay': {'scenario': 'N7'},
    'console': {'arm': 'PSM1'},
    'anatomy_pose': {'base_frame': 'world'},
    'predicted_anatomy': {'base_frame': 'world'},
    'link': {'input': 'servo_cp', 'output': 'far/servo_cp', 'type': 'geometry_msgs/msg/PoseStamped'},
    'view': {'tools': [TOOL], 'shaft_length': 0.06, 'shaft_radius': 0.001, 'burr_radius': 0.001},
}

ROBOT: dict[str, dict[str, Any]] = {
    'robot': ROOM['robot'],
    'simulated_robot': ROOM['simulated_robot'],
    'view': {
        'tools': ['PSM1', 'PSM2'],
        'tracker_frame': 'world',
        'models': ['PSM1/model', 'PSM2/model', 'task/model'],
        'tracking': False,
        'shaft_axis': [0.0, 0.0, -1.0],
        'shaft_length': 0.01,
        'shaft_radius': 0.0008,
        'burr_radius': 0.0008,
    },
}

# one arm over the middle of the board, and a nerve across it at 12 mm of height; commands at 100 Hz and the robot at
# 50 Hz, as both sites, the page and what judges them share the cores of one machine
TELESURGERY: dict[str, dict[str, Any]] = {
    'relay': {'scenario': 'N7'},
    'console': {'arm': 'PSM1', 'touch': [0.0, 0.0, 0.014], 'rate': 100.0},
    'compensation': {
        'role': 'follower',
        'arm': 'PSM1',
        'base_frame': 'world',
        'anatomy.guard': ['nerve'],
        'rate': 100.0,
        'follower.playback.hold_after': 0.06,
    },
    'wan_bridge': ROOM['wan_bridge'],
    'wan_bulk': ROOM['wan_bulk'],
    'anatomy': {'structures': ['nerve'], 'files': ['room:nerve'], 'carving.enabled': False},
    'anatomy_pose': {'base_frame': 'world', 'fixed': [-0.047, -0.031, -0.0974, 0.0, 0.0, 1.5707963267948966]},
    'predicted_anatomy': {'base_frame': 'world'},
    'robot': {'arms': ['PSM1'], 'bases': [0.0, -0.02, 0.15, 0.0, 0.0, 0.0]},
    'simulated_robot': {
        'arms': ['PSM1'],
        'bases': [0.0, -0.02, 0.15, 0.0, 0.0, 0.0],
        'task': 'board',
        'rate_hz': 50.0,
        'realtime': True,
    },
    'view': {
        'tools': ['PSM1'],
        'tracker_frame': 'world',
        'models': ['follower/PSM1/model', 'follower/task/model'],
        'tracking': False,
        'sites': ['leader', 'follower'],
        'site_gap': 0.3,
        'shaft_axis': [0.0, 0.0, -1.0],
        'shaft_length': 0.01,
        'shaft_radius': 0.0008,
        'burr_radius': 0.0008,
    },
}

LIVER: dict[str, dict[str, Any]] = {
    'simulated_liver': ROOM['simulated_liver'],
    'anatomy': {
        'deforming.enabled': True,
        'deforming.patient': PATIENT,
        'deforming.tools': ['grasper', 'probe'],
        'deforming.pushers': ['probe'],
        'deforming.target_structures': ['lesion', 'cyst'],
        'deforming.surface_period': 0.1,
        'deforming.session.tissue.fixed': ['back'],
        'deforming.session.contact.radius': 0.006,
    },
    'view': {
        'tools': ['grasper', 'probe'],
        'up': '-y',
        'fixed_frame': 'anatomy',
        'shaft_length': 0.1,
        'shaft_radius': 0.003,
        'burr_radius': 0.006,
    },
}


def files_of(scene: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the YAML text of each node of a scene, by file name."""
    return {
        f'{name}.yaml': render(name, config_type(f'{name}_node'), values)
        for name, values in scene.items()
        if f'{name}_node' in CONFIGS
    }


def write_config(folder: Path) -> None:
    """Write the YAML files of the simulated room, those that the package ships."""
    for name, text in files_of(ROOM).items():
        (folder / name).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    write_config(Path(__file__).resolve().parents[2] / 'config')
