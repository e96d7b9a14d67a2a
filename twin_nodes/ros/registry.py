"""Which config class stands behind which node; `twin check` and the tests of the YAML files read it."""

from importlib import import_module
from typing import Any

CONFIGS: dict[str, str] = {
    'tracker_node': 'twin_nodes.nodes.tracker_config:TrackerNodeConfig',
    'calibration_node': 'twin_nodes.nodes.calibration_node:CalibrationNodeConfig',
    'registration_node': 'twin_nodes.nodes.registration_config:RegistrationNodeConfig',
    'anatomy_node': 'twin_nodes.nodes.anatomy_node:AnatomyNodeConfig',
    'haptics_node': 'twin_nodes.nodes.haptics_node:HapticsNodeConfig',
    'guidance_node': 'twin_nodes.nodes.guidance_node:GuidanceNodeConfig',
    'route_node': 'twin_nodes.nodes.route_node:RouteNodeConfig',
    'respiration_node': 'twin_nodes.nodes.respiration_node:RespirationNodeConfig',
    'robot_node': 'twin_nodes.nodes.robot_node:RobotNodeConfig',
    'simulated_robot_node': 'twin_nodes.nodes.simulated_robot_node:SimulatedRobotNodeConfig',
    'simulated_liver_node': 'twin_nodes.nodes.simulated_liver_node:SimulatedLiverNodeConfig',
    'room_node': 'twin_nodes.nodes.room_node:RoomNodeConfig',
    'wan_bridge_node': 'twin_nodes.nodes.wan_bridge_node:WanBridgeConfig',
    'wan_bulk_node': 'twin_nodes.nodes.wan_bulk_node:WanBulkConfig',
    'link_node': 'twin_nodes.nodes.link_node:LinkNodeConfig',
    'compensation_node': 'twin_nodes.nodes.compensation_node:CompensationNodeConfig',
    'relay_node': 'twin_nodes.nodes.relay_node:RelayNodeConfig',
    'console_node': 'twin_nodes.nodes.console_node:ConsoleNodeConfig',
    'anatomy_pose_node': 'twin_nodes.nodes.anatomy_pose_node:AnatomyPoseConfig',
    'predicted_anatomy_node': 'twin_nodes.nodes.predicted_anatomy_node:PredictedAnatomyConfig',
    'view_node': 'twin_nodes.nodes.view_node:ViewConfig',
}


def config_type(executable: str) -> type[Any]:
    """Import the config class of a node.

    Raises:
        KeyError: for an executable that is not ours.
    """
    module, _, name = CONFIGS[executable].partition(':')
    found: type[Any] = getattr(import_module(module), name)
    return found
