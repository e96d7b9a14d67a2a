"""Series as archives hand them out: with reports and localisers, without a preamble, over time, in odd encodings."""

import dicom_files as files
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, generate_uid

from twin_nodes.core.errors import InputError
from twin_nodes.io.dicom import read_series
from twin_nodes.io.dicom_files import is_dicom
from twin_nodes.io.dicom_seg import read_segmentation

STORED = np.random.default_rng(1).integers(0, 900, (5, 4, 3)).astype(np.int16)
TRUTH = (2.0 * STORED - 1024.0).transpose(2, 1, 0)
PLACE = (0.010, 0.020, 0.030)


def same(image):
    np.testing.assert_allclose(image.values, TRUTH)
    np.testing.assert_allclose(image.spacing, (0.001, 0.002, 0.003))
    np.testing.assert_allclose(image.anatomy_T_index[:3, 3], PLACE)


def rewrite(folder, change):
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        change(dataset, path)


def localiser(folder, series):
    files.write_slice(folder, 'scout.dcm', (0.0, 0.0, 0.0), STORED[0], axes=(0, 1, 0, 0, 0, -1),
                      SeriesInstanceUID=series, ImageType=['ORIGINAL', 'PRIMARY', 'LOCALIZER'])  # fmt: skip


def report(folder, series):
    dataset = files.new_file(folder / 'dose.dcm', '1.2.840.10008.5.1.4.1.1.88.67', 1)
    dataset.Modality, dataset.SeriesInstanceUID = 'SR', series
    dataset.save_as(folder / 'dose.dcm', enforce_file_format=True)


def capture(folder, series):
    dataset = files.new_file(folder / 'page.dcm', '1.2.840.10008.5.1.4.1.1.7', 1)
    dataset.Modality, dataset.SeriesInstanceUID = 'CT', series
    files.set_pixels(dataset, np.zeros((20, 30)), bits=8)
    dataset.save_as(folder / 'page.dcm', enforce_file_format=True)


@pytest.mark.parametrize('beside', [localiser, report, capture])
def test_what_is_no_slice_is_left_out(tmp_path, beside):
    files.write_series(tmp_path / 's', STORED)
    beside(tmp_path / 's', generate_uid())
    image, paths = read_series(tmp_path / 's')
    same(image)
    assert len(paths) == 5
    (tmp_path / 's' / 'DICOMDIR').write_bytes(b'\0' * 128 + b'DICM' + b'\0' * 64)
    (tmp_path / 's' / 'notes.txt').write_bytes(b'\x08\x00\x05\x00' + b'\0' * 200)  # begins as a bare data set may
    same(read_series(tmp_path / 's')[0])


def test_a_report_and_a_localiser_in_the_series_itself_are_left_out_and_the_localiser_is_named(tmp_path):
    files.write_series(tmp_path / 's', STORED)
    report(tmp_path / 's', files.SERIES)
    localiser(tmp_path / 's', files.SERIES)
    image, paths = read_series(tmp_path / 's')
    same(image)
    assert len(paths) == 5 and image.left_out == ('scout.dcm: a localiser of another orientation, size or spacing',)


def test_an_odd_slice_that_does_not_say_that_it_is_a_localiser_is_refused(tmp_path):
    files.write_series(tmp_path / 's', STORED)
    files.write_slice(tmp_path / 's', 'odd.dcm', (0.0, 0.0, 0.0), STORED[0], axes=(0, 1, 0, 0, 0, -1))
    with pytest.raises(InputError, match=r'mixed orientation: .*odd\.dcm|mixed orientation: .* differ from'):
        read_series(tmp_path / 's')


def test_a_localiser_does_not_hide_a_gap_and_a_series_of_localisers_is_read(tmp_path):
    files.write_series(tmp_path / 's', STORED)
    localiser(tmp_path / 's', files.SERIES)
    next(path for path in sorted((tmp_path / 's').iterdir()) if path.name != 'scout.dcm').unlink()
    assert read_series(tmp_path / 's')[0].values.shape == (3, 4, 4)
    sorted(path for path in (tmp_path / 's').iterdir() if path.name != 'scout.dcm')[1].unlink()
    with pytest.raises(InputError, match='mm between slice'):
        read_series(tmp_path / 's')
    files.write_series(tmp_path / 't', STORED, ImageType=['ORIGINAL', 'PRIMARY', 'LOCALIZER'])
    assert read_series(tmp_path / 't')[0].left_out == ()


def test_two_series_are_told_apart_by_what_they_are(tmp_path):
    files.write_series(tmp_path / 's', STORED, SeriesDescription='thorax')
    other = generate_uid()
    for k, pixels in enumerate(STORED):
        files.write_slice(tmp_path / 's', f'b{k}.dcm', (1, 2, 3 + k), pixels, SeriesInstanceUID=other)
    with pytest.raises(InputError, match=r"2 series fit .*5 files, CT 'thorax'.*--series"):
        read_series(tmp_path / 's')
    same(read_series(tmp_path / 's', series=files.SERIES[-8:])[0])


