"""The peg board and its rings as markers."""

import numpy as np
from visualization_msgs.msg import Marker, MarkerArray

from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.robot.model import Shape
from twin_nodes.core.simulate.peg_transfer import LEFT, PEG_HEIGHT, PEG_RADIUS, RIGHT, RING_HEIGHT, RING_RADIUS, pegs
from twin_nodes.ros.robot_markers import shape_marker

BOARD = (0.13, 0.075, 0.004)
BOARD_COLOUR, PEG_COLOUR, RING_COLOUR = (0.32, 0.36, 0.42), (0.86, 0.84, 0.78), (0.93, 0.55, 0.20)
SIDES = 8


def board_markers(frame: str, rings: int) -> MarkerArray:
    """Make the board, its pegs, and the rings on frames ring_0, ring_1 and so on.

    Args:
        frame: Frame of the board.
        rings: How many rings there are.
    """
    board = Shape('board', 'box', BOARD, make_transform(np.eye(3), [0.0, 0.0, -0.5 * BOARD[2]]))
    markers = [shape_marker(frame, 'board', 0, board, BOARD_COLOUR)]
    for index, peg in enumerate(np.vstack([pegs(LEFT), pegs(RIGHT)])):
        centre = make_transform(np.eye(3), [peg[0], peg[1], 0.5 * PEG_HEIGHT])
        shape = Shape('peg', 'cylinder', (PEG_RADIUS, PEG_HEIGHT), centre)
        markers.append(shape_marker(frame, 'pegs', index, shape, PEG_COLOUR))
    for index in range(rings):
        markers += _ring(f'ring_{index}', index)
    return MarkerArray(markers=markers)


def _ring(frame: str, index: int) -> list[Marker]:
    """Make a ring of short rods: there is no marker with a hole."""
    found = []
    length = 2.0 * RING_RADIUS * np.tan(np.pi / SIDES)
    for side in range(SIDES):
        angle = 2.0 * np.pi * side / SIDES
        c, s = float(np.cos(angle)), float(np.sin(angle))
        pose = make_transform([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], [c * RING_RADIUS, s * RING_RADIUS, 0.0])
        shape = Shape(frame, 'box', (0.002, length * 1.1, RING_HEIGHT), pose)
        found.append(shape_marker(frame, 'rings', SIDES * index + side, shape, RING_COLOUR))
    return found
