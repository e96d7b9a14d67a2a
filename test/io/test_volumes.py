import gzip
import re
import resource

import numpy as np
import pytest

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface_extraction import extract_surface
from twin_nodes.core.errors import InputError
from twin_nodes.io.volumes import lps_from, read_label_volume

SHAPE = (4, 5, 6)
LABELS = (np.arange(120).reshape(SHAPE) % 7).astype(np.uint8)


def write_nrrd(path, labels=LABELS, *, directions=((1, 0, 0), (0, 2, 0), (0, 0, 3)), encoding='gzip', **fields):
    import nrrd

    header = {'space': 'left-posterior-superior', 'space directions': np.array(directions, float),
              'space origin': [10.0, 20.0, 30.0], 'encoding': encoding, **fields}  # fmt: skip
    header = {key: value for key, value in header.items() if value is not None}
    nrrd.write(str(path), labels, header)
    return path


def write_nifti(path, labels=LABELS, *, affine=None, unit='mm', qform=1):
    import nibabel

    affine = np.array([[1.0, 0, 0, 10], [0, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]]) if affine is None else affine
    image = nibabel.Nifti1Image(labels, affine)
    image.set_qform(affine, qform)
    image.set_sform(affine, qform)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, str(path))
    return path


@pytest.mark.parametrize(
    ('axes', 'expected'),
    [
        ('left-posterior-superior', (0.001, 0.002, 0.003)),
        ('right-anterior-superior', (-0.001, -0.002, 0.003)),
        ('left-anterior-superior', (0.001, -0.002, 0.003)),
        ('right-anterior-inferior', (-0.001, -0.002, -0.003)),
        ('RAS', (-0.001, -0.002, 0.003)),
        ('lps', (0.001, 0.002, 0.003)),
        ('PLS', (0.002, 0.001, 0.003)),
    ],
)
def test_axes_are_brought_to_lps_metres(axes, expected):
    index_T = np.eye(4)
    index_T[:3, 3] = (1.0, 2.0, 3.0)
    np.testing.assert_allclose(lps_from(axes, index_T, unit='mm')[:3, 3], expected, atol=1e-15)
    np.testing.assert_allclose(lps_from(axes, index_T, unit='m')[:3, 3], 1e3 * np.array(expected), atol=1e-12)


@pytest.mark.parametrize('axes', ['scanner-xyz', 'RRS', '', '3D-right-handed'])
def test_axes_that_say_nothing_of_the_patient_are_refused(axes):
    with pytest.raises(InputError, match='does not say where') as caught:
        lps_from(axes, np.eye(4), unit='mm')
    assert caught.value.code == 'ANATOMY_REFUSED'


@pytest.mark.parametrize('encoding', ['gzip', 'raw', 'bzip2'])
def test_nrrd_gives_labels_and_place(tmp_path, encoding):
    volume = read_label_volume(write_nrrd(tmp_path / 'a.nrrd', encoding=encoding))
    np.testing.assert_array_equal(volume.labels, LABELS)
    expected = np.array([[1e-3, 0, 0, 10e-3], [0, 2e-3, 0, 20e-3], [0, 0, 3e-3, 30e-3], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.anatomy_T_index, expected, atol=1e-15)
    assert volume.voxel_volume == pytest.approx(6e-9)
    assert sum(volume.counts().values()) == np.count_nonzero(LABELS)


@pytest.mark.parametrize('name', ['a.nii', 'a.nii.gz'])
def test_nifti_is_ras_and_becomes_lps(tmp_path, name):
    volume = read_label_volume(write_nifti(tmp_path / name))
    np.testing.assert_array_equal(volume.labels, LABELS)
    expected = np.array([[-1e-3, 0, 0, -10e-3], [0, -2e-3, 0, -20e-3], [0, 0, 3e-3, 30e-3], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.anatomy_T_index, expected, atol=1e-9)


def test_nrrd_and_nifti_of_one_volume_agree(tmp_path):
    rotated = np.eye(4)
    rotated[:3, :3] = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]) @ np.diag([1.0, -2.0, 3.0])
    rotated[:3, 3] = (5, 6, 7)
    nifti = read_label_volume(write_nifti(tmp_path / 'a.nii.gz', affine=rotated))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ rotated
    nrrd = read_label_volume(
        write_nrrd(tmp_path / 'a.nrrd', directions=lps[:3, :3].T, **{'space origin': lps[:3, 3].tolist()})
    )
    np.testing.assert_allclose(nifti.anatomy_T_index, nrrd.anatomy_T_index, atol=1e-8)
    np.testing.assert_array_equal(nifti.labels, nrrd.labels)