@pytest.mark.parametrize('implicit', [True, False])
def test_files_without_a_preamble_are_read(tmp_path, implicit):
    files.write_series(tmp_path / 's', STORED)

    def strip(dataset, path):
        bare = Dataset()
        bare.update({element.tag: element for element in dataset})
        with path.open('wb') as stream:
            target = DicomFileLike(stream)
            target.is_little_endian, target.is_implicit_VR = True, implicit
            write_dataset(target, bare)
        assert is_dicom(path)

    rewrite(tmp_path / 's', strip)
    same(read_series(tmp_path / 's')[0])


def test_big_endian_is_read(tmp_path):
    files.write_series(tmp_path / 's', STORED)

    def turn(dataset, path):
        dataset.PixelData = dataset.pixel_array.astype('>i2').tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset['PixelData'].VR = 'OW'
        pydicom.dcmwrite(path, dataset, enforce_file_format=True, little_endian=False, implicit_vr=False)

    rewrite(tmp_path / 's', turn)
    same(read_series(tmp_path / 's')[0])


def test_float_pixels_and_empty_rescale_are_read(tmp_path):
    files.write_series(tmp_path / 's', STORED)

    def to_float(dataset, path):
        pixels = (2.0 * dataset.pixel_array - 1024.0).astype('<f4')
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        dataset.FloatPixelData, dataset.BitsAllocated = pixels.tobytes(), 32
        dataset.RescaleSlope = dataset.RescaleIntercept = None
        dataset.save_as(path)

    rewrite(tmp_path / 's', to_float)
    same(read_series(tmp_path / 's')[0])


def test_a_value_that_is_none_is_refused_wherever_it_is_asked_for(tmp_path):
    files.write_series(tmp_path / 's', STORED, NumberOfFrames='1')
    for path in (tmp_path / 's').iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b'(\x00\x08\x00IS\x02\x001 ', b'(\x00\x08\x00IS\x02\x001A'))
        with pytest.raises(InputError, match=rf'{path.name}: a value in it is not what DICOM allows .*1A'):
            read_series(tmp_path / 's')
        path.write_bytes(whole)


def test_a_factor_of_nothing_and_a_table_of_values_are_refused(tmp_path):
    files.write_series(tmp_path / 's', STORED, RescaleSlope=0.0)
    with pytest.raises(InputError, match=r'003\.dcm: RescaleSlope 0'):
        read_series(tmp_path / 's')
    files.write_series(tmp_path / 't', STORED, ModalityLUTSequence=Sequence([Dataset()]))
    with pytest.raises(InputError, match='ModalityLUTSequence'):
        read_series(tmp_path / 't')


def test_padding_written_without_its_sign_is_found(tmp_path):
    stored = STORED.copy()
    stored[2, 1, :2] = -2000
    files.write_series(tmp_path / 's', stored, Modality='MR', RescaleSlope=1.0, RescaleIntercept=0.0)

    def pad(dataset, path):
        dataset.add_new(0x00280120, 'US', 65536 - 2000)
        dataset.save_as(path)

    rewrite(tmp_path / 's', pad)
    image, _ = read_series(tmp_path / 's')
    assert image.padded == 2 and image.values.min() == STORED.min()


def phases(folder, mark, values):
    for n, value in enumerate(values):
        for k, pixels in enumerate(STORED):
            files.write_slice(folder, f'{n}-{k}.dcm', (10.0, 20.0, 30.0 + 3.0 * k), pixels + n, **{mark: value})


@pytest.mark.parametrize(('mark', 'values'), [('TemporalPositionIdentifier', (1, 2, 3)), ('EchoTime', (9.2, 30.0, 4.6)),
                                              ('AcquisitionNumber', (7, 9, 8))])  # fmt: skip
def test_one_of_several_volumes_is_chosen(tmp_path, mark, values):
    phases(tmp_path / 's', mark, values)
    with pytest.raises(InputError, match=rf'3 volumes in one series \({mark} .*--frame 1 … 3'):
        read_series(tmp_path / 's')
    with pytest.raises(InputError, match='frame=4 is not there'):
        read_series(tmp_path / 's', frame=4)
    for frame, value in enumerate(sorted(values), start=1):
        image, paths = read_series(tmp_path / 's', frame=frame)
        np.testing.assert_allclose(image.values, TRUTH + 2.0 * values.index(value))
        assert len(paths) == 5


@pytest.mark.parametrize('by_place', [False, True])
def test_volumes_that_only_their_numbers_tell_apart_are_parted_by_their_order(tmp_path, by_place):
    for n in range(3):
        for k, pixels in enumerate(STORED):
            number = 3 * k + n if by_place else 5 * n + (k * 2) % 5  # slices taken one by one, or interleaved
            files.write_slice(tmp_path / 's', f'{n}-{k}.dcm', (10.0, 20.0, 30.0 + 3.0 * k), pixels + n, number=number)
    with pytest.raises(InputError, match=r'3 volumes in one series \(in the order of InstanceNumber 1, 2, 3\)'):
        read_series(tmp_path / 's')
    for n in range(3):
        np.testing.assert_allclose(read_series(tmp_path / 's', frame=n + 1)[0].values, TRUTH + 2.0 * n)


