"""Volumes as other programs write them: over time, in pairs, as text, with two places, with other spellings."""

import gzip
import struct

import nibabel
import nrrd
import numpy as np
import pytest

from twin_nodes.core.errors import InputError
from twin_nodes.io.volumes import read_image_volume, read_label_volume, voxels_of

VALUES = np.random.default_rng(2).integers(-500, 2000, (5, 4, 3)).astype(np.int16)
LPS = np.array([[1.5, 0, 0, -20.0], [0, 2.0, 0, 35.0], [0, 0, 3.0, -70.0], [0, 0, 0, 1.0]])  # mm
RAS = np.diag([-1.0, -1.0, 1.0, 1.0]) @ LPS


def same(volume, values=VALUES):
    np.testing.assert_array_equal(volume.values, values)
    np.testing.assert_allclose(volume.anatomy_T_index[:3], 1e-3 * LPS[:3], atol=1e-9)


def nifti(path, values=VALUES, kind=nibabel.Nifti1Image):
    image = kind(values, RAS)
    image.header.set_xyzt_units('mm')
    nibabel.save(image, path)
    return path


def nrrd_file(path, values=VALUES, **fields):
    head = {'space': 'left-posterior-superior', 'space directions': LPS[:3, :3].T, 'space origin': LPS[:3, 3]}
    nrrd.write(str(path), values, {**head, **fields})
    return path


def mha(path, values=VALUES, data=None, **fields):
    stored = values.tobytes(order='F') if data is None else data
    head = {'ObjectType': 'Image', 'NDims': '3', 'BinaryData': 'True', 'BinaryDataByteOrderMSB': 'False',
            'TransformMatrix': '1 0 0 0 1 0 0 0 1', 'Offset': '-20 35 -70', 'ElementSpacing': '1.5 2 3',
            'DimSize': '5 4 3', 'ElementType': 'MET_SHORT'} | fields  # fmt: skip
    text = ''.join(f'{key} = {value}\n' for key, value in head.items()) + 'ElementDataFile = LOCAL\n'
    path.write_bytes(text.encode() + stored)
    return path


def test_a_pair_is_read_by_either_name_and_both_files_are_named(tmp_path):
    nifti(tmp_path / 'a.img', kind=nibabel.Nifti1Pair)
    for name in ('a.hdr', 'a.img'):
        same(read_image_volume(tmp_path / name))
        assert voxels_of(tmp_path / name) == tmp_path / 'a.img'
    packed = tmp_path / 'a.img.gz'
    packed.write_bytes(gzip.compress((tmp_path / 'a.img').read_bytes()))
    (tmp_path / 'a.img').unlink()
    same(read_image_volume(tmp_path / 'a.hdr'))
    packed.unlink()
    with pytest.raises(InputError, match=r'the \.img beside it is not there'):
        read_image_volume(tmp_path / 'a.hdr')


def test_packed_or_not_is_seen_in_the_bytes_and_names_may_be_in_capitals(tmp_path):
    whole = nifti(tmp_path / 'a.nii').read_bytes()
    (tmp_path / 'b.nii').write_bytes(gzip.compress(whole))
    (tmp_path / 'c.nii.gz').write_bytes(whole)
    (tmp_path / 'D.NII').write_bytes(whole)
    for name in ('b.nii', 'c.nii.gz', 'D.NII'):
        same(read_image_volume(tmp_path / name))


@pytest.mark.parametrize('codes', [(1, 2), (1, 4), (1, 1), (2, 4)])
def test_two_places_in_one_file_are_refused_unless_they_agree(tmp_path, codes):
    image = nibabel.Nifti1Image(VALUES, RAS)
    image.header.set_xyzt_units('mm')
    other = RAS.copy()
    other[0, 3] += 0.2  # below half a voxel: written with other digits
    image.set_qform(other, codes[0])
    image.set_sform(RAS, codes[1])
    nibabel.save(image, tmp_path / 'near.nii')
    same(read_image_volume(tmp_path / 'near.nii'))
    other[0, 3] += 30.0
    image.set_qform(other, codes[0])
    nibabel.save(image, tmp_path / 'far.nii')
    with pytest.raises(InputError, match=rf'qform \(code {codes[0]}\) and sform \(code {codes[1]}\) .* 30\.2 mm apart'):
        read_image_volume(tmp_path / 'far.nii')


