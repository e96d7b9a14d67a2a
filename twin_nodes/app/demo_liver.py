"""The demo of the liver: deformed, grasped, pushed and looked at; its hidden lesions are held against the truth."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from twin_nodes.app.demo_end import conclude
from twin_nodes.app.demo_room import CHI2_3_95
from twin_nodes.app.demo_session import DemoSession, new_folder, view_port
from twin_nodes.app.figures import Figure, judge
from twin_nodes.app.observer import Observer
from twin_nodes.app.scenes import LIVER, files_of
from twin_nodes.core.geometry.se3 import Array, transform_points
from twin_nodes.core.simulate.liver_scene import BACK, DURATION, GRASPER, LESIONS, PROBE, lesion_meshes
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.ros.anatomy_clouds import targets_from
from twin_nodes.ros.conversions import stamp_to_ns
from twin_nodes.ros.qos import LATCHED, REPLAY_LATCHED, REPLAY_SUBSCRIPTION
from twin_nodes.ros.ties import tie_from

END_S = 1.5  # after the scene
SEEN_S = 5.0  # the unseen load is over, and clouds have shown what it did
PHASES = {'still': (SEEN_S, 6.0), 'grasp': (7.0, 12.5), 'push': (16.0, 21.0)}
_RECIPE = f"""
structures:
  - {{name: liver, file: liver.ply}}
{''.join(f'  - {{name: {name}, file: {name}.ply}}{chr(10)}' for name in LESIONS)}
tets: {{count: 4000, structures: [liver]}}
materials:
  - {{structure: liver, young: 3000.0, poisson: 0.45}}
boundary:
  - {{name: back, kind: plane, point: [0.0, {BACK}, 0.0], normal: [0.0, -1.0, 0.0]}}
