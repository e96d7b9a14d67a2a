"""The demo of telesurgery: two sites on this machine, a bad network between them, and what came of each command."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from twin_nodes.app.demo_end import conclude
from twin_nodes.app.demo_session import DemoSession, free_port, new_folder, view_port
from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.observer import Said
from twin_nodes.app.scenes import TELESURGERY, files_of
from twin_nodes.app.telesurgery_judge import begun_ns, holds, path_error, residual_loss, returns
from twin_nodes.app.telesurgery_sites import free_udp_ports
from twin_nodes.app.telesurgery_watch import TelesurgeryWatch
from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.geometry.se3 import Array, make_transform
from twin_nodes.core.simulate.room import Room, RoomConfig
from twin_nodes.core.telesurgery.anatomy_fences import AnatomyFences
from twin_nodes.io.link_key import make_key
from twin_nodes.io.link_scenarios import load_scenario
from twin_nodes.io.urdf import rotation_from_rpy
from twin_nodes.ros.prompt_process import favour_process

ARM = 'PSM1'
NERVE = 'nerve'
MARGIN = 0.002
_AT_WALL = 0.0003  # set points this near to the wall were brought back to it, and are not on the commanded path [m]


def run_telesurgery(
    *, link: str, headless: bool, seconds: float | None, json: bool, port: int, bag: bool, seed: int, out: Path | None
) -> int:
    """Run both sites over an emulated link and print what was measured; returns 0 when every promise held."""
    scenario = load_scenario(link)
    port = 0 if headless else view_port(port)
    folder = new_folder(out, 'demo')
    leader_port, follower_port = free_udp_ports(2)
    bulk = _has_bulk()
    with tempfile.TemporaryDirectory(prefix='twin_key_') as safe:
        key = Path(safe) / 'wan.key'
        make_key(key)
        arguments = {
            'key': str(key), 'link': _link_file(link), 'seed': str(seed), 'leader_port': str(leader_port),
            'follower_port': str(follower_port), 'bulk': str(bulk).lower(), 'surfaces_here': str(not bulk).lower(),
            'bulk_port': str(free_port()), 'view': str(not headless).lower(), 'view_port': str(port or 8080),
            'mirror': str(not headless).lower(),
        }  # fmt: skip
        session = DemoSession(
            folder, 'telesurgery_demo.launch.xml', arguments, files_of(TELESURGERY), tools=(),
            tool=f'follower/{ARM}', bag=bag, view_url='' if headless else f'http://127.0.0.1:{port}', quiet=json,
        )  # fmt: skip
        with session:
            watch = TelesurgeryWatch(ARM)
            session.join(watch)
            favour_process()  # what judges must not be late itself
            session.spin_until(lambda: False, seconds=seconds)
            failures = session.failures()

    def score() -> list[Figure]:
        base = 1e3 * scenario.config.forward.delay.base
        figures = [judge('link_delay_ms', base, 'ms', peer=scenario.config.title)]
        figures += score_telesurgery(watch, watch.checks)
        watch.destroy_node()
        return figures

    return conclude(folder, failures, score, as_json=json)


def _has_bulk() -> bool:
    """Whether the extra `wan` is installed, so that surfaces cross by the bulk flow."""
    from importlib.util import find_spec

    return find_spec('zenoh') is not None


def _link_file(link: str) -> str:
    """Return a scenario as the nodes find it, whatever folder they run in."""
    return str(Path(link).resolve()) if link.endswith(('.yaml', '.yml')) else link


def score_telesurgery(watch: TelesurgeryWatch, checks: Mapping[str, Said]) -> list[Figure]:
    """Hold what was heard of both sites against the promises.

    Args:
        watch: What was heard.
        checks: The newest diagnostic of each check.
    """
    told = len(watch.told.times)
    figures = [judge('set_points', float(told), '', at_least=1.0)]
    follows = begun_ns(watch) < 1 << 62
    figures.append(judge('robot_followed', float(follows), '', at_least=1.0))
    if not follows or told < 2 or len(watch.said.times) < 2:
        return figures
    clearances = wall_clearances(watch.told.array())
    rms, worst = path_error(watch, clearances > _AT_WALL)
    figures += [
        judge('path_error_rms_mm', 1e3 * rms, 'mm', at_most=0.3),
        judge('path_error_max_mm', 1e3 * worst, 'mm'),
        judge('commands_lost_percent', 100.0 * residual_loss(watch), '%'),
        judge('too_near_the_nerve_mm', 1e3 * max(0.0, -float(clearances.min())), 'mm', at_most=0.01),
    ]
    if watch.seen_ages:
        figures += [
            judge('picture_age_p50_ms', 1e3 * float(np.median(watch.seen_ages)), 'ms'),
            judge('twin_ahead_p95_mm', 1e3 * float(np.percentile(watch.apart, 95)) if watch.apart else None, 'mm'),
        ]
    return figures + _safety(watch) + _touch(watch, checks) + _task(checks)


def wall_clearances(points: Array) -> Array:
    """Return the distances [m] (n,) of points [m] (n, 3) from the wall around the nerve of the scene."""
    x, y, z, roll, pitch, yaw = TELESURGERY['anatomy_pose']['fixed']
    surface = make_surface(NERVE, *Room(RoomConfig()).structures[NERVE])
    fences = AnatomyFences(MARGIN)
    fences.set_grid(NERVE, DistanceGrid.from_surface(surface, 0.0005, 0.01))
    fences.place(make_transform(rotation_from_rpy(roll, pitch, yaw), [x, y, z]))
    return np.array([fences.clearance((a, b, c))[0] for a, b, c in points.tolist()])


def _safety(watch: TelesurgeryWatch) -> list[Figure]:
    stopped, back = holds(watch), returns(watch)[1:]  # the first way to the operator is no reconnection
    dropped = sum(action == 'discard' for _, action in watch.asked)
    figures = [judge('outages', float(len(stopped)), ''), judge('asked_to_come', float(dropped), '')]
    if stopped:
        figures.append(judge('hold_worst_ms', 1e3 * max(stopped), 'ms', at_most=100.0))
    if back:
        figures += [
            judge('reconnect_step_mm', 1e3 * max(one.step for one in back), 'mm', at_most=0.5),
            judge('reconnect_speed_mm_s', 1e3 * max(one.speed for one in back), 'mm/s', at_most=20.0),
        ]
    return figures


def _touch(watch: TelesurgeryWatch, checks: Mapping[str, Said]) -> list[Figure]:
    figures = [judge('fixture_force_max_n', max(watch.forces, default=0.0), 'N')]
    said = checks.get('leader/compensation: fixture')
    if said is not None:
        lowest = float(said.values['lowest_energy_uj'])
        figures.append(judge('fixture_lowest_energy_uj', lowest, 'uJ', at_least=-100.0))
    return figures


def _task(checks: Mapping[str, Said]) -> list[Figure]:
    said = checks.get('follower/simulated_robot: task')
    if said is None:
        return []
    return [
        judge('rings_transferred', float(said.values['rings_transferred']), ''),
        judge('rings_dropped', float(said.values['rings_dropped']), '', at_most=0.0),
    ]
