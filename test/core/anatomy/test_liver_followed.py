"""The simulated liver followed from what an operating room gives: the whole chain of the core, held against truth."""

import numpy as np
import pytest
from live_bodies import CONFIG, organ_body

from twin_nodes.core.anatomy.session import AnatomySession
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import inverse, transform_points
from twin_nodes.core.simulate.liver_scene import GRASPER, LESIONS, PROBE, LiverScene, LiverSceneConfig, tool_T_tip

REST = np.array(list(LESIONS.values()))
RATE = 10


@pytest.fixture(scope='module')
def followed():
    """Play the scene to 22 s; return times, errors by lesion [m], those of the rigid registration, and refusals."""
    scene = LiverScene(LiverSceneConfig(tets=1500, points=600))
    session = AnatomySession(organ_body(1500), REST, {}, CONFIG, replay=True, pushers=(PROBE,))
    registered = inverse(scene.tracker_T_patient @ scene.registration)
    slip = inverse(scene.patient_T_anatomy) @ scene.registration
    rows, refused = [], []
    for tick in range(22 * RATE):
        before, now, stamp_ns = (tick - 1) / RATE, tick / RATE, 1 + tick * 10**9 // RATE
        state = scene.step(now)
        for tool in (GRASPER, PROBE):
            session.add_tip(tool, stamp_ns, registered @ scene.tool_pose(state, tool) @ tool_T_tip(), 1e-8)
        session.set_grip(GRASPER, closed=state.closed)
        wrong = scene.wrong(before, now)
        if wrong or scene.is_due(before, now):
            try:
                session.observe(stamp_ns, transform_points(registered, scene.cloud(state, wrong)), 0.0015)
            except InputError as error:
                refused.append((wrong, error.code))
        frame = session.step()
        missed = transform_points(slip, frame.targets) - state.targets
        rotated = slip[:3, :3] @ frame.covariances @ slip[:3, :3].T
        squared = np.einsum('ki,ki->k', missed, np.linalg.solve(rotated, missed[:, :, None])[:, :, 0])
        rigid = transform_points(slip, REST) - state.targets
        rows.append((now, np.linalg.norm(missed, axis=1), np.linalg.norm(rigid, axis=1), squared < 7.815, frame))
    scene.close()
    session.close()
    times, errors, rigid, inside, frames = zip(*rows, strict=True)
    return np.array(times), np.array(errors), np.array(rigid), np.array(inside), frames, refused


def test_hidden_lesions_are_followed_through_all_that_happens(followed):
    times, errors, rigid, inside, _, _ = followed
    known = times > 5.0
    # the same with 4000 and 5000 tetrahedra misses by 0.8 mm in the mean; coarse meshes cost a millimetre
    assert errors[known].mean() < 0.0025 and errors[known].mean() < 0.4 * rigid[known].mean()
    assert inside[known].mean() > 0.85
    for begin, end in ((7.0, 12.5), (16.0, 21.0)):
        assert errors[(times > begin) & (times < end)].mean() < 0.0035


def test_grasp_and_push_are_felt_and_what_is_wrong_is_refused(followed):
    times, _, _, _, frames, refused = followed
    assert refused == [('mirrored', 'OBSERVED_REFUSED')]
    held = [frame.held for time, frame in zip(times, frames, strict=True) if 6.5 < time < 12.0]
    pushed = [frame.pushed for time, frame in zip(times, frames, strict=True) if 17.5 < time < 19.0]
    assert min(held) >= 4
    assert all(PROBE in state and np.linalg.norm(state[PROBE].force) > 0.05 for state in pushed)
    assert not frames[-1].pushed and not frames[-1].held
