"""Live digital twins for surgery: tracking, registration, anatomy, guidance and telesurgery as ROS 2 nodes."""

__version__ = '0.1.0'
