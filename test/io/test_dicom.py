import dicom_files as files
import numpy as np
import pytest

from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.dicom import read_series
from twin_nodes.io.dicom_seg import is_segmentation, read_segmentation

STORED = np.random.default_rng(0).integers(0, 900, (6, 5, 4)).astype(np.int16)


def test_slices_are_sorted_by_place_and_values_rescaled(tmp_path):
    files.write_series(tmp_path / 's', STORED)
    image, paths = read_series(tmp_path / 's')
    assert image.values.shape == (4, 5, 6) and len(paths) == 6
    np.testing.assert_allclose(image.values, (2.0 * STORED - 1024.0).transpose(2, 1, 0))
    np.testing.assert_allclose(image.spacing, (0.001, 0.002, 0.003))  # from positions, not from SliceThickness
    np.testing.assert_allclose(image.anatomy_T_index[:3, 3], (0.010, 0.020, 0.030))
    assert image.frame_of_reference == files.FRAME and image.padded == 0


@pytest.mark.parametrize(
    'axes',
    [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, -1, 0), (0.8, 0.6, 0, -0.6, 0.8, 0)],
)
def test_each_voxel_lies_where_the_header_says(tmp_path, axes):
    files.write_series(tmp_path / 's', STORED, axes=axes)
    image, _ = read_series(tmp_path / 's')
    row, column = np.array(axes[:3]), np.array(axes[3:])
    i, j, k = 3, 2, 4
    truth = np.array([10.0, 20.0, 30.0]) + row * 1.0 * i + column * 2.0 * j + np.cross(row, column) * 3.0 * k
    np.testing.assert_allclose(image.anatomy_T_index @ [i, j, k, 1.0], [*(1e-3 * truth), 1.0], atol=1e-9)
    assert image.values[i, j, k] == 2.0 * STORED[k, j, i] - 1024.0


def test_padding_is_replaced_and_counted(tmp_path):
    stored = STORED.copy()
    stored[0, 0, :3], stored[1, 1, 1] = -2000, -5  # the stated padding, and a value below -1024 HU
    files.write_series(tmp_path / 's', stored, PixelPaddingValue=-2000)
    image, _ = read_series(tmp_path / 's')
    assert image.padded == 4
    assert image.values.min() == -1024.0
    assert image.values[0, 0, 0] == image.values[1, 1, 1] == -1024.0


def test_a_gap_is_refused_with_the_slices_and_a_part_is_read(tmp_path):
    for k in range(3):  # the second group under other names
        position = (10.0, 20.0, 90.0 + 3.0 * k)
        files.write_slice(tmp_path / 's', f'b{k}.dcm', position, STORED[3 + k])
    for k, pixels in enumerate(STORED[:3]):
        files.write_slice(tmp_path / 's', f'{(7 * k + 3) % 100:03d}.dcm', (10.0, 20.0, 30.0 + 3.0 * k), pixels)
    match = r'54 mm between slice 3 \(017\.dcm, at 36 mm\) and slice 4 \(b0\.dcm, .*take --slices 1-3 or --slices 4-6'
    with pytest.raises(InputError, match=match):
        read_series(tmp_path / 's')
    image, paths = read_series(tmp_path / 's', slices='4-6')
    assert image.anatomy_T_index[2, 3] == pytest.approx(0.09) and len(paths) == 3
    np.testing.assert_allclose(image.values, (2.0 * STORED[3:] - 1024.0).transpose(2, 1, 0))
    for wrong in ('0-3', '5', '2-9', 'x', '4-2'):
        with pytest.raises(InputError):
            read_series(tmp_path / 's', slices=wrong)


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'axes': (0, 1, 0, 0, 0, 1)}, r'mixed orientation: odd\.dcm'),
        ({'position': (10.0, 20.0, 33.0)}, r'twice \(.*odd\.dcm.*\)'),
        ({'spacing': (2.5, 1.0)}, 'mixed pixel spacing'),
        ({'pixels': STORED[0, :4]}, r'different sizes: 4×4 \(odd\.dcm\)'),
        ({'SeriesInstanceUID': '1.2.3'}, r'2 series fit .*…1\.2\.3 \(1 files, CT\)'),
        ({'FrameOfReferenceUID': '1.2.3'}, 'frames of reference'),
        ({'position': (14.0, 20.0, 48.0)}, 'aside of their normal|beside the others'),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, change, match):
    files.write_series(tmp_path / 's', STORED)
    change = {'position': (10.0, 20.0, 48.0), 'pixels': STORED[0], **change}
    files.write_slice(tmp_path / 's', 'odd.dcm', change.pop('position'), change.pop('pixels'), **change)
    with pytest.raises(InputError, match=match):
        read_series(tmp_path / 's')


def test_gantry_tilt_is_refused_with_its_angle(tmp_path):
    files.write_series(tmp_path / 's', STORED, shear=0.3)
    with pytest.raises(InputError, match=r'stacked 5\.71° aside .*gantry tilt'):
        read_series(tmp_path / 's')


def test_a_file_that_is_cut_or_no_dicom_is_refused(tmp_path):
    files.write_series(tmp_path / 's', STORED)
    path = tmp_path / 's' / '003.dcm'
    whole = path.read_bytes()
    for length in (len(whole) - 20, 400, 200):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_series(tmp_path / 's')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='no DICOM files'):
        read_series(tmp_path / 'empty')


def test_an_announced_size_is_not_believed(tmp_path):
    files.write_series(tmp_path / 's', STORED, Rows=60000, Columns=60000)
    with pytest.raises(InputError, match=r'limit|announced'):
        read_series(tmp_path / 's')


