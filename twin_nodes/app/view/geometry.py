"""Meshes of what has no model of its own: shaft, tip, marker body, tracker. Generated, in metres."""

from dataclasses import dataclass

import numpy as np

from twin_nodes.core.geometry.se3 import Array, make_transform

SIDES = 24


@dataclass(frozen=True)
class Mesh:
    """Vertices [m], shape (n, 3), and faces, shape (m, 3)."""

    vertices: Array
    faces: Array


def join(*meshes: Mesh) -> Mesh:
    """Put several meshes into one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.vstack([mesh.vertices for mesh in meshes]),
        np.vstack([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]).astype(np.uint32),
    )


def frustum(start: Array, end: Array, start_radius: float, end_radius: float) -> Mesh:
    """Make a closed round rod from start to end, points (3,), that may taper."""
    axis = np.asarray(end, float) - start
    rotation = rotation_to(axis)
    angle = np.linspace(0.0, 2.0 * np.pi, SIDES, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(SIDES)], axis=1) @ rotation.T
    vertices = np.vstack([start + start_radius * ring, end + end_radius * ring, [start], [end]])
    this, following = np.arange(SIDES), (np.arange(SIDES) + 1) % SIDES
    faces = np.vstack(
        [
            np.stack([this, following, this + SIDES], axis=1),
            np.stack([following, following + SIDES, this + SIDES], axis=1),
            np.stack([following, this, np.full(SIDES, 2 * SIDES)], axis=1),
            np.stack([this + SIDES, following + SIDES, np.full(SIDES, 2 * SIDES + 1)], axis=1),
        ]
    )
    return Mesh(vertices, faces.astype(np.uint32))


def sphere(centre: Array, radius: float, *, rings: int = 12) -> Mesh:
    """Make a sphere around centre, shape (3,)."""
    polar = np.linspace(0.0, np.pi, rings + 1)
    azimuth = np.linspace(0.0, 2.0 * np.pi, SIDES, endpoint=False)
    polar, azimuth = (grid.ravel() for grid in np.meshgrid(polar, azimuth, indexing='ij'))
    unit = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)
    row, column = (grid.ravel() for grid in np.meshgrid(np.arange(rings), np.arange(SIDES), indexing='ij'))
    a, b = row * SIDES + column, row * SIDES + (column + 1) % SIDES
    faces = np.vstack([np.stack([a, a + SIDES, b], axis=1), np.stack([b, a + SIDES, b + SIDES], axis=1)])
    return Mesh(np.asarray(centre, float) + radius * unit, faces.astype(np.uint32))


def box(size: Array, centre: Array) -> Mesh:
    """Make a box of edge lengths size [m], shape (3,), around centre."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]  # fmt: skip
    return Mesh(np.asarray(centre, float) + corners * size, np.array(faces, np.uint32))


def inflated(mesh: Mesh, margin: float) -> Mesh:
    """Move the surface of a body outwards until each triangle is at least that far out [m]; all are turned outwards.

    A corner goes along the mean of the normals around it, farther where they differ, at a sharp edge up to twice.
    """
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    areas = np.cross(b - a, c - a)  # twice the area, along the normal
    inside_out = np.einsum('ij,ij->', a, areas) < 0.0
    if inside_out:
        areas = -areas
    normals = np.zeros_like(mesh.vertices, dtype=float)
    for corner in range(3):
        np.add.at(normals, mesh.faces[:, corner], areas)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    sizes = np.linalg.norm(areas, axis=1)
    whole = sizes > 1e-15  # others have no normal
    faces, units = mesh.faces[whole], areas[whole] / sizes[whole, None]
    least = np.ones(len(normals))
    for corner in range(3):
        np.minimum.at(least, faces[:, corner], np.einsum('ij,ij->i', normals[faces[:, corner]], units))
    return Mesh(
        mesh.vertices + margin * normals / np.maximum(least, 0.5)[:, None],
        mesh.faces[:, ::-1] if inside_out else mesh.faces,
    )


def outline(corners: Array) -> Array:
    """Return the edges that only one of the triangles (3n, 3) has, shape (m, 2, 3) [m]."""
    triangles = corners.reshape(-1, 3, 3)
    edges = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2, 3)
    swap = [tuple(start) > tuple(end) for start, end in edges]
    ordered = np.where(np.array(swap)[:, None, None], edges[:, ::-1], edges).reshape(-1, 6)
    _, first, counts = np.unique(ordered, axis=0, return_index=True, return_counts=True)
    return np.asarray(edges[first[counts == 1]])


def rotation_to(axis: Array) -> Array:
    """Return a rotation (3, 3) that takes z to the direction of axis."""
    z = np.asarray(axis, float) / np.linalg.norm(axis)
    x = np.cross(np.eye(3)[int(np.argmin(np.abs(z)))], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def look_at(position: Array, target: Array, up: Array) -> Array:
    """Return the pose of a camera at position that looks along +z at target with -y towards up."""
    z = (target - position) / np.linalg.norm(target - position)
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    return make_transform(np.stack([x, np.cross(z, x), z], axis=1), position)


BODY_SPHERES = np.array([[0.0, 0.0, 0.0], [0.045, 0.0, 0.006], [-0.018, 0.032, 0.006], [-0.02, -0.04, 0.006]])


def body_struts(radius: float = 0.0022) -> Mesh:
    """Make the struts of a marker body with four spheres."""
    return join(*(frustum(BODY_SPHERES[0], end, radius, radius) for end in BODY_SPHERES[1:]))


def body_spheres(radius: float = 0.0055) -> Mesh:
    """Make the four reflecting spheres of a marker body."""
    return join(*(sphere(centre, radius) for centre in BODY_SPHERES))


def tool_shaft(axis: Array, length: float, radius: float, burr_radius: float) -> Mesh:
    """Make shaft and handpiece behind a tip at the origin; axis points from tip to handle."""
    unit = np.asarray(axis, float) / np.linalg.norm(axis)
    neck, end = 0.45 * length * unit, length * unit
    handle = max(3.2 * radius, 0.004)
    return join(
        frustum(0.5 * burr_radius * unit, neck, radius, radius),
        frustum(neck, neck + 0.08 * length * unit, radius, handle),
        frustum(neck + 0.08 * length * unit, end, handle, 1.15 * handle),
    )


def tracker_case() -> Mesh:
    """Make the case of an optical tracker that looks along +z, lenses on its x axis."""
    return join(
        box(np.array([0.56, 0.07, 0.06]), np.array([0.0, 0.0, -0.03])),
        box(np.array([0.09, 0.10, 0.07]), np.array([-0.24, 0.0, -0.03])),
        box(np.array([0.09, 0.10, 0.07]), np.array([0.24, 0.0, -0.03])),
    )


def tracker_lenses() -> Mesh:
    """Make the two lenses of an optical tracker."""
    ends = [(np.array([x, 0.0, 0.004]), np.array([x, 0.0, 0.012])) for x in (-0.24, 0.24)]
    return join(*(frustum(start, end, 0.034, 0.030) for start, end in ends))