"""


def build_case(folder: Path) -> Path:
    """Make the patient model as a user would: meshes and a recipe, and `twin build`; return the folder of the case."""
    from twin_nodes.app.build import build_into
    from twin_nodes.core.anatomy.surface import make_surface
    from twin_nodes.core.simulate.organ import organ
    from twin_nodes.io.meshes import write_surface
    from twin_nodes.io.recipe import read_recipe

    source, case = folder / 'model', folder / 'case'
    for path in (source, case):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    write_surface(source / 'liver.ply', make_surface('liver', *organ(4000)))
    for name, mesh in lesion_meshes().items():
        write_surface(source / f'{name}.ply', make_surface(name, *mesh))
    (source / 'case.yaml').write_text(_RECIPE, encoding='utf-8')
    build_into(case, read_recipe(source / 'case.yaml'), lambda *_: None)
    return case.resolve()


class LiverObserver:
    """Listens, beside the observer of all demos, to the lesions: what the twin says, and where they really are."""

    def __init__(self, node: Observer) -> None:
        self.twin: list[tuple[int, Array, Array]] = []
        self.truth: dict[int, Array] = {}
        self.delays: list[float] = []
        self.surfaces = 0
        self.patient_T_anatomy: Array | None = None
        self.start_ns: int | None = None
        self.newton = 0.0
        self._node = node
        subscribe = node.create_subscription
        subscribe(PointCloud2, 'anatomy/targets', self._on_targets, REPLAY_LATCHED)
        subscribe(PointCloud2, 'truth/targets', self._on_truth, REPLAY_SUBSCRIPTION)
        subscribe(PoseWithCovarianceStamped, 'registration', self._on_registration, LATCHED)
        subscribe(Header, 'liver/start', self._on_start, LATCHED)

    def _on_targets(self, message: PointCloud2) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns:
            _, places, covariances = targets_from(message)
            self.twin.append((stamp_ns, places, covariances))
            self.delays.append((self._node.get_clock().now().nanoseconds - stamp_ns) / NANOSECONDS)
        said = self._node.seen.check('anatomy: deforming')
        if said is not None:
            self.newton = max(self.newton, float(said.values.get(f'{PROBE}_newton', 0.0)))

    def _on_truth(self, message: PointCloud2) -> None:
        self.truth[stamp_to_ns(message.header.stamp)] = targets_from(message)[1]

    def _on_registration(self, message: PoseWithCovarianceStamped) -> None:
        self.patient_T_anatomy = tie_from(message, frame=None).pose

    def _on_start(self, message: Header) -> None:
        self.start_ns = stamp_to_ns(message.stamp)

    def until_s(self) -> float:
        """Return how long the scene has run by the newest truth [s], 0 before it began."""
        newest = max(self.truth, default=0)
        return 0.0 if self.start_ns is None else max((newest - self.start_ns) / NANOSECONDS, 0.0)

    def done(self) -> bool:
        """Whether the scene has been over for a while."""
        if self.start_ns is None:
            return False
        elapsed = (self._node.get_clock().now().nanoseconds - self.start_ns) / NANOSECONDS
        return bool(elapsed > DURATION + END_S)


def run_liver(
    *, headless: bool, seconds: float | None, json: bool, port: int, bag: bool, seed: int, out: Path | None
) -> int:
    """Run the scene through the real nodes and print what was measured; returns 0 when every promise held."""
    port = 0 if headless else view_port(port)
    folder = new_folder(out, 'demo')
    case = build_case(folder)
    values = {**LIVER, 'anatomy': {**LIVER['anatomy'], 'case': str(case)}}
    arguments = {
        'view': str(not headless).lower(),
        'view_port': str(port or 8080),
        'seed': str(seed),
        'listeners': str(2 + int(bag) + int(not headless)),  # anatomy_node, observer, recorder, view
    }
    session = DemoSession(
        folder, 'liver.launch.xml', arguments, files_of(values), tools=(GRASPER, PROBE), tool=GRASPER, bag=bag,
        view_url='' if headless else f'http://127.0.0.1:{port}', quiet=json,
    )  # fmt: skip
    with session:
        seen = LiverObserver(session.observer)
        session.spin_until(lambda: (headless or seconds is not None) and seen.done(), seconds=seconds)
        failures = session.failures()
    return conclude(folder, failures, lambda: score_liver(seen, session.seen.latest), as_json=json)


def score_liver(seen: LiverObserver, latest: Any) -> list[Figure]:
    """Hold what was heard against the truth of the scene; what the time did not suffice for is left out.

    Args:
        seen: What was heard.
        latest: The newest diagnostic of each check.
    """
    figures = [judge('target_messages', float(len(seen.twin)), '', at_least=1.0)]
    if not seen.twin or seen.start_ns is None or seen.patient_T_anatomy is None:
        return figures
    times, errors, rigid, inside = _errors(seen, seen.start_ns, seen.patient_T_anatomy)
    known = times > SEEN_S
    if known.any():
        mean = float(errors[known].mean())
        figures += [
            judge(
                'target_error_mean_mm', mean * 1e3, 'mm', at_most=3.0, peer='rigid registration',
                ratio=mean / float(rigid[known].mean()),
            ),
            judge('target_error_p95_mm', float(np.percentile(errors[known], 95)) * 1e3, 'mm'),
            judge('target_error_rigid_mm', float(rigid[known].mean()) * 1e3, 'mm'),
            judge('target_in_95_percent_region_percent', 100.0 * float(inside[known].mean()), '%', at_least=85.0),
        ]  # fmt: skip
    for phase, (begin, end) in PHASES.items():
        during = (times > begin) & (times < end)
        if during.any():
            figures.append(judge(f'target_error_{phase}_mm', float(errors[during].mean()) * 1e3, 'mm', at_most=4.0))
    return [*figures, *_pace(seen), *_said(seen, latest)]


def _errors(seen: LiverObserver, start_ns: int, patient_T_anatomy: Array) -> tuple[Array, Array, Array, Array]:
    """Return times [s] (n,), errors [m] (n, k), those of the rigid registration alone, and who is inside 95 %."""
    rest = transform_points(patient_T_anatomy, np.array(list(LESIONS.values())))
    rotation = patient_T_anatomy[:3, :3]
    rows = []
    for stamp_ns, places, covariances in seen.twin:
        truth = seen.truth.get(stamp_ns)
        if truth is None or len(places) != len(truth):
            continue
        missed = transform_points(patient_T_anatomy, places) - truth
        spread = rotation @ covariances @ rotation.T
        squared = np.einsum('ki,ki->k', missed, np.linalg.solve(spread, missed[:, :, None])[:, :, 0])
        rows.append(
            (
                (stamp_ns - start_ns) / NANOSECONDS,
                np.linalg.norm(missed, axis=1),
                np.linalg.norm(rest - truth, axis=1),
                squared < CHI2_3_95,
            )
        )
    if not rows:
        empty = np.empty((0, len(LESIONS)))
        return np.empty(0), empty, empty, empty
    times, errors, rigid, inside = zip(*rows, strict=True)
    return np.array(times), np.array(errors), np.array(rigid), np.array(inside)


def _pace(seen: LiverObserver) -> list[Figure]:
    stamps = np.array([stamp for stamp, _, _ in seen.twin], float)
    span = float(stamps[-1] - stamps[0]) / NANOSECONDS
    figures = [judge('targets_delay_p50_ms', float(np.median(seen.delays)) * 1e3, 'ms', at_most=100.0)]
    if span > 1.0:
        figures.append(judge('target_rate_hz', float(len(np.unique(stamps)) / span), 'Hz', at_least=10.0))
    return figures


def _said(seen: LiverObserver, latest: Any) -> list[Figure]:
    """Hold what the node says of clouds, grasp and push against what the scene did."""
    until, scene = seen.until_s(), latest.get('simulated_liver: scene')
    counters = latest.get('anatomy: counters')
    values = counters.values if counters is not None else {}
    refused = sum(float(values.get(code, 0)) for code in ('OBSERVED_REFUSED', 'UNIT_SUSPECT'))
    figures = []
    if scene is not None and until > SEEN_S:
        sent = float(scene.values.get('wrong_clouds', 0))
        figures.append(judge('wrong_clouds_sent', sent, ''))
        figures.append(judge('clouds_refused', refused, '', at_least=sent, at_most=sent))
    failed = float(values.get('DEFORM_FAILED', 0))
    figures.append(judge('solver_failures', failed, '', at_most=0.0))
    if until > PHASES['push'][1]:
        figures.append(judge('push_force_max_n', seen.newton, 'N', at_least=0.05))
    return figures
