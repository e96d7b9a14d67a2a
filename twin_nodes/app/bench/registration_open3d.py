"""Open3d as a peer of the bench `registration`, where it is installed: refinement from a start, and global by features.

Its clouds, normals, covariances and features of the surface are made beforehand; of the sweep, the clouds and the
covariances too, as for small_gicp. Features of the sweep belong to the search and are timed with it.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from twin_nodes.core.anatomy.surface import Surface
from twin_nodes.core.geometry.se3 import Array, inverse

_VOXEL = 0.005
_ITERATIONS = 100


def find_open3d() -> ModuleType | None:
    """Return open3d, or None where it is not installed."""
    try:
        module = import_module('open3d')
    except ImportError:
        return None
    module.utility.set_verbosity_level(module.utility.VerbosityLevel.Error)
    return module


class Open3dPeer:
    """A surface prepared for open3d: its vertices, which lie on the body, with their normals."""

    def __init__(self, open3d: ModuleType, surface: Surface, reach: float) -> None:
        """Prepare a surface; reach is the longest distance to a partner [m]."""
        self._open3d = open3d
        self._registration: Any = open3d.pipelines.registration
        self._reach = reach
        self._target = self.cloud(surface.vertices)
        self._target.normals = open3d.utility.Vector3dVector(surface.vertex_normals)
        self._target.estimate_covariances(open3d.geometry.KDTreeSearchParamKNN(20))
        self._coarse, self._features = self._described(self._target)

    def cloud(self, points: Array) -> Any:
        """Return points (n, 3) [m] as a cloud with covariances, made before the clock runs."""
        made = self._open3d.geometry.PointCloud(self._open3d.utility.Vector3dVector(points))
        made.estimate_covariances(self._open3d.geometry.KDTreeSearchParamKNN(20))
        return made

    def point_to_plane(self, source: Any, start: Array) -> Array:
        """Register by point-to-plane ICP; return patient_T_anatomy."""
        estimation = self._registration.TransformationEstimationPointToPlane()
        found = self._registration.registration_icp(
            source, self._target, self._reach, inverse(start), estimation, self._ends()
        )
        return inverse(np.array(found.transformation))

    def gicp(self, source: Any, start: Array) -> Array:
        """Register by generalised ICP; return patient_T_anatomy."""
        estimation = self._registration.TransformationEstimationForGeneralizedICP()
        found = self._registration.registration_generalized_icp(
            source, self._target, self._reach, inverse(start), estimation, self._ends()
        )
        return inverse(np.array(found.transformation))

    def anywhere(self, source: Any) -> Array:
        """Register without a start: FPFH features, RANSAC, then point-to-plane ICP; return patient_T_anatomy."""
        coarse, features = self._described(source)
        checks = [
            self._registration.CorrespondenceCheckerBasedOnEdgeLength(0.9),
            self._registration.CorrespondenceCheckerBasedOnDistance(1.5 * _VOXEL),
        ]
        found = self._registration.registration_ransac_based_on_feature_matching(
            coarse, self._coarse, features, self._features, True, 1.5 * _VOXEL,
            self._registration.TransformationEstimationPointToPoint(False), 3, checks,
            self._registration.RANSACConvergenceCriteria(100_000, 0.999),
        )  # fmt: skip
        estimation = self._registration.TransformationEstimationPointToPlane()
        found = self._registration.registration_icp(
            source, self._target, 2.0 * _VOXEL, found.transformation, estimation, self._ends()
        )
        return inverse(np.array(found.transformation))

    def paired(self, source: Any, target: Any, pairs: Any) -> Array:
        """Fit paired points; all three are open3d's own and made beforehand."""
        estimation = self._registration.TransformationEstimationPointToPoint(False)
        return np.array(estimation.compute_transformation(source, target, pairs))

    def _ends(self) -> Any:
        return self._registration.ICPConvergenceCriteria(1e-7, 1e-7, _ITERATIONS)

    def _described(self, cloud: Any) -> tuple[Any, Any]:
        search = self._open3d.geometry.KDTreeSearchParamHybrid
        coarse = cloud.voxel_down_sample(_VOXEL)
        if not cloud.has_normals():
            coarse.estimate_normals(search(2.0 * _VOXEL, 30))
            points, normals = np.asarray(coarse.points), np.asarray(coarse.normals)
            # a sweep is seen from outside: its middle bulges towards the viewer
            outside = _outside(points)
            flip = np.sign(normals @ outside)[:, None]
            coarse.normals = self._open3d.utility.Vector3dVector(normals * np.where(flip == 0.0, 1.0, flip))
        return coarse, self._registration.compute_fpfh_feature(coarse, search(5.0 * _VOXEL, 100))


def _outside(points: Array) -> Array:
    """Return the direction in which a sweep of a convex-looking body bulges, shape (3,)."""
    centred = points - points.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][2]
    near = np.linalg.norm(centred - np.outer(centred @ axis, axis), axis=1)
    height = centred @ axis
    return np.asarray(axis * np.sign(height[near < np.median(near)].mean() - height[near >= np.median(near)].mean()))
