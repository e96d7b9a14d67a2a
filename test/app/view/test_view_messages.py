"""Messages to the view's records: fields by name, and a refusal with its reason."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import PointCloud2

from twin_nodes.app.view.messages import checks_of, clearance_of, events_of
from twin_nodes.app.view.records import Level
from twin_nodes.core.errors import InputError
from twin_nodes.core.guidance.zones import Zone
from twin_nodes.ros.clouds import CLEARANCE_DTYPE, cloud_from_array
from twin_nodes.ros.conversions import ns_to_stamp

STAMP_NS = 1_700_000_000_123_456_789
SHUFFLED = np.dtype([(name, CLEARANCE_DTYPE[name]) for name in reversed(CLEARANCE_DTYPE.names)])


def cloud(dtype: np.dtype = CLEARANCE_DTYPE, frame: str = 'anatomy', **values) -> PointCloud2:
    rows = np.zeros(2, dtype)
    filled = {'x': 0.01, 'y': 0.02, 'z': 0.03, 'distance': 0.0031, 'sigma': 4e-4, 'probability': 0.002}
    filled |= {'time_to_contact': -1.0, 'zone': 1, 'part': 1, 'structure': [4, 5], 'ahead': 0.0, 'distance_now': 0.0}
    filled |= values
    for name in rows.dtype.names:
        rows[name] = filled[name]
    return cloud_from_array(STAMP_NS, frame, rows)


@pytest.mark.parametrize('dtype', [CLEARANCE_DTYPE, SHUFFLED], ids=['as written', 'another order'])
def test_a_clearance_is_read_by_name(dtype):
    clearance = clearance_of(cloud(dtype), anatomy_frame='anatomy')
    first, second = clearance.rows
    assert clearance.stamp_ns == STAMP_NS
    assert (first.structure, second.structure) == (4, 5)
    assert first.distance == pytest.approx(0.0031) and first.sigma == pytest.approx(4e-4)
    assert first.zone is Zone.NEAR and first.at_shaft
    np.testing.assert_allclose(first.closest_anatomy, [0.01, 0.02, 0.03], rtol=1e-6)


@pytest.mark.parametrize(
    ('values', 'match'),
    [
        ({'distance': np.nan}, 'NaN'),
        ({'time_to_contact': np.inf}, 'Inf'),
        ({'zone': 9}, 'zone 9'),
        ({'frame': 'world'}, "'world', expected 'anatomy'"),
        ({'dtype': np.dtype([('x', np.float32), ('y', np.float32)])}, 'lacks the fields z, distance'),
    ],
)
def test_a_wrong_clearance_is_refused(values, match):
    with pytest.raises(InputError, match=match):
        clearance_of(cloud(**values), anatomy_frame='anatomy')


def test_a_cut_clearance_is_refused():
    message = cloud()
    message.data = message.data[:-1]
    with pytest.raises(InputError, match='do not fit'):
        clearance_of(message, anatomy_frame='anatomy')


def test_diagnostics_become_checks_and_events():
    status = DiagnosticStatus(name='/or1/tracker: tool drill', level=DiagnosticStatus.ERROR, message='hidden')
    status.values = [KeyValue(key='code', value='TOOL_LOST'), KeyValue(key='rate_hz', value='0')]
    array = DiagnosticArray(status=[status])
    array.header.stamp = ns_to_stamp(STAMP_NS)
    (check,) = checks_of(array)
    assert (check.node, check.check, check.level, check.code) == ('tracker', 'tool drill', Level.ERROR, 'TOOL_LOST')
    assert check.values == {'rate_hz': '0'} and check.stamp_ns == STAMP_NS
    (event,) = events_of(array)
    assert (event.stamp_ns, event.code, event.text) == (STAMP_NS, 'TOOL_LOST', 'hidden')
