"""Advice as messages: the cloud of clearances, one distance per structure, and events."""

from collections.abc import Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import PointCloud2

from twin_nodes.core.guidance.advice import Advice
from twin_nodes.core.guidance.alarms import AlarmEvent
from twin_nodes.core.guidance.clearance import ToolPart
from twin_nodes.core.guidance.zones import Zone, ZoneEvent
from twin_nodes.ros.clouds import CLEARANCE_DTYPE, ZONES, cloud_from_array
from twin_nodes.ros.conversions import ns_to_stamp
from twin_nodes.ros.health import ERROR, OK, STALE, WARN

ZONE_LEVELS = {Zone.CLEAR: OK, Zone.NEAR: WARN, Zone.INSIDE: ERROR, Zone.WITHDRAWN: STALE}
NO_CONTACT = -1.0
_FIELDS = CLEARANCE_DTYPE.names or ()


def clearance_cloud(advice: Advice, frame: str, indices: Mapping[str, int]) -> PointCloud2:
    """Make `guidance/clearance`: stamped with the measurement, true of `ahead` seconds later.

    Args:
        advice: What the advisor said.
        frame: Frame of the anatomy.
        indices: Number of each structure.
    """
    rows = []
    for clearance in advice.clearances:
        name = clearance.structure
        contact = advice.outlooks[name].time_to_contact
        told = {
            'distance': clearance.distance,
            'sigma': clearance.sigma,
            'probability': clearance.breach_probability,
            'time_to_contact': NO_CONTACT if contact is None else contact,
            'structure': indices[name],
            'zone': ZONES.index(advice.zones[name]),
            'part': 1 if clearance.part is ToolPart.SHAFT else 0,
            'ahead': advice.ahead,
            'distance_now': advice.distances[name],
        }
        told['x'], told['y'], told['z'] = clearance.closest_point.tolist()
        rows.append(tuple(told[field] for field in _FIELDS))
    points = np.array(rows, dtype=CLEARANCE_DTYPE)
    return cloud_from_array(advice.stamp_ns, frame, points)


def event_message(event: ZoneEvent | AlarmEvent, frame: str) -> DiagnosticArray:
    """Make one message of `guidance/events`."""
    values = {'code': event.code}
    if isinstance(event, AlarmEvent):
        level = ERROR if event.raised else OK
        values |= {'alarm': 'raised' if event.raised else 'over', 'probability': f'{event.probability:.4f}'}
        if event.time_to_contact is not None:
            values['time_to_contact_s'] = f'{event.time_to_contact:.3f}'
        name = f'guidance: {event.structure} contact'
    else:
        level, name = ZONE_LEVELS[event.zone], f'guidance: {event.structure}'
        values |= {'previous': event.previous.value, 'zone': event.zone.value}
        if event.distance is not None:
            values['distance_mm'] = f'{event.distance * 1e3:.3f}'
    status = DiagnosticStatus(name=name, level=level, message=event.message)
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    message = DiagnosticArray(status=[status])
    message.header.stamp, message.header.frame_id = ns_to_stamp(event.stamp_ns), frame
    return message
