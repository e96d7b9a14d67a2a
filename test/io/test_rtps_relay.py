"""The relay between two DDS participants: other addresses in what is announced, the fate of the link for the rest."""

import socket
import struct
import time

import pytest

from twin_nodes.core.telesurgery.link.scenario import Scenario, link_config
from twin_nodes.io.rtps_relay import HOST, RtpsRelay, participant_profile

DEADLINE_S = 30.0


def locator(port, order='<'):
    return struct.pack(f'{order}iI', 1, port) + bytes(12) + socket.inet_aton(HOST)


@pytest.fixture
def sockets():
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for each in made:
        each.bind((HOST, 0))
        each.settimeout(0.05)
    yield made
    for each in made:
        each.close()


def relay_between(sockets, values, in_thread):
    near_meta, near_user, far_meta, far_user = (each.getsockname()[1] for each in sockets)
    link = Scenario(link_config({'name': 'test', 'both': values})).link(1)
    relay = RtpsRelay(link, ((near_meta, near_user), (far_meta, far_user)))
    in_thread(relay.run)
    return relay


def heard(each):
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        try:
            return each.recv(2000)
        except TimeoutError:
            continue
    raise AssertionError('nothing came')


@pytest.mark.parametrize('order', ['<', '>'])
def test_what_a_side_announces_leads_through_the_relay(order, sockets, in_thread):
    relay = relay_between(sockets, {}, in_thread)
    near_meta, near_user = (each.getsockname()[1] for each in sockets[:2])
    said = b'RTPS' + locator(near_meta, order) + b'between' + locator(near_user, order) + locator(7400, order)
    sockets[0].sendto(said, (HOST, relay.ports[1][0]))
    got = heard(sockets[2])
    assert got == b'RTPS' + locator(relay.ports[0][0], order) + b'between' + locator(
        relay.ports[0][1], order
    ) + locator(7400, order)
    relay.stop()


def test_answers_and_samples_go_to_their_own_ports(sockets, in_thread):
    relay = relay_between(sockets, {}, in_thread)
    sockets[1].sendto(b'sample', (HOST, relay.ports[1][1]))
    assert heard(sockets[3]) == b'sample'
    sockets[3].sendto(b'acknowledgement', (HOST, relay.ports[0][1]))
    assert heard(sockets[1]) == b'acknowledgement'
    relay.stop()


def test_both_kinds_share_one_link(sockets, in_thread):
    relay = relay_between(sockets, {'loss': {'probability': 1.0}}, in_thread)
    for kind in (0, 1):
        sockets[kind].sendto(b'lost', (HOST, relay.ports[1][kind]))
    end = time.monotonic() + DEADLINE_S
    while relay.counts[0]['loss'] < 2 and time.monotonic() < end:
        pass
    assert relay.counts[0]['loss'] == 2
    relay.stop()


def test_the_profile_names_the_ports():
    text = participant_profile(40001, 40002, 40003)
    for port in (40001, 40002, 40003):
        assert f'<port>{port}</port>' in text
