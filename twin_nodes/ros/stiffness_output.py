"""`anatomy/stiffness`: what is known of each stiffness, with its interval, latched; and the same as numbers to plot."""

import math
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from twin_nodes.core.anatomy.elastic.laws import Material, NeoHookean
from twin_nodes.core.anatomy.learning import Learned, StiffnessNews
from twin_nodes.ros.conversions import ns_to_stamp
from twin_nodes.ros.health import OK, WARN
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.qos import latched

_TEXT = {
    'OK': 'learned',
    'STIFFNESS_RATIO': 'only the ratio to the others is known: no force was seen',
    'STIFFNESS_UNSEEN': 'held: what was seen tells nothing of it',
    'STIFFNESS_DOUBTFUL': 'held: the model does not explain what was seen',
}
COLUMNS = ('factor', 'factor_low', 'factor_high', 'young_pa', 'learned', 'used')


class StiffnessOutput:
    """Publishes estimates.

    Args:
        node: The node.
        names: Of the structures, by label as text; 'boundary' is what holds the organ.
        laws: Of each label, as assumed.
    """

    def __init__(self, node: Node, names: Mapping[str, str], laws: Mapping[int, Material]) -> None:
        self._names, self._laws = names, laws
        qos = latched(replay=is_replay(node))
        self._said = node.create_publisher(DiagnosticArray, 'anatomy/stiffness', qos)
        self._values = node.create_publisher(Float64MultiArray, 'anatomy/stiffness/values', qos)

    def say(self, news: StiffnessNews) -> None:
        """Publish an estimate, with the stamp from which on it counts."""
        message = DiagnosticArray()
        message.header.stamp = ns_to_stamp(news.stamp_ns)
        estimate = news.estimate
        whole = DiagnosticStatus(
            name='estimate', level=OK, message=f'from {news.states} states of tissue that was held'
        )
        whole.values = _pairs(
            {
                'code': 'OK',
                'status': estimate.status,
                'residual_ratio': f'{estimate.residual:.4g}',
                'absolute': str(estimate.is_absolute).lower(),
                'seen_stamp_ns': str(news.seen_ns),
            }
        )
        message.status = [whole, *(self._status(row) for row in news.rows)]
        self._said.publish(message)
        self._values.publish(self._numbers(news))

    def _status(self, row: Learned) -> DiagnosticStatus:
        text = f'× {row.factor:.3g}, 95 % {row.low:.3g} … {row.high:.3g}: {_TEXT[row.code]}'
        status = DiagnosticStatus(
            name=self._names.get(row.name, row.name), level=OK if row.code == 'OK' else WARN, message=text
        )
        values = {
            'code': row.code,
            'factor': f'{row.factor:.6g}',
            'factor_low': f'{row.low:.6g}',
            'factor_high': f'{row.high:.6g}',
            'used': str(row.used).lower(),
        }
        young = self._young(row.name)
        if math.isfinite(young):
            values |= {
                'young_pa': f'{young * row.factor:.6g}',
                'young_low_pa': f'{young * row.low:.6g}',
                'young_high_pa': f'{young * row.high:.6g}',
            }
        status.values = _pairs(values)
        return status

    def _young(self, name: str) -> float:
        """Return Young's modulus as assumed [Pa]; NaN for what has none."""
        law = self._laws.get(int(name)) if name.isdigit() else None
        return law.young if isinstance(law, NeoHookean) else math.nan

    def _numbers(self, news: StiffnessNews) -> Float64MultiArray:
        message = Float64MultiArray()
        names = ','.join(self._names.get(row.name, row.name) for row in news.rows)
        columns = len(COLUMNS)
        message.layout.dim = [
            MultiArrayDimension(label=names, size=len(news.rows), stride=len(news.rows) * columns),
            MultiArrayDimension(label=','.join(COLUMNS), size=columns, stride=columns),
        ]
        data: list[float] = []
        for row in news.rows:
            young = self._young(row.name)
            data += [
                row.factor, row.low, row.high, young * row.factor if math.isfinite(young) else 0.0,
                float(row.code in ('OK', 'STIFFNESS_RATIO')), float(row.used),
            ]  # fmt: skip
        message.data = data
        return message


def _pairs(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]
