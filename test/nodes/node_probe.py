"""A node that listens to topics and speaks on them, for tests."""

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from twin_nodes.ros.qos import DIAGNOSTICS, EVENTS, LATCHED, MEASUREMENT

NOISE = 0.00011


class Probe(Node):
    """Keeps all that it hears, by topic; the health of all nodes, by check."""

    def __init__(self, context, spin):
        super().__init__('probe', context=context)
        self.heard = {}
        self.said = {}  # every status of a check in order
        self._spin = spin
        self._speakers = {}
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_health, DIAGNOSTICS)

    def _on_health(self, message):
        for status in message.status:
            self.said.setdefault(status.name, []).append(status)

    def listen(self, kind, topic, qos=MEASUREMENT):
        messages = self.heard.setdefault(topic, [])
        self.create_subscription(kind, topic, messages.append, qos)
        return messages

    def listen_latched(self, kind, topic):
        return self.listen(kind, topic, LATCHED)

    def listen_events(self, topic):
        return self.listen(DiagnosticArray, topic, EVENTS)

    def say(self, topic, message, qos=MEASUREMENT):
        if topic not in self._speakers:
            self._speakers[topic] = self.create_publisher(type(message), topic, qos)
        self._speakers[topic].publish(message)

    def say_latched(self, topic, message):
        self.say(topic, message, LATCHED)

    def until(self, condition, *nodes, what, deadline_s=30.0, say=None):
        """Spin until it is so; what is to be said is said again each time that it is not: at first nobody hears it."""

        def is_so():
            if condition():
                return True
            if say is not None:
                say()
            return False

        self._spin(is_so, *nodes, self, what=what, deadline_s=deadline_s)

    def status(self, check):
        """The newest status of '<node>: <check>', or None."""
        return self.said[check][-1] if check in self.said else None

    def code(self, check):
        status = self.status(check)
        return status.values[0].value if status is not None else ''

    def codes(self, check):
        """The codes of a check in order, repetitions left out."""
        codes = [status.values[0].value for status in self.said.get(check, [])]
        return [code for index, code in enumerate(codes) if index == 0 or code != codes[index - 1]]

    def values(self, check):
        status = self.status(check)
        return {pair.key: pair.value for pair in status.values} if status is not None else {}

    def until_code(self, check, code, *nodes, deadline_s=30.0):
        self.until(lambda: self.code(check) == code, *nodes, what=f'{check} {code}', deadline_s=deadline_s)


class ToldSilence:
    """A `ReplaySilence` that the test tells whether the streams have ended, in place of the clocks."""

    def __init__(self, *, has_ended=False, is_long=False):
        self.has_ended, self.is_long = has_ended, is_long

    def hear(self):
        self.has_ended = self.is_long = False

    def tick(self):
        return 0


class Published(list):
    """Keeps what is published, in place of a publisher."""

    publish = list.append
