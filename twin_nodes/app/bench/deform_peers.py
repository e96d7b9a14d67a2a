"""Other solvers on the scene of bench `deform`: newton and pbatoolkit (VBD, XPBD), scikit-fem and MKL (Newton).

Each starts at rest and follows the first frames of the path from its own last state, on one thread. Inertia is made
negligible (tiny density, long step, velocities set to 0), so that all of them solve the same quasi-static problem; the
energy of VBD in newton is ours, that of pbatoolkit converges to the same state.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin_nodes.app.bench.deform_scene import Scene, exact, timed
from twin_nodes.core.anatomy.elastic.objective import Objective
from twin_nodes.core.geometry.se3 import Array

STEP_S, DENSITY = 1.0, 1e-3


@dataclass
class PeerRun:
    """What a peer gave.

    Args:
        name: Of the peer and its setting.
        times: Of each frame [ms].
        error: Of the last of these frames [%], the kindest to solvers that lag behind at the start.
    """

    name: str
    times: list[float]
    error: float

    @property
    def ms(self) -> float:
        """Median time of a frame [ms]."""
        return float(np.median(self.times))


Follower = Callable[[int], Array]


def run_peers(scene: Scene, frames: int, *, quick: bool) -> Iterator[PeerRun]:
    """Run each peer that is installed over the first frames; `quick` leaves out newton, which compiles for minutes."""
    makers: list[tuple[str, Callable[[Scene], Follower], int]] = [
        ('pbatoolkit VBD with Anderson, 20 iterations', lambda s: pbat_vbd(s, 20), frames),
        ('MKL PARDISO, one Newton step on our stiffness', pardiso_newton, frames),
        ('scikit-fem, one Newton step', skfem_newton, min(frames, 3)),
    ]
    if not quick:
        makers += [
            ('newton VBD, 10 iterations', lambda s: newton_vbd(s, 10), frames),
            ('newton VBD, 100 iterations', lambda s: newton_vbd(s, 100), frames),
            ('newton XPBD, 20 iterations', newton_xpbd, frames),
        ]
    references: dict[int, Array] = {}
    for name, make, count in makers:
        try:
            with redirect_stdout(sys.stderr):  # what peers say is no figure
                follow = make(scene)
        except ImportError:
            continue
        times, error = [], 0.0
        for frame in range(count):
            states: list[Array] = []
            with redirect_stdout(sys.stderr):
                times.append(timed(lambda follow=follow, frame=frame, states=states: states.append(follow(frame))))
            if frame not in references:
                references[frame] = exact(scene, frame, references.get(frame - 1, scene.model.rest))
            error = scene.error_percent(states[0], references[frame])
        yield PeerRun(name, times[1:], error)


def _newton_model(scene: Scene, density: float) -> tuple[Any, Any]:
    import warp as wp

    wp.config.quiet = True
    import newton

    body = scene.model
    mu, lam = body.parameters[0, :2]
    builder = newton.ModelBuilder(gravity=(0.0, 0.0, 0.0))
    builder.add_soft_mesh(
        pos=wp.vec3(0.0, 0.0, 0.0), rot=wp.quat_identity(), scale=1.0, vel=wp.vec3(0.0, 0.0, 0.0),
        vertices=[wp.vec3(*point) for point in body.rest], indices=body.tets.ravel().tolist(), density=density,
        k_mu=float(mu), k_lambda=float(lam), k_damp=0.0,
    )  # fmt: skip
    for node in np.concatenate([body.fixed, scene.grasp]):
        builder.particle_mass[int(node)] = 0.0
    builder.color()
    return newton, builder.finalize(device='cpu')


def _newton_follower(scene: Scene, model: Any, solver: Any, step_s: float) -> Follower:
    state, other, control = model.state(), model.state(), model.control()

    def follow(frame: int) -> Array:
        nonlocal state, other
        x = state.particle_q.numpy()
        x[scene.grasp] = scene.loads(frame).held_at
        state.particle_q.assign(x)
        state.particle_qd.zero_()
        solver.step(state, other, control, None, step_s)
        state, other = other, state
        return np.asarray(state.particle_q.numpy(), float)

    return follow


def newton_vbd(scene: Scene, iterations: int) -> Follower:
    """Vertex block descent on Warp's CPU device."""
    newton, model = _newton_model(scene, DENSITY)
    solver = newton.solvers.SolverVBD(model, iterations=iterations)
    return _newton_follower(scene, model, solver, STEP_S)


def newton_xpbd(scene: Scene) -> Follower:
    """Position-based dynamics on Warp's CPU device, with a tissue's inertia and a relaxation of 0.1."""
    newton, model = _newton_model(scene, 1060.0)
    solver = newton.solvers.SolverXPBD(model, iterations=20, soft_body_relaxation=0.1)
    return _newton_follower(scene, model, solver, 1.0 / 60.0)