def test_sixteen_bit_big_endian_and_metres(tmp_path):
    labels = (LABELS.astype(np.int16) * 100).astype('>i2')
    volume = read_label_volume(
        write_nrrd(tmp_path / 'a.nrrd', labels, endian='big', **{'space units': ['m', 'm', 'm'],
                   'space directions': np.diag([0.001, 0.002, 0.003])}))  # fmt: skip
    np.testing.assert_array_equal(volume.labels, labels)
    assert volume.labels.dtype == np.uint16
    np.testing.assert_allclose(np.diag(volume.anatomy_T_index), (0.001, 0.002, 0.003, 1.0))


def test_a_map_of_probabilities_needs_a_threshold(tmp_path):
    path = write_nifti(tmp_path / 'a.nii.gz', (LABELS / 6).astype(np.float32))
    with pytest.raises(InputError, match='give a threshold'):
        read_label_volume(path)
    np.testing.assert_array_equal(read_label_volume(path, threshold=0.5).labels, LABELS >= 3)


def test_detached_data_in_the_same_folder_is_read_and_elsewhere_refused(tmp_path):
    path = write_nrrd(tmp_path / 'a.nhdr')
    np.testing.assert_array_equal(read_label_volume(path).labels, LABELS)
    text = path.read_text().replace('data file: a', 'data file: ../a')
    (tmp_path / 'b.nhdr').write_text(text)
    with pytest.raises(InputError, match='same folder'):
        read_label_volume(tmp_path / 'b.nhdr')


@pytest.mark.parametrize(
    ('fields', 'before', 'encoding'),
    [('byte skip: 5', b'12345', 'raw'), ('byte skip: -1', b'anything', 'raw'), ('line skip: 2', b'a\nb\n', 'raw'),
     ('line skip: 1\nbyte skip: 3', b'a\n123', 'raw'), ('line skip: 1', b'a\n', 'gzip')],
)  # fmt: skip
def test_lines_and_bytes_before_the_voxels_are_skipped(tmp_path, fields, before, encoding):
    path = write_nrrd(tmp_path / 'a.nhdr', encoding=encoding)
    text = path.read_text()
    data = tmp_path / re.search(r'data file: (.*)', text)[1]
    data.write_bytes(before + data.read_bytes())
    with pytest.raises(InputError, match=r'holds more|broken'):
        read_label_volume(path)
    path.write_text(text.replace('data file:', f'{fields}\ndata file:'))
    np.testing.assert_array_equal(read_label_volume(path).labels, LABELS)


@pytest.mark.parametrize('size', [7, -1])
def test_a_metaimage_says_how_much_to_skip(tmp_path, size):
    head = (
        'ObjectType = Image\nNDims = 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 1 2 3\n'
        f'DimSize = 4 5 6\nElementType = MET_UCHAR\nHeaderSize = {size}\nElementDataFile = a.raw\n'
    )
    (tmp_path / 'a.mhd').write_text(head)
    (tmp_path / 'a.raw').write_bytes(b'1234567' + LABELS.astype('u1').tobytes(order='F'))
    np.testing.assert_array_equal(read_label_volume(tmp_path / 'a.mhd').labels, LABELS)
    (tmp_path / 'a.mhd').write_text(head.replace('Offset = 1 2 3\n', ''))
    with pytest.raises(InputError, match='where it lies in the patient is not known'):
        read_label_volume(tmp_path / 'a.mhd')


