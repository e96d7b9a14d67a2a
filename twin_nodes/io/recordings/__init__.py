"""Recordings of trackers, read into one form: frames of tool readings in metres with integer nanosecond stamps."""

from twin_nodes.io.recordings.opening import open_recording
from twin_nodes.io.recordings.recording import RecordedFrame, Recording
from twin_nodes.io.recordings.source import RecordingSource

__all__ = ['RecordedFrame', 'Recording', 'RecordingSource', 'open_recording']
