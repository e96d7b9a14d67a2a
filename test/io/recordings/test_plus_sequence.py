import numpy as np
import pytest
from recording_texts import IDENTITY_MM, in_millimetres, known_poses, plus_frame

from twin_nodes.core.errors import InputError
from twin_nodes.core.tracking.reading import ToolStatus
from twin_nodes.io.recordings import open_recording


def stylus(status='OK', matrix=IDENTITY_MM):
    return {'StylusToTrackerTransform': matrix, 'StylusToTrackerTransformStatus': status}


def test_reads_metres_and_exact_nanoseconds(write_plus):
    recording = open_recording(
        write_plus(plus_frame(0, '1840749.750288123', UnfilteredTimestamp='1840749.05', FrameNumber='55', **stylus()))
    )
    (frame,) = recording.frames
    assert frame.stamp_ns == 1840749750288123
    assert frame.unfiltered_stamp_ns == 1840749050000000
    assert frame.frame_number == 55
    assert recording.devices == ('StylusToTracker',)
    np.testing.assert_allclose(frame.poses['StylusToTracker'].tracker_T_tool[:3, 3], [0.01, 0.02, 0.03], rtol=1e-15)


@pytest.mark.parametrize('status', ['INVALID', 'MISSING', 'OUT_OF_VIEW', ''])
def test_a_plausible_matrix_without_ok_is_lost(write_plus, status):
    recording = open_recording(write_plus(plus_frame(0, '1.0', **stylus(status))))
    reading = recording.frames[0].poses['StylusToTracker']
    assert reading.status is ToolStatus.LOST
    assert reading.tracker_T_tool is None
    assert reading.reason == (status or 'status is empty')


def test_absent_status_is_ok_only_where_the_device_never_has_one(write_plus):
    plain = {'ProbeToTrackerTransform': IDENTITY_MM, 'StylusToTrackerTransform': IDENTITY_MM}
    recording = open_recording(
        write_plus(plus_frame(0, '1.0', **plain, StylusToTrackerTransformStatus='OK'), plus_frame(1, '2.0', **plain))
    )
    assert recording.frames[1].poses['ProbeToTracker'].status is ToolStatus.TRACKED
    assert recording.frames[1].poses['StylusToTracker'].reason == 'no status in this frame'


def test_device_left_out_of_a_frame_is_lost_there(write_plus):
    recording = open_recording(
        write_plus(plus_frame(0, '1.0', **stylus()), plus_frame(1, '2.0', ProbeToTrackerTransform=IDENTITY_MM))
    )
    assert recording.frames[1].poses['StylusToTracker'].reason == 'not in this frame'


@pytest.mark.parametrize(
    ('matrix', 'reason'),
    [
        ('1 0 0 nan 0 1 0 0 0 0 1 0 0 0 0 1', 'NaN'),
        ('1 0 0 1.#QNAN 0 1 0 0 0 0 1 0 0 0 0 1', 'unreadable'),
        ('1 0 0 0 0 1 0 0 0 0 1 0', '12 values'),
    ],
)
def test_a_broken_matrix_is_lost_with_the_reason(write_plus, matrix, reason):
    recording = open_recording(write_plus(plus_frame(0, '1.0', **stylus(matrix=matrix))))
    assert reason in recording.frames[0].poses['StylusToTracker'].reason


def sequence(write_plus, matrices, status='OK', device='StylusToTracker'):
    frames = [
        plus_frame(at, f'{at}.5', **{f'{device}Transform': ' '.join(map(repr, matrix.ravel().tolist())),
                                     **({f'{device}TransformStatus': status} if status else {})})
        for at, matrix in enumerate(matrices)
    ]  # fmt: skip
    return open_recording(write_plus(*frames))


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda written: np.swapaxes(written, 1, 2), 'column by column'),
        (lambda written: written * np.array([[1.0, 1.0, 1.0, 1e-3]] * 3 + [[1.0] * 4]), 'taken as metres'),
        (lambda written: np.round(written, 3), ''),
    ],
)
def test_matrices_of_other_writers(write_plus, change, said):
    recording = sequence(write_plus, change(in_millimetres(known_poses())))
    np.testing.assert_allclose(recording.tracked('StylusToTracker')[1], known_poses(), atol=2e-3)
    assert said in ' '.join(recording.notes)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [(np.array([-1.0, 1.0, 1.0, 1.0]), 'left-handed'), (np.array([[[0.2, 0.2, 0.2, 1.0]]]), 'no rotation')],
)
def test_matrices_that_are_no_pose_are_lost(write_plus, change, reason):
    recording = sequence(write_plus, in_millimetres(known_poses()) * change)
    assert all(reason in frame.poses['StylusToTracker'].reason for frame in recording.frames)


@pytest.mark.parametrize(('status', 'seen'), [('', 39), ('OK', 40), ('ok', 40), ('VALID', 40), ('Missing', 0)])
def test_the_identity_is_a_pose_only_where_the_file_says_so(write_plus, status, seen):
    matrices = in_millimetres(known_poses())
    matrices[5] = np.eye(4)
    assert len(sequence(write_plus, matrices, status).tracked('StylusToTracker')[0]) == seen


@pytest.mark.parametrize('device', ['Stylus-8700340ToTracker', 'Stylus To Tracker', 'Stylus.1ToTracker'])
def test_names_of_devices_may_hold_any_marks(write_plus, device):
    assert sequence(write_plus, in_millimetres(known_poses()), device=device).devices == (device,)


