"""The full frame of a tool's tip, from a pivot (where it is) and a spin (where the shaft points)."""

import numpy as np

from twin_nodes.core.calibration.spin import SpinResult
from twin_nodes.core.geometry.se3 import Array, make_transform

_NEARLY_PARALLEL = 0.9


def tip_frame(axis_tool: Array) -> Array:
    """Return tool_R_tip (3, 3) of a tool whose axis is known: z along the axis, from the tip up the shaft.

    x is the x axis of the marker, made square to z; where those two are within 26° of one another, the marker's y axis
    takes its place.
    """
    z = np.asarray(axis_tool, float) / np.linalg.norm(axis_tool)
    start = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < _NEARLY_PARALLEL else np.array([0.0, 1.0, 0.0])
    x = start - (start @ z) * z
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def tip_tie(tip_tool: Array, tip_covariance: Array, spin: SpinResult) -> tuple[Array, Array]:
    """Return tool_T_tip (4, 4) and its covariance (6, 6) from a pivot and a spin, which know nothing of one another.

    Args:
        tip_tool: The tip in the marker [m], shape (3,).
        tip_covariance: Its covariance [m²], shape (3, 3).
        spin: The axis.
    """
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = tip_covariance
    jacobian = _turn_by_axis(spin.axis_tool)
    covariance[3:, 3:] = jacobian @ spin.covariance @ jacobian.T
    return make_transform(tip_frame(spin.axis_tool), tip_tool), covariance


def _turn_by_axis(axis: Array) -> Array:
    """Derivative (3, 3) of the rotation of the tip frame, in the axes of the marker, by the axis.

    A change δz turns the frame by z × δz and, because x follows the marker, a little about z; found by differences. The
    turn about z has no error of its own: it is a convention.
    """
    step, rotation = 1e-6, tip_frame(axis)
    jacobian = np.zeros((3, 3))
    for basis in (rotation[:, 0], rotation[:, 1]):
        turned = tip_frame(axis + step * basis) @ rotation.T
        vector = np.array([turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], turned[1, 0] - turned[0, 1]])
        jacobian += np.outer(vector / (2.0 * step), basis)
    return jacobian
