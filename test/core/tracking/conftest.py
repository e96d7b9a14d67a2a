"""Stamps of a real recording."""

import re

import numpy as np
import pytest


@pytest.fixture
def real_stamps(shared_data):
    """Frame numbers, Timestamp and UnfilteredTimestamp [ns] of the jittery PLUS recording."""
    text = (shared_data / 'plus_tracker/TestImages/TimestampFilteringTest.igs.mha').read_bytes()

    def column(name):
        values = re.findall(rb'Seq_Frame\d+_' + name + rb' = (\S+)', text)
        return np.array([float(value) for value in values])

    def stamps(name):
        return np.round(column(name) * 1e9).astype(np.int64)

    return column(b'FrameNumber'), stamps(b'Timestamp'), stamps(b'UnfilteredTimestamp')