@pytest.mark.parametrize('syntax', [b'1.2.840.10008.1.2.4.203', b'1.2.840.10008.1.2.8.1', b'1.2.840.113619.5.2'])
def test_a_compressed_file_without_decoder_names_the_mend(tmp_path, syntax):
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import HTJ2K

    files.write_series(tmp_path / 's', STORED)
    for path in (tmp_path / 's').iterdir():
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = HTJ2K
        dataset.PixelData = encapsulate([b'\0' * 64])
        dataset['PixelData'].is_undefined_length = True
        dataset.save_as(path, enforce_file_format=True)
        path.write_bytes(path.read_bytes().replace(HTJ2K.encode() + b'\0', syntax.ljust(24, b'\0')))  # some are new
    with pytest.raises(InputError, match=r'compressed as .*pip install'):
        read_series(tmp_path / 's')


def masks():
    liver, tumour = np.zeros((2, 6, 5, 4), bool)
    liver[1:5, 1:4, :3], tumour[3, 2, 3] = True, True
    return {(1, 'Liver'): liver, (2, 'Tumour'): tumour}


@pytest.mark.parametrize('empty', [False, True])
def test_a_segmentation_gives_labels_names_and_place(tmp_path, empty):
    files.write_segmentation(tmp_path / 'seg.dcm', masks(), empty=empty)
    volume, names, frame = read_segmentation(tmp_path / 'seg.dcm')
    assert names == {1: 'Liver', 2: 'Tumour'} and frame == files.FRAME
    assert volume.counts() == {1: 36, 2: 1}
    place = volume.anatomy_T_index @ [*np.argwhere(volume.labels == 2)[0], 1.0]
    np.testing.assert_allclose(place[:3], 1e-3 * np.array([10.0 + 3.0, 20.0 + 4.0, 30.0 + 9.0]), atol=1e-12)


def test_a_map_of_labels_is_a_segmentation_too(tmp_path):
    from pydicom import dcmread

    mask = np.zeros((3, 4, 5), bool)
    mask[:, 1:3, 1:4] = True
    files.write_segmentation(tmp_path / 'a.dcm', {(2, 'liver'): mask}, empty=True)
    dataset = dcmread(tmp_path / 'a.dcm')
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.66.7'
    dataset.SegmentationType = 'LABELMAP'
    dataset.add_new('PixelPaddingValue', 'US', 9)
    files.set_pixels(dataset, np.where(mask, 2, 9), bits=8)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence
    dataset.save_as(tmp_path / 'b.dcm')
    volume, names, _ = read_segmentation(tmp_path / 'b.dcm')
    assert is_segmentation(tmp_path / 'b.dcm') and names == {2: 'liver'}
    np.testing.assert_array_equal(volume.labels, 2 * mask.transpose(2, 1, 0))


def test_frames_that_share_nothing_are_read(tmp_path):
    from pydicom import dcmread

    mask = np.ones((2, 4, 5), bool)
    files.write_segmentation(tmp_path / 'a.dcm', {(1, 'liver'): mask})
    dataset = dcmread(tmp_path / 'a.dcm')
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PlaneOrientationSequence = shared.PlaneOrientationSequence
        group.PixelMeasuresSequence = shared.PixelMeasuresSequence
    del dataset.SharedFunctionalGroupsSequence
    dataset.save_as(tmp_path / 'b.dcm')
    assert read_segmentation(tmp_path / 'b.dcm')[0].labels.shape == (5, 4, 2)


def overlapping(path):
    both = masks()
    both[(2, 'Tumour')][3, 2, 1] = True
    files.write_segmentation(path, both)
    return path


def test_segments_that_overlap_are_refused_with_what_to_type(tmp_path):
    match = "segments 1 and 2 overlap in 1 pixels of slice 3: .*build .* --segments 'Tumour,Liver'"
    with pytest.raises(InputError, match=match):
        read_segmentation(overlapping(tmp_path / 'seg.dcm'))


@pytest.mark.parametrize(
    ('segments', 'counts', 'said'),
    [
        (('Tumour', 'Liver'), {1: 35, 2: 2}, ("1 voxels of 'Liver' left to 'Tumour'",)),
        (('1', 'Tumour', 'Liver'), {1: 36, 2: 1}, ("1 voxels of 'Tumour' left to 'Liver'",)),
        (('2',), {2: 2}, ()),
    ],
)
def test_of_segments_that_overlap_the_first_that_is_named_has_the_voxel(tmp_path, segments, counts, said):
    volume, names, _ = read_segmentation(overlapping(tmp_path / 'seg.dcm'), segments)
    assert volume.counts() == counts and set(names) == set(counts) and volume.left_out == said


def test_a_segment_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(ConfigError, match=r"0 segments are called 'tumour'.*1 Liver, 2 Tumour"):
        read_segmentation(overlapping(tmp_path / 'seg.dcm'), ('tumour',))


def test_the_lego_phantom_is_refused_for_its_gap_and_its_halves_are_read(shared_data):
    folder = shared_data / 'ct_lego_phantom' / 'LegoPhantom_10slices'
    with pytest.raises(
        InputError, match=r'90 mm between slice 5 \(126\.dcm.*slice 6 \(155\.dcm.*--slices 1-5 or --slices 6-10'
    ):
        read_series(folder)
    for chosen, low in (('1-5', -0.24075), ('6-10', -0.14325)):
        image, paths = read_series(folder, slices=chosen)
        assert image.values.shape == (512, 512, 5) and len(paths) == 5
        assert image.anatomy_T_index[2, 3] == pytest.approx(low)
        assert image.spacing[2] == pytest.approx(1.875e-3)
        assert image.values.min() == -1024.0 and image.padded > 100_000