def test_three_digit_exponents(write_plus):
    matrix = '1 -8.43482e-005 2.220e-016 1e+001 0 1 0 0 0 0 1 0 -0 0 -0 1'
    recording = open_recording(write_plus(plus_frame(0, '3.45e+002', **stylus(matrix=matrix))))
    assert recording.frames[0].stamp_ns == 345 * 10**9
    assert recording.frames[0].poses['StylusToTracker'].tracker_T_tool[0, 3] == pytest.approx(0.01)


def test_stamps_that_repeat_or_run_back_and_index_gaps_are_kept_and_noted(write_plus):
    frames = [plus_frame(i, s, **stylus()) for i, s in [(7, '2.0'), (2, '1.0'), (9, '1.5'), (10, '1.5')]]
    recording = open_recording(write_plus(*frames))
    assert [f.stamp_ns for f in recording.frames] == [10**9, 2 * 10**9, 1_500_000_000, 1_500_000_000]
    notes = ' '.join(recording.notes)
    assert '5 frame indices are missing' in notes
    assert '1 stamps repeat' in notes
    assert '1 stamps run backwards, by up to 0.5 s' in notes


def test_indices_need_no_padding(write_plus):
    recording = open_recording(
        write_plus(
            'Seq_Frame9_Timestamp = 1.0\nSeq_Frame9_AToBTransform = ' + IDENTITY_MM + '\n',
            'Seq_Frame10_Timestamp = 2.0\nSeq_Frame10_AToBTransform = ' + IDENTITY_MM + '\n',
        )
    )
    assert [f.stamp_ns for f in recording.frames] == [10**9, 2 * 10**9]


def test_a_cut_at_any_byte_gives_a_prefix_of_the_frames_or_a_clear_error(write_plus):
    frames = [plus_frame(i, f'{i}.5', **stylus('OK' if i % 2 else 'INVALID')) for i in range(5)]
    whole = open_recording(write_plus(*frames))
    text = 'ObjectType = Image\nNDims = 3\n' + ''.join(frames)
    for cut in range(0, len(text), 7):
        path = write_plus(name='cut.igs.mha')
        path.write_text(text[:cut])
        try:
            recording = open_recording(path)
        except InputError:
            continue
        for got, want in zip(recording.frames, whole.frames, strict=False):
            assert got.stamp_ns == want.stamp_ns
            assert got.poses['StylusToTracker'].status is want.poses['StylusToTracker'].status


def test_frame_without_a_stamp_is_left_out_and_noted(write_plus):
    recording = open_recording(write_plus(plus_frame(0, '', **stylus()), plus_frame(1, '1.0', **stylus())))
    assert len(recording.frames) == 1
    assert 'frame 0 has no readable Timestamp and was left out' in recording.notes
    with pytest.raises(InputError, match='no frame with a Timestamp'):
        open_recording(write_plus(plus_frame(0, 'nan', **stylus()), plus_frame(1, '9e18', **stylus())))


def test_nrrd_header(tmp_path):
    path = tmp_path / 'run.igs.nrrd'
    lines = ['NRRD0004', 'type: uint8', 'Seq_Frame0000_Timestamp:=1.25', f'Seq_Frame0000_AToBTransform:={IDENTITY_MM}']
    path.write_bytes('\n'.join(lines).encode() + b'\n\n\x00\xff\xfe pixels Seq_Frame0001_Timestamp:=9\n')
    recording = open_recording(path)
    assert [f.stamp_ns for f in recording.frames] == [1_250_000_000]


def test_pixels_are_never_read_as_text(write_plus):
    pixels = 'ElementDataFile = LOCAL\n' + 'Seq_Frame0001_Timestamp = 2.0\n' + '\x01' * 200_000
    assert len(open_recording(write_plus(plus_frame(0, '1.0', **stylus()), end=pixels)).frames) == 1


@pytest.mark.parametrize('content', [b'', b'hello', b'\x00' * 100, b'ObjectType = Image\n' + b'x' * 100_000])
def test_anything_else_is_refused(tmp_path, content):
    path = tmp_path / 'what.mha'
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'what\.mha'):
        open_recording(path)


def test_missing_file_is_said():
    with pytest.raises(InputError, match='cannot be read'):
        open_recording('no/such/recording.mha')


def test_real_recordings(shared_data):
    folder = shared_data / 'plus_tracker'
    landmarks = open_recording(folder / 'TestImages/EightLandmarkPointsTrackedForPhantomRegistration.igs.mha')
    assert len(landmarks.frames) == 1000
    assert landmarks.duration_s == pytest.approx(66.6057, abs=1e-3)
    assert len(landmarks.tracked('StylusToTracker')[0]) == 1000
    freehand = open_recording(folder / 'TestImages/NwirePhantomFreehand.igs.mha')
    assert len(freehand.frames) == 97
    assert {f.poses['StylusToTracker'].reason for f in freehand.frames} == {'INVALID'}
    jitter = open_recording(folder / 'TestImages/TimestampFilteringTest.igs.mha')
    assert len(jitter.frames) == 500
    assert all(f.unfiltered_stamp_ns and f.frame_number for f in jitter.frames)
    assert len(open_recording(folder / 'ConfigFiles/SlidingProbeTrackingData.igs.mha').frames) == 85
