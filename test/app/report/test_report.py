"""`twin report`: one page that asks nobody, whose numbers are those of `--json`."""

import hashlib
import json
import re

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import serialize_message

from twin_nodes.app.bench.replay_room import START_NS, write_room_bag
from twin_nodes.app.report.content import MAX_POINTS, Plot, Series, line, thinned
from twin_nodes.app.report.plots import as_svg
from twin_nodes.app.report.run import write_report
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.core.geometry.se3 import make_transform
from twin_nodes.core.simulate.shapes import superellipsoid
from twin_nodes.core.stamps import NANOSECONDS
from twin_nodes.io.bags.qos import OfferedQos
from twin_nodes.io.bags.writer import BagWriter
from twin_nodes.ros.anatomy_clouds import targets_cloud
from twin_nodes.ros.clouds import CLEARANCE_DTYPE, cloud_from_array, surface_marker
from twin_nodes.ros.conversions import ns_to_stamp, pose_stamped, pose_with_covariance

CLOSEST_MM = 1.25


def checks(told, stamp_ns):
    values = {name: [KeyValue(key=key, value=value) for key, value in pairs.items()] for name, pairs in told.items()}
    message = DiagnosticArray(status=[DiagnosticStatus(name=name, values=pairs) for name, pairs in values.items()])
    message.header.stamp = ns_to_stamp(stamp_ns)
    return message


def guided_bag(folder):
    """A bag of two seconds in which the tool comes down to 1.25 mm, an alarm is given and a tool is lost."""
    from visualization_msgs.msg import MarkerArray

    kinds = {
        '/drill/measured_cp': 'geometry_msgs/msg/PoseStamped',
        '/calibration/drill': 'geometry_msgs/msg/PoseWithCovarianceStamped',
        '/guidance/tip': 'geometry_msgs/msg/PoseWithCovarianceStamped',
        '/guidance/clearance': 'sensor_msgs/msg/PointCloud2',
        '/guidance/events': 'diagnostic_msgs/msg/DiagnosticArray',
        '/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray',
        '/anatomy/surface': 'visualization_msgs/msg/MarkerArray',
        '/anatomy/targets': 'sensor_msgs/msg/PointCloud2',
        '/link/state': 'diagnostic_msgs/msg/DiagnosticArray',
    }
    with BagWriter(folder) as writer:
        topics = {name: writer.add_topic(name, kind, qos=(OfferedQos(),)) for name, kind in kinds.items()}

        def write(topic, stamp_ns, message):
            writer.write(topics[topic], stamp_ns, serialize_message(message), publish_time_ns=stamp_ns)

        vertices, triangles = superellipsoid(np.zeros(3), np.full(3, 0.02), exponent=1.0)
        nerve = make_surface('nerve', vertices, triangles)
        marker = surface_marker(1, 'anatomy', 'nerve', 0, nerve.vertices, nerve.triangles, (1.0, 1.0, 1.0, 1.0))
        write('/anatomy/surface', START_NS, MarkerArray(markers=[marker]))
        covariance = np.diag([1e-8] * 3 + [1e-6] * 3)
        write('/calibration/drill', START_NS, pose_with_covariance(1, 'drill', np.eye(4), covariance))
        for step in range(101):
            stamp_ns = START_NS + step * NANOSECONDS // 50
            distance = 1e-3 * (CLOSEST_MM + 0.1 * abs(step - 70))
            pose = make_transform(np.eye(3), [distance, 0.0, 0.0])
            write('/drill/measured_cp', stamp_ns, pose_stamped(stamp_ns, 'tracker', pose))
            write('/guidance/tip', stamp_ns, pose_with_covariance(stamp_ns, 'anatomy', pose, covariance))
            rows = np.zeros(1, dtype=CLEARANCE_DTYPE)
            rows['distance'], rows['sigma'], rows['probability'] = distance, 1e-4, 0.01
            write('/guidance/clearance', stamp_ns, cloud_from_array(stamp_ns, 'anatomy', rows))
        for step in range(5):
            stamp_ns = START_NS + step * NANOSECONDS // 4
            spread = (1e-3 * (2.0 + 0.5 * step)) ** 2 / 3.0
            place = np.array([[0.0, 0.0, 1e-3 * step]])
            write('/anatomy/targets', stamp_ns, targets_cloud(stamp_ns, 'anatomy', place, spread * np.eye(3)[None]))
            told = {'anatomy: carving': {'removed_bone_mm3': f'{25.0 * step}'}, 'anatomy: targets': {'0': 'lesion'}}
            write('/diagnostics', stamp_ns, checks(told, stamp_ns))
            link = {'wan_bridge: link': {'delay_ms': f'{100 + step}', 'mode': 'connected'}}
            write('/link/state', stamp_ns, checks(link, stamp_ns))
        for topic, name, code in (
            ('/guidance/events', 'guidance: nerve', 'NEAR'), ('/diagnostics', 'tracker: tool drill', 'TOOL_LOST'),
        ):  # fmt: skip
            status = DiagnosticStatus(name=name, level=DiagnosticStatus.WARN, message=f'{code} <said>')
            status.values = [KeyValue(key='code', value=code)]
            message = DiagnosticArray(status=[status])
            message.header.stamp = ns_to_stamp(START_NS)
            write(topic, START_NS + NANOSECONDS, message)


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo')
    guided_bag(folder / 'bag')
    (folder / 'config').mkdir()
    (folder / 'config' / 'tracker.yaml').write_text('/**/tracker:\n')
    (folder / 'figures.jsonl').write_text(
        '{"figure": "fre_mm", "value": 0.173, "unit": "mm", "goal": "<= 0.3", "ok": true}\n'
    )
    return folder


