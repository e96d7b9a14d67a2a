"""The demo of the simulated room: every figure is held against the room's own truth."""

from pathlib import Path

import numpy as np

from twin_nodes.app.demo_end import conclude
from twin_nodes.app.demo_session import DemoSession, free_port, new_folder, view_port
from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.observer import Observations, Said
from twin_nodes.app.scenes import PATIENT, ROOM, TOOL, files_of
from twin_nodes.core.geometry.covariance import point_covariance
from twin_nodes.core.geometry.se3 import Array, transform_points
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.conversions import StampedPose

CHI2_3_95 = 7.815
SETTLED_S = 1.0


def run_room(
    *, headless: bool, seconds: float | None, json: bool, port: int, bag: bool, seed: int, out: Path | None
) -> int:
    """Run the room through the real nodes and print what was measured; returns 0 when every promise held."""
    port = 0 if headless else view_port(port)
    url = '' if headless else f'http://127.0.0.1:{port}'
    folder = new_folder(out, 'demo')
    listeners = 4 + int(not headless) + int(bag)  # calibration, registration, guidance, observer; view; recorder
    arguments = {
        'igtl_port': str(free_port()),
        'view': str(not headless).lower(),
        'view_port': str(port or 8080),
        'listeners': str(listeners),
        'seed': str(seed),
    }
    session = DemoSession(
        folder,
        'demo.launch.xml',
        arguments,
        files_of(ROOM),
        tools=(PATIENT, TOOL),
        tool=TOOL,
        bag=bag,
        view_url=url,
        quiet=json,
    )
    with session:
        session.spin_until(lambda: False, seconds=seconds)
        failures = session.failures()
    return conclude(folder, failures, lambda: score_room(session.seen, Room(RoomConfig(seed=seed))), as_json=json)


def score_room(seen: Observations, room: Room) -> list[Figure]:
    """Hold what was heard against the truth of the room; what the time did not suffice for is left out."""
    start_ns = seen.room_start_ns
    heard = len(seen.filtered[TOOL])
    figures = [judge('poses_received', float(heard), '', at_least=1.0)]
    if start_ns is None or not heard:
        return figures
    newest = max(poses[-1].stamp_ns for poses in (seen.filtered[PATIENT], seen.filtered[TOOL], seen.tips) if poses)
    until_s = (newest - start_ns) / NANOSECONDS
    figures += _tracking(seen, room, start_ns)
    if until_s > room.landmarks_start + SETTLED_S:
        figures.append(_calibration(seen, room))
    if until_s > room.drill_start + SETTLED_S:
        figures += _registration(seen, room)
        figures += _guidance(seen, room, start_ns, until_s)
    return figures


def _tracking(seen: Observations, room: Room, start_ns: int) -> list[Figure]:
    raw, smooth = _tool_errors(seen.measured[TOOL], room, start_ns), _tool_errors(seen.filtered[TOOL], room, start_ns)
    ratio = float(np.sqrt((smooth**2).mean() / (raw**2).mean()))
    published = [*seen.measured[TOOL], *seen.filtered[TOOL]]
    half_frame_ns = round(0.5 * NANOSECONDS / room.config.rate_hz)
    hidden = sum(_is_hidden(room, pose.stamp_ns - start_ns, half_frame_ns) for pose in published)
    figures = [
        judge('pose_rms_ratio_to_raw', ratio, '', at_most=0.95, peer='raw poses of the same run'),
        judge('lost_poses_published', float(hidden), '', at_most=0.0),
    ]
    late = _lost_said_late(seen.changes, room, start_ns)
    if late is not None:
        figures.append(judge('lost_said_ms', late * 1e3, 'ms', at_most=50.0))
    return figures


def _tool_errors(poses: list[StampedPose], room: Room, start_ns: int) -> Array:
    errors = [
        np.linalg.norm(pose.pose[:3, 3] - room.truth((pose.stamp_ns - start_ns) / NANOSECONDS).tracker_T_drill[:3, 3])
        for pose in poses
    ]
    return np.array(errors)


def _is_hidden(room: Room, elapsed_ns: int, margin_ns: int) -> bool:
    """Whether the drill was hidden at an instant and half a frame to both sides of it."""
    return all(not room.truth((elapsed_ns + shift) / NANOSECONDS).drill_visible for shift in (-margin_ns, 0, margin_ns))