def test_a_size_that_no_patient_has_is_refused(tmp_path):
    image = nibabel.Nifti1Image(VALUES, np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ RAS)
    nibabel.save(image, tmp_path / 'a.nii')
    with pytest.raises(InputError, match='metres taken for millimetres'):
        read_image_volume(tmp_path / 'a.nii')


@pytest.mark.parametrize('slope', [0.0, np.nan, np.inf])
def test_a_slope_that_says_nothing_leaves_the_values(tmp_path, slope):
    data = bytearray(nifti(tmp_path / 'a.nii').read_bytes())
    struct.pack_into('<2f', data, 112, slope, 7.0)
    (tmp_path / 'a.nii').write_bytes(data)
    same(read_image_volume(tmp_path / 'a.nii'))


def write_times(tmp_path, kind):
    times = [VALUES + n for n in range(3)]
    if kind == 'nii.gz':
        return nifti(tmp_path / 'a.nii.gz', np.stack(times, axis=-1))
    if kind == 'nii':
        return nifti(tmp_path / 'a.nii', np.stack(times, axis=-1))
    if kind == 'mha':
        fields = {'NDims': 4, 'DimSize': '5 4 3 3', 'Offset': '-20 35 -70 0', 'ElementSpacing': '1.5 2 3 1'}
        fields['TransformMatrix'] = '1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1'
        return mha(tmp_path / 'a.mha', np.stack(times, axis=-1), **fields)
    axis = 0 if kind == 'list first' else 3
    directions = np.insert(LPS[:3, :3].T, axis, np.nan, axis=0)
    kinds = ['domain'] * 3
    kinds.insert(axis, 'list')
    return nrrd_file(
        tmp_path / 'a.nrrd', np.stack(times, axis=axis), **{'space directions': directions, 'kinds': kinds}
    )


@pytest.mark.parametrize('kind', ['nii.gz', 'nii', 'mha', 'list first', 'list last'])
def test_one_of_several_volumes_is_chosen(tmp_path, kind):
    path = write_times(tmp_path, kind)
    for frame, reason in ((0, 'one must be chosen'), (4, 'frame=4 is not there')):
        with pytest.raises(InputError, match=rf'3 volumes in one file: {reason}: --frame 1 … 3'):
            read_image_volume(path, frame=frame)
    for frame in (1, 2, 3):
        same(read_image_volume(path, frame=frame), VALUES + frame - 1)


def test_a_single_volume_has_no_second(tmp_path):
    path = nifti(tmp_path / 'a.nii', VALUES[..., None])
    same(read_image_volume(path))
    same(read_image_volume(path, frame=1))
    with pytest.raises(InputError, match='1 volumes in one file: frame=2 is not there'):
        read_image_volume(path, frame=2)


def test_colours_are_no_volumes(tmp_path):
    directions = np.insert(LPS[:3, :3].T, 0, np.nan, axis=0)
    colours = np.zeros((3, 5, 4, 3), np.uint8)
    kinds = ['RGB-color', 'domain', 'domain', 'domain']
    path = nrrd_file(tmp_path / 'a.nrrd', colours, **{'space directions': directions, 'kinds': kinds})
    with pytest.raises(InputError, match='3 values in a voxel'):
        read_label_volume(path)