def page_of(source, capsys):
    assert write_report(source, as_json=True) == 0
    rows = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    facts = {row['figure']: row for row in rows}
    assert len(facts) == len(rows), 'no name stands twice'
    return (source / 'report.html').read_text(), facts


def test_numbers_of_the_page_are_those_of_json_and_of_the_bag(demo, capsys):
    page, facts = page_of(demo, capsys)
    shown = dict(re.findall(r'data-fact="([^"]+)">([^<]*)<', page))
    assert set(shown) == set(facts)
    assert all(shown[name] == f'{row["value"]:.6g}' for name, row in facts.items() if isinstance(row['value'], float))
    assert facts['nerve_closest_mm']['value'] == pytest.approx(CLOSEST_MM, abs=1e-5)
    assert facts['nerve_closest_after_s']['value'] == pytest.approx(1.4)
    assert facts['tip_sigma_median_mm']['value'] == pytest.approx(1e3 * np.sqrt(3e-8), rel=1e-5)
    assert facts['duration_s']['value'] == 2.0


def test_what_was_carved_how_the_targets_fared_and_the_link_are_told_with_units(demo, capsys):
    page, facts = page_of(demo, capsys)
    value = {name: (row['value'], row['unit']) for name, row in facts.items()}
    assert value['anatomy_carving_removed_bone_mm3'] == (100.0, 'mm³')
    assert value['lesion_sigma_end_mm'] == (4.0, 'mm') and value['lesion_sigma_median_mm'] == (3.0, 'mm')
    assert value['lesion_moved_mm'] == (4.0, 'mm')
    assert value['link_wan_bridge_link_delay_median_ms'] == (102.0, 'ms')
    assert value['link_wan_bridge_link_delay_largest_ms'] == (104.0, 'ms')
    assert value['drill_measured_cp_rate_hz'] == (50.0, 'Hz')
    assert value['calibration_drill_sigma_mm'] == (pytest.approx(1e3 * np.sqrt(3e-8), abs=1e-4), 'mm')
    for title in ('Carved: bone', 'Error of the targets', 'Link: wan bridge: link delay', 'link delay [ms]'):
        assert title in page


def test_a_calibration_is_told_by_the_hash_of_its_numbers(demo, capsys):
    page, _ = page_of(demo, capsys)
    covariance = np.diag([1e-8] * 3 + [1e-6] * 3)
    told = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, *covariance.ravel()], '<f8')
    assert hashlib.sha256(told.tobytes()).hexdigest() in page


def test_page_asks_nobody_is_small_and_escapes(demo, capsys):
    page, _ = page_of(demo, capsys)
    assert len(page) < 5_000_000
    addresses = set(re.findall(r'(?:href|src|url)\s*[=(]\s*["\']?([^"\')\s>]+)', page))
    assert all(address.startswith('#') for address in addresses)
    assert '<script' not in page and '<link' not in page and '<!DOCTYPE svg' not in page
    assert 'NEAR &lt;said&gt;' in page and 'TOOL_LOST' in page
    assert str(demo) not in page
    for part in ('tracker.yaml', 'fre_mm', '0.173', 'Not cleared for use on patients', '<svg'):
        assert part in page


def test_the_same_bag_gives_the_same_page(demo, capsys):
    assert page_of(demo, capsys)[0] == page_of(demo, capsys)[0]


def test_a_bag_without_guidance_is_reported_too(tmp_path, capsys):
    write_room_bag(tmp_path / 'bag', seconds=2.0)
    page, facts = page_of(tmp_path, capsys)
    assert facts['messages']['value'] > 100.0
    assert 'Clearance' not in page


def test_figures_of_a_bench_become_a_table(tmp_path, capsys):
    source = tmp_path / 'bench.jsonl'
    source.write_text('noise\n{"figure": "a_ms", "value": 2.5, "unit": "ms", "goal": "<= 2", "ok": false}\n')
    assert write_report(source, output=tmp_path / 'bench.html') == 0
    page = (tmp_path / 'bench.html').read_text()
    assert '2.5' in page and 'NO' in page


def test_says_what_it_was_not_given(tmp_path):
    (tmp_path / 'empty.txt').write_text('nothing')
    with pytest.raises(InputError, match='neither a bag'):
        write_report(tmp_path / 'empty.txt')
    with pytest.raises(InputError, match='no such file'):
        write_report(tmp_path / 'gone')


def test_thinning_keeps_the_extremes():
    rng = np.random.default_rng(0)
    x, y = np.arange(50_000.0), rng.normal(size=50_000)
    kept_x, kept_y, _ = thinned(x, y)
    assert len(kept_x) <= MAX_POINTS and kept_y.min() == y.min() and kept_y.max() == y.max()
    assert (np.diff(kept_x) > 0).all()


def test_a_gap_is_not_drawn_over():
    rows = [(t, 1.0) for t in np.r_[0.0:1.0:0.02, 5.0:6.0:0.02]]
    whole = as_svg(Plot('p', 'x', 'y', (line('', rows),)))
    joined = as_svg(Plot('p', 'x', 'y', (Series('', np.arange(100.0), np.ones(100)),)))
    lines = [re.search(r'<g id="line2d_\d+">\s*<path d="([^"]+)" clip-path', drawn) for drawn in (whole, joined)]
    assert lines[0] is not None
    moves = [
        max(path.count('M') for path in re.findall(r'<path d="([^"]+)" clip-path', drawn)) for drawn in (whole, joined)
    ]
    assert moves[0] > moves[1]