def replaced(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


def test_a_header_that_announces_more_than_the_file_holds_is_refused_cheaply(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for encoding in ('gzip', 'raw', 'bzip2'):
        path = write_nrrd(tmp_path / f'{encoding}.nrrd', encoding=encoding)
        with pytest.raises(InputError, match='the header announces'):
            read_label_volume(replaced(path, b'sizes: 4 5 6', b'sizes: 400 500 600'))
        with pytest.raises(InputError, match='voxels are announced'):
            read_label_volume(replaced(path, b'sizes: 400 500 600', b'sizes: 4000 5000 6000'))
    zeros = write_nrrd(tmp_path / 'zeros.nrrd', np.zeros((200, 200, 200), np.uint8))
    with pytest.raises(InputError, match='the file holds 8000000'):
        read_label_volume(replaced(zeros, b'sizes: 200 200 200', b'sizes: 200 200 201'))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_nifti_that_lies_or_is_cut_is_refused(tmp_path):
    path = write_nifti(tmp_path / 'a.nii')
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match='header announces 120 bytes'):
        read_label_volume(path)
    (tmp_path / 'a.nii.gz').write_bytes(gzip.compress(content)[:-20])
    with pytest.raises(InputError, match=r'the file holds|broken compression'):
        read_label_volume(tmp_path / 'a.nii.gz')
    for cut in range(0, 352, 16):
        path.write_bytes(content[:cut])
        with pytest.raises(InputError):
            read_label_volume(path)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'space': None, 'space directions': None, 'space origin': None}, 'must be known'),
        ({'space': 'scanner-xyz'}, 'does not say where'),
        ({'space directions': np.array([(1.0, 0.2, 0), (0, 1, 0), (0, 0, 1)])}, '° from square'),
        ({'space directions': np.array([(0.0, 0, 0), (0, 1, 0), (0, 0, 1)])}, 'voxel sizes'),
        ({'space directions': np.eye(3) * 1000.0}, 'voxel sizes'),
        ({'space units': ['mm', 'mm', 'm']}, 'differ'),
        ({'space units': ['inch', 'inch', 'inch']}, 'inch'),
    ],
)
def test_nrrd_headers_without_a_clear_place_are_refused(tmp_path, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        read_label_volume(write_nrrd(tmp_path / 'a.nrrd', **fields))
    assert caught.value.code == 'ANATOMY_REFUSED'


def test_nifti_without_orientation_negative_and_nan_are_refused(tmp_path):
    with pytest.raises(InputError, match='does not say where the patient is'):
        read_label_volume(write_nifti(tmp_path / 'a.nii', qform=0))
    with pytest.raises(InputError, match='are no labels'):
        read_label_volume(write_nifti(tmp_path / 'b.nii', LABELS.astype(np.int16) - 3))
    with pytest.raises(InputError, match='1 voxels are NaN'):
        broken = LABELS.astype(np.float32)
        broken[0, 0, 0] = np.nan
        read_label_volume(write_nifti(tmp_path / 'c.nii', broken))
    with pytest.raises(InputError, match='3 axes'):
        read_label_volume(write_nifti(tmp_path / 'd.nii', np.zeros((2, 2, 2, 1, 3), np.uint8)))
    for name in ('none.nrrd', 'none.nii'):
        with pytest.raises(InputError, match='no such file'):
            read_label_volume(tmp_path / name)
    (tmp_path / 'text.nrrd').write_text('hello')
    with pytest.raises(InputError, match='no NRRD header'):
        read_label_volume(tmp_path / 'text.nrrd')


def test_real_labels_give_closed_surfaces_where_the_voxels_are(shared_data):
    folder = shared_data / 'volumes_pyradiomics'
    for name in ('brain1_label', 'breast1_label', 'prostate_phantom_subvolume-label'):
        volume = read_label_volume(folder / f'{name}.nrrd')
        label, count = max(volume.counts().items(), key=lambda item: item[1])
        surface = extract_surface(volume, label, name)
        assert surface.is_watertight
        assert not surface.report.flipped
        assert 0.7 < surface.volume / (count * volume.voxel_volume) < 1.1
        inside = np.argwhere(volume.labels == label) @ volume.anatomy_T_index[:3, :3].T + volume.anatomy_T_index[:3, 3]
        centre = 0.5 * (inside.min(axis=0) + inside.max(axis=0))
        np.testing.assert_allclose(surface.bounds.mean(axis=0), centre, atol=1e-3)


def test_real_grey_matter_becomes_a_grid(shared_data):
    path = shared_data / 'head_mri_mni152' / 'mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz'
    volume = read_label_volume(path, threshold=0.5)
    surface = extract_surface(volume, 1, 'grey matter')
    assert surface.is_watertight
    assert surface.volume == pytest.approx(volume.counts()[1] * volume.voxel_volume, rel=0.05)
    grid = DistanceGrid.from_surface(surface, 0.002, 0.01)
    inside = np.argwhere(volume.labels)[::500] @ volume.anatomy_T_index[:3, :3].T + volume.anatomy_T_index[:3, 3]
    assert np.mean(grid.query(inside).distances < 0.5e-3) > 0.9
