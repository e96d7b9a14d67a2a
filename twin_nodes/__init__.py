"""Live digital twins for surgery: tracking, registration, anatomy, guidance and telesurgery as ROS 2 nodes."""

from twin_nodes.kernel_files import keep_apart

__version__ = '0.1.0'

keep_apart()
