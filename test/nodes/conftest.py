"""A bench for nodes: the node under test and a probe in one context, spun by one executor."""

import sys
from pathlib import Path

import pytest
from rclpy.parameter import Parameter

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'io' / 'openigtlink'))  # its server in a thread

from node_probe import Probe


@pytest.fixture
def start(ros_context, monkeypatch):
    """Starts nodes with parameters (dots written as __); they are destroyed at the end of the test."""
    monkeypatch.setattr(sys, 'argv', ['node'])  # no parameter file of the test runner's own
    nodes = []

    def make(node_type, **parameters):
        overrides = [Parameter(name.replace('__', '.'), value=value) for name, value in parameters.items()]
        node = node_type(context=ros_context, parameter_overrides=overrides)
        nodes.append(node)
        return node

    yield make
    for node in reversed(nodes):
        node.destroy_node()


@pytest.fixture
def probe(ros_context, spin):
    """The probe that listens and speaks."""
    node = Probe(ros_context, spin)
    yield node
    node.destroy_node()
