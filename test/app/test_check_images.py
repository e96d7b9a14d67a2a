"""`twin check` tells label maps from images, and knows DICOM by its content."""

import nrrd
import numpy as np
import pytest
from dicom_files import write_segmentation, write_series

from twin_nodes.app.check import inspect
from twin_nodes.core.errors import InputError

PLACE = {
    'space': 'left-posterior-superior',
    'space directions': np.diag([1.0, 1.0, 2.0]),
    'space origin': np.zeros(3),
}


def write(path, values):
    nrrd.write(str(path), values, PLACE)
    return path


def test_label_maps_are_told_from_images(tmp_path):
    rng = np.random.default_rng(1)
    labels = np.zeros((20, 20, 8), np.int16)
    labels[4:16, 4:16], labels[8:12, 8:12] = 3, 117
    text = inspect(write(tmp_path / 'a.nrrd', labels))
    assert 'label volume, good: 20 × 20 × 8 voxels of 1 × 1 × 2 mm, labels 3, 117' in text
    for kind in (np.uint8, np.int16, np.float32):
        image = rng.integers(1, 200, labels.shape).astype(kind)
        assert 'image, good: 20 × 20 × 8' in inspect(write(tmp_path / 'b.nrrd', image))
    assert 'values -1000 …' in inspect(write(tmp_path / 'c.nrrd', labels - 1000))


def test_a_metaimage_without_frames_is_a_volume(tmp_path):
    head = (
        'ObjectType = Image\nNDims = 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 1 2 3\n'
        'DimSize = 4 5 6\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n'
    )
    (tmp_path / 'a.mha').write_bytes(head.encode() + bytes(120))
    assert 'label volume, good: 4 × 5 × 6' in inspect(tmp_path / 'a.mha')
    (tmp_path / 'a.mha').write_bytes(head.encode() + bytes(100))
    with pytest.raises(InputError, match=r'no frame with a Timestamp.*nor a volume.*announces 120 bytes'):
        inspect(tmp_path / 'a.mha')


def test_a_file_with_several_volumes_says_how_to_choose(tmp_path):
    directions = np.insert(np.asarray(PLACE['space directions'], float), 0, np.nan, axis=0)
    fields = {**PLACE, 'space directions': directions, 'kinds': ['list', 'domain', 'domain', 'domain']}
    nrrd.write(str(tmp_path / 'a.nrrd'), np.ones((3, 6, 5, 4), np.uint8), fields)
    assert '3 volumes of 6 × 5 × 4 voxels' in (text := inspect(tmp_path / 'a.nrrd')) and '--frame 1 … 3' in text


def test_dicom_is_known_by_its_content(tmp_path):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    write_series(tmp_path / 'ct', stored)
    assert 'DICOM series, good: 3 files, 5 × 4 × 3 voxels of 1 × 2 × 3 mm' in inspect(tmp_path / 'ct')
    lone = next((tmp_path / 'ct').iterdir()).rename(tmp_path / 'IM0001')
    with pytest.raises(InputError, match='name the folder of the series'):
        inspect(lone)
    write_segmentation(tmp_path / 'seg.dcm', {(4, 'liver'): stored > 20})
    assert 'segmentation, good' in inspect(tmp_path / 'seg.dcm') and '4 liver' in inspect(tmp_path / 'seg.dcm')


def test_a_compression_test_is_told_from_recordings(tmp_path):
    strain = np.linspace(0.0, 0.4, 60)
    rows = ''.join(f'{100.0 * value:.6f};{-30.0 * (1.0 - value - (1.0 - value) ** -2):.6f}\n' for value in strain)
    (tmp_path / 'gel_A1.csv').write_text('Stauchung [%];Druckspannung [kPa]\n' + rows.replace('.', ','))
    text = inspect(tmp_path / 'gel_A1.csv')
    assert 'compression test, good: gel, piece A, 60 samples to 40.0 % and 65.33 kPa' in text
    (tmp_path / 'other.csv').write_text('colour;weight\nred;3\n')
    with pytest.raises(InputError, match='no recording that is known'):
        inspect(tmp_path / 'other.csv')
