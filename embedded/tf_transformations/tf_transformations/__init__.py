"""Euler angles, quaternions (xyzw) and 4×4 matrices under the names that tf users know.

Angles in radians. `axes` is 's' (about the axes at rest) or 'r' (about the turning axes) and three of x, y, z.
Where the originals answer nonsense (a quaternion of zeros becomes the identity), these raise ValueError.
"""

from .matrices import (
    compose_matrix,
    concatenate_matrices,
    decompose_matrix,
    euler_from_matrix,
    euler_matrix,
    identity_matrix,
    inverse_matrix,
    is_same_transform,
    random_rotation_matrix,
    rotation_from_matrix,
    rotation_matrix,
    translation_from_matrix,
    translation_matrix,
)
from .quaternions import (
    euler_from_quaternion,
    quaternion_about_axis,
    quaternion_conjugate,
    quaternion_from_euler,
    quaternion_from_matrix,
    quaternion_inverse,
    quaternion_matrix,
    quaternion_multiply,
    quaternion_slerp,
    random_quaternion,
)
from .vectors import random_vector, unit_vector, vector_norm

__all__ = [
    'compose_matrix',
    'concatenate_matrices',
    'decompose_matrix',
    'euler_from_matrix',
    'euler_from_quaternion',
    'euler_matrix',
    'identity_matrix',
    'inverse_matrix',
    'is_same_transform',
    'quaternion_about_axis',
    'quaternion_conjugate',
    'quaternion_from_euler',
    'quaternion_from_matrix',
    'quaternion_inverse',
    'quaternion_matrix',
    'quaternion_multiply',
    'quaternion_slerp',
    'random_quaternion',
    'random_rotation_matrix',
    'random_vector',
    'rotation_from_matrix',
    'rotation_matrix',
    'translation_from_matrix',
    'translation_matrix',
    'unit_vector',
    'vector_norm',
]