def pbat_vbd(scene: Scene, iterations: int) -> Follower:
    """Vertex block descent of pbatoolkit with Anderson acceleration."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    from pbatoolkit import pbat

    body = scene.model
    vbd = pbat.sim.vbd
    count = len(body.tets)
    mu, lam = body.parameters[0, 0], body.parameters[0, 1] - body.parameters[0, 0]
    faces = np.asfortranarray(body.mesh.outer_faces.T.astype(np.int64))
    pinned = np.sort(np.concatenate([body.fixed, scene.grasp])).astype(np.int64)
    data = (
        vbd.Data()
        .with_volume_mesh(np.asfortranarray(body.rest.T), np.asfortranarray(body.tets.T.astype(np.int64)))
        .with_surface_mesh(np.unique(faces), faces)
        .with_material(np.full(count, DENSITY), np.full(count, mu), np.full(count, lam))
        .with_acceleration(np.zeros((3, body.count), order='F'))
        .with_dirichlet_vertices(pinned)
        .with_initialization_strategy(vbd.InitializationStrategy.Position)
        .with_anderson_acceleration(5)
        .construct()
    )
    integrator = vbd.Integrator(data)

    def follow(frame: int) -> Array:
        x = np.array(integrator.x, order='F')
        x[:, scene.grasp] = scene.loads(frame).held_at.T
        integrator.x = x
        integrator.v = np.zeros_like(x)
        integrator.step(STEP_S, iterations, 1)
        return np.array(integrator.x).T

    return follow


def pardiso_newton(scene: Scene) -> Follower:
    """One Newton step each frame with MKL's PARDISO (f64, its own numeric factorisation), on our stiffness."""
    from pypardiso import PyPardisoSolver
    from scipy import sparse

    body = scene.model
    solver = PyPardisoSolver(mtype=2)
    x = body.rest.copy()
    matrix = body.hessian(x)
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    kept = matrix.indices >= row
    upper = sparse.csr_matrix((matrix.data[kept], (row[kept], matrix.indices[kept])), shape=matrix.shape)
    diagonal = upper.indptr[:-1]
    held = (3 * body.number[scene.grasp][:, None] + np.arange(3)).ravel()
    stiff = 1e9 * float(matrix.diagonal().mean())
    solver.set_phase(11)
    solver._call_pardiso(upper, np.zeros((matrix.shape[0], 1)))

    def follow(frame: int) -> Array:
        nonlocal x
        loads = scene.loads(frame)
        objective = Objective(body, loads, x)
        _, gradient = objective(x)
        upper.data[:] = body.hessian(x).data[kept]
        upper.data[diagonal[held]] += stiff
        right = -gradient[body.free]
        right[body.number[loads.held]] = stiff * (loads.held_at - x[loads.held])
        solver.set_phase(22)  # the numbers alone: the order of elimination is kept
        solver._call_pardiso(upper, right.reshape(-1, 1))
        solver.set_phase(33)
        move = np.zeros_like(x)
        move[body.free] = solver._call_pardiso(upper, right.reshape(-1, 1)).reshape(-1, 3)
        x = x + move
        x[loads.held] = loads.held_at
        return x.copy()

    return follow


def skfem_newton(scene: Scene) -> Follower:
    """One Newton step each frame by scikit-fem: its assembly of our law, scipy's direct solver."""
    import skfem
    from skfem.helpers import ddot, det, grad, inv, transpose

    body = scene.model
    mu, lam = body.parameters[0, :2]
    mesh = skfem.MeshTet(body.rest.T, body.tets.T.astype(np.int64))
    basis = skfem.Basis(mesh, skfem.ElementVector(skfem.ElementTetP1()))

    def kinematics(w: Any) -> tuple[Any, Any, Any]:
        f = grad(w['u']) + np.eye(3)[:, :, None, None]
        j = det(f)
        return f, j, transpose(inv(f))

    @skfem.BilinearForm
    def stiffness(u: Any, v: Any, w: Any) -> Any:
        _, j, cof = kinematics(w)
        du, dv = grad(u), grad(v)
        slope = j - 1.0 - mu / lam
        turned = np.einsum('ij...,kj...,kl...->il...', cof, du, cof)
        twice = (j + slope) * j * ddot(cof, du) * ddot(cof, dv)
        return mu * ddot(du, dv) + lam * (twice - slope * j * ddot(turned, dv))

    @skfem.LinearForm
    def force(v: Any, w: Any) -> Any:
        f, j, cof = kinematics(w)
        return ddot(mu * f + lam * (j - 1.0 - mu / lam) * j * cof, grad(v))

    u = np.zeros(basis.N)
    inner = np.setdiff1d(np.arange(body.count), np.concatenate([body.fixed, scene.grasp]))
    loose = (3 * inner[:, None] + np.arange(3)).ravel()

    def follow(frame: int) -> Array:
        nonlocal u
        moved = np.zeros((body.count, 3))
        moved[scene.grasp] = scene.loads(frame).held_at - (body.rest + u.reshape(-1, 3))[scene.grasp]
        at = basis.interpolate(u)
        matrix, pulled = stiffness.assemble(basis, u=at), force.assemble(basis, u=at)
        step = skfem.solve(*skfem.condense(matrix, -pulled, x=moved.ravel(), I=loose))
        u = u + step
        return body.rest + u.reshape(-1, 3)

    return follow