@pytest.mark.parametrize('encoding', ['ascii', 'hex'])
def test_voxels_in_text_are_read(tmp_path, encoding):
    raw = nrrd_file(tmp_path / 'a.nrrd', encoding='raw').read_bytes()
    head = raw[: raw.index(b'\n\n') + 2].replace(b'encoding: raw', f'encoding: {encoding}'.encode())
    text = ' '.join(map(str, VALUES.ravel(order='F'))) if encoding == 'ascii' else VALUES.tobytes(order='F').hex()
    (tmp_path / 'b.nrrd').write_bytes(head + text.encode())
    same(read_image_volume(tmp_path / 'b.nrrd'))
    (tmp_path / 'c.nrrd').write_bytes(head + text.encode()[: len(text) // 2])
    with pytest.raises(InputError, match=r'announced|too few'):
        read_image_volume(tmp_path / 'c.nrrd')


def test_an_unknown_encoding_names_the_mend(tmp_path):
    raw = nrrd_file(tmp_path / 'a.nrrd', encoding='raw').read_bytes()
    (tmp_path / 'a.nrrd').write_bytes(raw.replace(b'encoding: raw', b'encoding: zstd'))
    with pytest.raises(InputError, match=r"encoding 'zstd' is not read: save it as gzip"):
        read_image_volume(tmp_path / 'a.nrrd')


def test_metaimage_takes_true_in_any_spelling_and_text(tmp_path):
    big = VALUES.astype('>i2').tobytes(order='F')
    for word in ('True', 'true', 'T', '1'):
        same(read_image_volume(mha(tmp_path / 'a.mha', data=big, BinaryDataByteOrderMSB=word)))
        packed = gzip.compress(VALUES.tobytes(order='F'))
        same(read_image_volume(mha(tmp_path / 'b.mha', data=packed, CompressedData=word)))
    text = ' '.join(map(str, VALUES.ravel(order='F'))).encode()
    same(read_image_volume(mha(tmp_path / 'c.mha', data=text, BinaryData='False')))
    for wrong in (text[:40], text.replace(b' ', b' 99999 ', 1)):
        with pytest.raises(InputError, match='voxels'):
            read_image_volume(mha(tmp_path / 'd.mha', data=wrong, BinaryData='False'))


@pytest.mark.parametrize('name', ['a.vtk', 'a.vti', 'a.gipl', 'a.npy'])
def test_other_kinds_name_those_that_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(b'# vtk DataFile Version 3.0\n' * 8)
    with pytest.raises(InputError, match='save it as NRRD, NIfTI or MetaImage'):
        read_label_volume(tmp_path / name)


def test_a_space_without_axes_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r'a\.nrrd: space .scanner-xyz. does not say'):
        read_image_volume(nrrd_file(tmp_path / 'a.nrrd', space='scanner-xyz'))


@pytest.mark.parametrize('ending', ['mgh', 'mgz'])
@pytest.mark.parametrize('kind', [np.uint8, np.int16, np.int32, np.float32])
def test_volumes_of_freesurfer(tmp_path, ending, kind):
    """The place is that of nibabel; sizes are odd: the centre is at half of them, not at a voxel."""
    import nibabel

    rng = np.random.default_rng(2)
    labels = rng.integers(0, 5, (7, 4, 9)).astype(kind)
    turn = np.array([[-0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, -0.8]])
    ras_T_index = np.eye(4)
    ras_T_index[:3, :3], ras_T_index[:3, 3] = turn * [1.0, 1.5, 2.0], [12.0, -40.0, 7.5]
    path = tmp_path / f'aseg.{ending}'
    nibabel.save(nibabel.MGHImage(labels, ras_T_index), path)
    volume = read_label_volume(path)
    np.testing.assert_array_equal(volume.labels, labels)
    np.testing.assert_allclose(volume.anatomy_T_index, np.diag([-1e-3, -1e-3, 1e-3, 1.0]) @ ras_T_index, atol=1e-7)


@pytest.mark.parametrize(
    ('at', 'value', 'said'),
    [(0, 2, 'version 2'), (20, 7, 'type 7'), (28, 0, 'goodRASFlag 0'), (4, 0, r'1 volumes of \(0, 4, 9\)'),
     (4, 100_000, 'announced|announces'), (16, 3, 'announces 756 bytes')],
)  # fmt: skip
def test_volumes_of_freesurfer_that_lie(tmp_path, at, value, said):
    import nibabel

    path = tmp_path / 'aseg.mgh'
    nibabel.save(nibabel.MGHImage(np.zeros((7, 4, 9), np.uint8), np.eye(4)), path)
    data = bytearray(path.read_bytes()[: 284 + 7 * 4 * 9])
    data[at : at + 4] = value.to_bytes(4, 'big') if at != 28 else b'\0\0' + data[30:32]
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=said):
        read_label_volume(path, frame=1 if at == 16 else 0)
    path.write_bytes(bytes(data[:100]))
    with pytest.raises(InputError, match='100 of 284 bytes'):
        read_label_volume(path)