@pytest.mark.parametrize('broken', ['a number twice', 'a place too few', 'no order'])
def test_numbers_that_tell_no_order_part_nothing(tmp_path, broken):
    numbers = {'a number twice': [0, 1, 2, 3, 4] * 2, 'no order': [0, 2, 1, 3, 4, 9, 8, 5, 6, 7]}.get(broken, range(10))
    for index, number in enumerate(numbers):
        n, k = divmod(index, 5)
        place = 2 * n + k // 2 if broken == 'no order' else k
        if not (broken == 'a place too few' and index == 7):
            files.write_slice(tmp_path / 's', f'{index}.dcm', (0.0, 0.0, 3.0 * (place % 5)), STORED[k], number=number)
    with pytest.raises(InputError, match='places are there twice'):
        read_series(tmp_path / 's')


def test_a_mosaic_is_named_as_what_it_is(tmp_path):
    for n in range(2):
        files.write_slice(tmp_path / 's', f'{n}.dcm', (0.0, 0.0, 3.0 * n), STORED[0],
                          ImageType=['ORIGINAL', 'PRIMARY', 'M', 'ND', 'MOSAIC'])  # fmt: skip
    with pytest.raises(InputError, match=r'a mosaic: .*dcm2niix'):
        read_series(tmp_path / 's')


def test_frames_of_one_file_are_parted_by_what_they_say(tmp_path):
    dataset = files.new_file(tmp_path / 'e.dcm', '1.2.840.10008.5.1.4.1.1.4.1', 1)
    dataset.Modality, shared, groups, frames = 'MR', Dataset(), [], []
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient, measures.PixelSpacing = [1.0, 0, 0, 0, 1.0, 0], [2.0, 1.0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    for k, pixels in enumerate(STORED):
        for time in (0, 1):
            for part in (0, 1):  # 2 times × 2 parts: no single number tells the four volumes apart
                group, place, content = Dataset(), Dataset(), Dataset()
                place.ImagePositionPatient = [10.0, 20.0, 30.0 + 3.0 * k]
                content.DimensionIndexValues = [k + 1, time + 1, part + 1]
                group.PlanePositionSequence, group.FrameContentSequence = Sequence([place]), Sequence([content])
                groups.append(group)
                frames.append(pixels + 10 * time + part)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence, dataset.NumberOfFrames = Sequence(groups), len(frames)
    files.set_pixels(dataset, np.array(frames))
    dataset.save_as(tmp_path / 'e.dcm', enforce_file_format=True)
    with pytest.raises(InputError, match='4 volumes in one series'):
        read_series(tmp_path / 'e.dcm')
    for frame, added in enumerate((0, 1, 10, 11), start=1):
        image, _ = read_series(tmp_path / 'e.dcm', frame=frame)
        np.testing.assert_allclose(image.values, STORED.transpose(2, 1, 0) + added)


def test_a_single_volume_has_no_second(tmp_path):
    files.write_series(tmp_path / 's', STORED)
    same(read_series(tmp_path / 's', frame=1)[0])
    with pytest.raises(InputError, match='one volume only'):
        read_series(tmp_path / 's', frame=2)


def heights(folder, places):
    for k, place in enumerate(places):
        files.write_slice(folder, f'{k:03d}.dcm', (0.0, 0.0, place), STORED[0])


def test_steps_that_add_up_are_refused_and_places_with_one_digit_are_not(tmp_path):
    heights(tmp_path / 'drift', np.concatenate([2.0 * np.arange(30), 58.0 + 2.035 * np.arange(1, 31)]))
    with pytest.raises(InputError, match=r'slice 30 .*lies 0\.5\d* mm from where even steps put it'):
        read_series(tmp_path / 'drift')
    heights(tmp_path / 'rounded', np.round(0.625 * np.arange(12), 1))
    assert read_series(tmp_path / 'rounded')[0].spacing[2] == pytest.approx(0.625e-3, rel=0.01)
    heights(tmp_path / 'gap', np.round(0.625 * np.array([0, 1, 2, 4, 5]), 1))
    with pytest.raises(InputError, match=r'between slice 3 \(002\.dcm'):
        read_series(tmp_path / 'gap')


def test_empty_slices_between_those_of_a_segmentation_keep_its_volume(tmp_path):
    mask = np.zeros((6, 5, 4), bool)
    mask[[0, 2, 4], 1:3, 1:3] = True
    files.write_segmentation(tmp_path / 'a.dcm', {(1, 'node'): mask})
    volume, _, _ = read_segmentation(tmp_path / 'a.dcm')
    assert volume.labels.shape[2] == 5
    assert volume.counts()[1] * volume.voxel_volume == pytest.approx(12 * 6e-9)