def _lost_said_late(changes: list[Said], room: Room, start_ns: int) -> float | None:
    """Return the longest time [s] between the first hidden frame and the diagnostic that says so."""
    worst = None
    for said in changes:
        if said.name != f'tracker: tool {TOOL}' or said.code != 'TOOL_LOST' or said.stamp_ns < start_ns:
            continue
        frame = int((said.stamp_ns - start_ns) / NANOSECONDS * room.config.rate_hz)
        first = frame
        while first > 0 and not room.truth((first - 1) / room.config.rate_hz).drill_visible:
            first -= 1
        late = (said.stamp_ns - start_ns) / NANOSECONDS - first / room.config.rate_hz
        worst = late if worst is None else max(worst, late)
    return worst


def _calibration(seen: Observations, room: Room) -> Figure:
    error = None
    if seen.calibration is not None:
        error = float(np.linalg.norm(seen.calibration.pose[:3, 3] - room.drill_T_tip[:3, 3])) * 1e3
    return judge('tip_calibration_error_mm', error, 'mm', at_most=0.15)


def _registration(seen: Observations, room: Room) -> list[Figure]:
    state = seen.check('registration: state')
    found = float(state.values.get('landmarks_found', 0)) if state else 0.0
    fre = float(state.values.get('fre_mm', 'nan')) if state else None
    error = None
    if seen.registration is not None:
        centre = room.centre[None]
        apart = transform_points(seen.registration.pose, centre) - transform_points(room.patient_T_anatomy, centre)
        error = float(np.linalg.norm(apart)) * 1e3
    return [
        judge('landmarks_found', found, '', at_least=float(len(room.landmarks))),
        judge('fre_mm', fre, 'mm', at_most=0.3),
        judge('target_error_mm', error, 'mm', at_most=0.3),
    ]


def _guidance(seen: Observations, room: Room, start_ns: int, until_s: float) -> list[Figure]:
    tips = [tip for tip in seen.tips if tip.stamp_ns - start_ns > (room.drill_start + SETTLED_S) * NANOSECONDS]
    if not tips:
        return [judge('tip_error_rms_mm', None, 'mm', at_most=0.5)]
    truths = [room.truth((tip.stamp_ns - start_ns) / NANOSECONDS).anatomy_T_tip for tip in tips]
    errors = np.array([tip.pose[:3, 3] - truth[:3, 3] for tip, truth in zip(tips, truths, strict=True)])
    length = np.linalg.norm(errors, axis=1)
    figures = [
        judge('tip_error_rms_mm', float(np.sqrt((length**2).mean())) * 1e3, 'mm', at_most=0.5, peer='Twin-S 1.39 mm'),
        judge('tip_error_p95_mm', float(np.percentile(length, 95)) * 1e3, 'mm', at_most=1.0),
        judge('tip_in_95_percent_region_percent', _coverage(tips, errors) * 100.0, '%', at_least=85.0),
    ]
    expected = sum(
        room.truth(frame / room.config.rate_hz).drill_visible
        for frame in range(
            int((room.drill_start + SETTLED_S) * room.config.rate_hz), int(until_s * room.config.rate_hz)
        )
    )
    figures.append(judge('advice_percent', 100.0 * len(tips) / max(expected, 1), '%', at_least=97.0))
    return [*figures, *_distances(seen, room, start_ns, {tip.stamp_ns for tip in tips})]


def _coverage(tips: list[StampedPose], errors: Array) -> float:
    inside = 0
    for tip, error in zip(tips, errors, strict=True):
        assert tip.covariance is not None
        spread = point_covariance(tip.pose, tip.covariance, np.zeros(3))
        inside += float(error @ np.linalg.solve(spread, error)) <= CHI2_3_95
    return inside / len(tips)


def _distances(seen: Observations, room: Room, start_ns: int, stamps: set[int]) -> list[Figure]:
    names = ROOM['anatomy']['structures']
    errors = []
    near = False
    for stamp_ns, points in seen.clearances:
        if stamp_ns not in stamps:
            continue
        now = (stamp_ns - start_ns) / NANOSECONDS
        for point in points:
            name = names[point['structure']]
            if point['part'] == 0 and point['distance'] < 0.02:
                tip = room.truth(now + float(point['ahead'])).anatomy_T_tip  # the advice is of a moment ahead
                errors.append(float(point['distance']) - room.distance(name, tip))
            near = near or (name == 'nerve' and point['zone'] == 1)
    figures = []
    if errors:
        rms = float(np.sqrt(np.mean(np.square(errors)))) * 1e3
        figures.append(judge('distance_error_rms_mm', rms, 'mm', at_most=0.5))
    approached = any(
        room.distance('nerve', room.truth((stamp - start_ns) / NANOSECONDS).anatomy_T_tip) < 0.004 for stamp in stamps
    )
    if approached:
        figures.append(judge('near_alarm_given', float(near), '', at_least=1.0))
    return figures
