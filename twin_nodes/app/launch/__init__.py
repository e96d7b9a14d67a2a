"""Runs ROS 2 launch XML files from wheels alone: the same file, unchanged, also runs under `ros2 launch`."""

from twin_nodes.app.launch.plan import LaunchArgument, LaunchPlan, ProcessPlan
from twin_nodes.app.launch.session import LaunchSession

__all__ = ['LaunchArgument', 'LaunchPlan', 'LaunchSession', 'ProcessPlan']
