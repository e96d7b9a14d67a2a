import json
import sys

import dicom_files
import nrrd
import numpy as np
import pytest
import yaml

from twin_nodes.app.build import build
from twin_nodes.core.anatomy.label_volume import LabelVolume
from twin_nodes.core.errors import ConfigError, InputError, TwinError
from twin_nodes.io.case import read_case
from twin_nodes.io.label_files import write_label_volume
from twin_nodes.io.volumes import read_label_volume

SMALL = {'tets.count': 800, 'grid.spacing': 0.004}


def phantom():
    """A liver with a tumour inside, beside a vessel: 1 mm voxels."""
    i, j, k = np.indices((48, 40, 32))
    labels = np.zeros(i.shape, np.uint8)
    labels[((i - 22) / 18.0) ** 2 + ((j - 19) / 15.0) ** 2 + ((k - 15) / 12.0) ** 2 < 1.0] = 1
    labels[(i - 24) ** 2 + (j - 20) ** 2 + (k - 15) ** 2 < 16] = 2
    labels[44:46, 4:36, 15:17] = 3
    affine = np.diag([0.001, 0.001, 0.001, 1.0])
    affine[:3, 3] = (-0.02, 0.01, 0.3)
    return LabelVolume(labels, affine)


@pytest.fixture
def recipe(tmp_path):
    write_label_volume(tmp_path / 'seg.nrrd', phantom())
    (tmp_path / 'names.json').write_text('{"liver": 1, "tumour": 2, "portal vein": 3}')
    document = {
        'labels': 'seg.nrrd',
        'names': 'names.json',
        'structures': [
            {'name': 'liver', 'label_names': ['liver', 'tumour']},
            {'name': 'tumour', 'labels': [2]},
            {'name': 'vein', 'label_names': ['portal vein']},
        ],
        'tets': {'count': 3000, 'structures': ['liver', 'tumour']},
        'grid': {'spacing': 0.002, 'margin': 0.005},
        'materials': [{'structure': 'liver', 'young': 3000.0}, {'structure': 'tumour', 'young': 12000.0}],
        'boundary': [
            {'name': 'back', 'kind': 'plane', 'point': [0.0, 0.0, 0.308], 'normal': [0.0, 0.0, 1.0]},
            {'name': 'hilum', 'kind': 'sphere', 'point': [0.02, 0.03, 0.315], 'radius': 0.01},
            {'name': 'inside', 'kind': 'near', 'structure': 'tumour', 'radius': 0.001, 'outer': False},
        ],
    }
    path = tmp_path / 'case.yaml'
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_recipe_gives_a_case_that_holds_the_truth(recipe, tmp_path, capsys):
    assert build(recipe, output=tmp_path / 'out', options={}) == 0
    printed = capsys.readouterr().out
    assert 'tets_min_dihedral_deg' in printed and f'twin check {tmp_path / "out"}' in printed
    case = read_case(tmp_path / 'out')
    truth = phantom()
    counts = truth.counts()
    assert case.structures == ('liver', 'tumour', 'vein')
    assert case.surface('liver').volume == pytest.approx((counts[1] + counts[2]) * 1e-9, rel=2e-3)
    assert case.surface('tumour').volume == pytest.approx(counts[2] * 1e-9, rel=5e-3)
    mesh = case.tets
    assert len(mesh.tets) == pytest.approx(3000, rel=0.05)
    assert mesh.volume == pytest.approx((counts[1] + counts[2]) * 1e-9, rel=0.03)
    assert mesh.volume_of(case.label_of('tumour')) == pytest.approx(counts[2] * 1e-9, rel=0.25)
    assert case.labels.counts() == {1: counts[1], 2: counts[2], 3: counts[3]}
    centre = truth.anatomy_T_index[:3, :3] @ [24, 20, 15] + truth.anatomy_T_index[:3, 3]
    assert case.grid('tumour').query(centre[None]).distances[0] == pytest.approx(
        -0.004, abs=1e-3
    )  # nodes are 2 mm apart
    assert case.grid('liver').query(centre[None]).distances[0] < -0.009
    assert {label: item.young for label, item in case.materials.items()} == {1: 3000.0, 2: 12000.0}
    assert (mesh.nodes[case.regions['back']][:, 2] <= 0.308).all() and len(case.regions['back']) > 10
    near = np.linalg.norm(mesh.nodes[case.regions['hilum']] - (0.02, 0.03, 0.315), axis=1)
    assert (near <= 0.01).all()
    assert len(np.setdiff1d(case.regions['inside'], mesh.outer_nodes)) > 0


def test_surfaces_are_smoothed_as_the_recipe_says(recipe, tmp_path):
    heights = []
    for rounds in (0, 10):
        options = {**SMALL, 'surface.smoothing': rounds, 'surface.tolerance': 0.0}
        build(recipe, output=tmp_path / str(rounds), options=options, json=True)
        heights.append(np.unique(read_case(tmp_path / str(rounds)).surface('vein').vertices[:, 2]))
    faces = np.array([0.3145, 0.3165])  # of the voxels 15 and 16, whose centres are 1 mm apart from 0.3 m
    np.testing.assert_allclose(heights[0], np.arange(faces[0], faces[1] + 1e-4, 0.001), atol=1e-7)
    assert len(heights[1]) > 3


def test_the_same_inputs_give_the_same_bytes(recipe, tmp_path):
    folders = [tmp_path / 'first', tmp_path / 'second']
    for folder in folders:
        build(recipe, output=folder, options={}, json=True)
    build(recipe, output=folders[1], options={}, json=True)  # over the case that is there
    files = [{str(path.relative_to(f)): path.read_bytes() for path in f.rglob('*') if path.is_file()} for f in folders]
    assert files[0] == files[1] and len(files[0]) >= 8


def test_a_file_that_was_changed_or_lost_is_found(recipe, tmp_path):
    build(recipe, output=tmp_path / 'out', options={'grid.spacing': 0.0}, json=True)
    read_case(tmp_path / 'out')
    path = tmp_path / 'out' / 'surfaces' / 'liver.ply'
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r'surfaces/liver\.ply is not what was built'):
        read_case(tmp_path / 'out')
    path.unlink()
    with pytest.raises(InputError, match='is missing'):
        read_case(tmp_path / 'out')
    case = read_case(tmp_path / 'out', verify=False)
    with pytest.raises(InputError, match='without distance grids'):
        case.grid('vein')
    with pytest.raises(InputError, match=r'no structure .*there are: liver, tumour, vein'):
        case.surface('spleen')


def ct_series(folder):
    """A bright box in air, with a patient's name in every place that a scanner writes it."""
    stored = np.zeros((8, 20, 24), np.int16)
    stored[2:6, 5:15, 6:18] = 900
    dicom_files.write_series(folder, stored, PatientComments='Musterfrau', SeriesDescription='Erika Musterfrau')


def test_no_patient_is_in_the_case(tmp_path):
    folder = tmp_path / 'Musterfrau_Erika'
    ct_series(folder)
    options = {'structure.above': 300.0, 'structure.name': 'bone', **SMALL}
    assert build(folder, output=tmp_path / 'out', options=options, json=True) == 0
    for path in (tmp_path / 'out').rglob('*'):
        data = path.read_bytes() if path.is_file() else b''
        for secret in (b'Musterfrau', b'Erika', b'4711', b'SECRET', b'19640812'):
            assert secret not in data and secret.decode() not in path.name
    case = read_case(tmp_path / 'out')
    assert case.frame_of_reference == dicom_files.FRAME
    assert case.manifest['inputs'][0]['files'] == 8 and len(case.manifest['inputs'][0]['sha256']) == 8
    assert case.surface('bone').volume == pytest.approx(4 * 10 * 12 * 6e-9, rel=0.02)


def test_a_segmentation_in_dicom_is_built_with_its_names(tmp_path):
    mask = np.zeros((2, 8, 12, 14), bool)
    mask[0, 1:7, 2:10, 2:8], mask[1, 2:6, 3:9, 9:12] = True, True
    dicom_files.write_segmentation(tmp_path / 'seg.dcm', {(1, 'Left Kidney'): mask[0], (2, 'Stone'): mask[1]})
    assert build(tmp_path / 'seg.dcm', output=tmp_path / 'out', options={**SMALL}, json=True) == 0
    case = read_case(tmp_path / 'out')
    assert case.structures == ('left_kidney', 'stone')
    assert case.surface('stone').volume == pytest.approx(mask[1].sum() * 6e-9, rel=0.02)
    assert case.frame_of_reference == dicom_files.FRAME


def test_json_prints_one_figure_per_line(recipe, tmp_path, capsys):
    build(recipe, output=tmp_path / 'out', options={'grid.spacing': 0.0}, json=True)
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {'liver_volume_ml', 'tets_count', 'tets_min_dihedral_deg'} <= {figure['figure'] for figure in figures}


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'labels': 'none.nrrd'}, r'none\.nrrd does not exist'),
        ({'lables': 'seg.nrrd'}, "unknown key 'lables'; did you mean 'labels'"),
        ({'structures': [{'name': 'x'}]}, 'labels .* or above/below, or file'),
        ({'structures': [{'name': 'x', 'labels': [9]}]}, r'no voxel has label \(9,\); there are: 1 '),
        ({'structures': [{'name': 'x', 'label_names': ['livre']}]}, "called 'livre'; did you mean 'liver'"),
        ({'structures': [{'name': 'x', 'labels': [1]}] * 2}, "'x' stands 2 times"),
        ({'structures': [{'name': '../x', 'labels': [1]}]}, 'letters, digits'),
        ({'structures': [{'name': 'x', 'above': 3.0}]}, 'name its images'),
        ({'tets': {'structures': ['spleen']}}, "no structure 'spleen'"),
        ({'materials': [{'structure': 'spleen'}]}, "'spleen': there is no such structure"),
        ({'boundary': [{'name': 'b', 'kind': 'box', 'low': [1.0] * 3, 'high': [2.0] * 3}]}, 'no node lies in it'),
        ({'boundary': [{'name': 'b', 'kind': 'ball'}]}, "'ball' is none of box, sphere, near, plane"),
        ({'names': 'seg.nrrd'}, 'names of labels|expected such as'),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_refused_with_the_mend_and_nothing_is_left(recipe, tmp_path, change, match):
    document = {
        **yaml.safe_load(recipe.read_text()),
        'boundary': [],
        'materials': [],
        'grid': {'spacing': 0.0},
        **change,
    }
    recipe.write_text(yaml.safe_dump(document))
    with pytest.raises(TwinError, match=match):
        build(recipe, output=tmp_path / 'out', options={}, json=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['case.yaml', 'names.json', 'seg.nrrd']


def test_a_folder_that_is_no_case_is_not_overwritten(recipe, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('x')
    with pytest.raises(ConfigError, match='is there and no case'):
        build(recipe, output=tmp_path / 'mine', options={})
    assert (tmp_path / 'mine' / 'thesis.txt').exists()


def test_an_image_without_a_threshold_names_the_mend(tmp_path):
    ct_series(tmp_path / 'ct')
    with pytest.raises(InputError, match='give a threshold'):
        build(tmp_path / 'ct', output=tmp_path / 'out', options={}, json=True)


@pytest.mark.parametrize('name', ['brain1', 'breast1', 'lung1', 'prostate_phantom_subvolume-'])
def test_real_labels_build(shared_data, tmp_path, name):
    stem = name if name.endswith('-') else f'{name}_'
    source = shared_data / 'volumes_pyradiomics' / f'{stem}label.nrrd'
    assert build(source, output=tmp_path / 'out', options=SMALL, json=True) == 0
    case = read_case(tmp_path / 'out')
    volume = read_label_volume(source)
    total = sum(volume.counts().values()) * volume.voxel_volume
    assert sum(case.surface(item).volume for item in case.structures) == pytest.approx(total, rel=0.02)
    assert case.tets.quality.parts == 1


def test_the_halves_of_the_lego_phantom_build(shared_data, tmp_path):
    folder = shared_data / 'ct_lego_phantom' / 'LegoPhantom_10slices'
    options = {'structure.above': 0.0, 'structure.keep': 1, 'structure.name': 'lego', **SMALL, 'grid.spacing': 0.0}
    with pytest.raises(InputError, match='90 mm between slice 5'):
        build(folder, output=tmp_path / 'out', options=options, json=True)
    assert build(folder, output=tmp_path / 'out', options={**options, 'slices': '6-10'}, json=True) == 0
    assert read_case(tmp_path / 'out').surface('lego').is_watertight


def test_a_mesher_that_is_not_installed_names_the_mend(recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pytetwild', None)
    with pytest.raises(ConfigError, match=r"pip install 'twin_nodes\[tetwild\]'"):
        build(recipe, output=tmp_path / 'out', options={'tets.mesher': 'pytetwild'}, json=True)


def test_segments_that_overlap_are_built_once_one_goes_before_the_other(tmp_path, capsys):
    liver = np.zeros((10, 14, 14), bool)
    liver[1:9, 2:12, 2:12] = True
    tumour = liver.copy()
    tumour[:, :, 6:] = False
    dicom_files.write_segmentation(tmp_path / 'seg.dcm', {(1, 'Liver'): liver, (2, 'Tumour'): tumour})
    options = {'tets.count': 0, 'grid.spacing': 0.0}
    with pytest.raises(InputError, match=r"overlap in .*--segments 'Tumour,Liver'"):
        build(tmp_path / 'seg.dcm', output=tmp_path / 'out', options=options)
    capsys.readouterr()
    assert build(tmp_path / 'seg.dcm', output=tmp_path / 'out', options={**options, 'segments': ['Tumour', '1']}) == 0
    assert f"labels: {tumour.sum()} voxels of 'Liver' left to 'Tumour'" in capsys.readouterr().out
    case = read_case(tmp_path / 'out')
    voxel = 1e-9 * 1.0 * 2.0 * 3.0
    assert case.surface('tumour').volume == pytest.approx(tumour.sum() * voxel, rel=0.02)
    assert case.surface('liver').volume == pytest.approx((liver.sum() - tumour.sum()) * voxel, rel=0.02)
    assert 'Tumour' not in (tmp_path / 'out' / 'manifest.json').read_text()


def test_parts_that_do_not_hang_together_are_noted(tmp_path, capsys):
    labels = np.zeros((30, 14, 14), np.uint8)
    labels[2:12, 2:12, 2:12], labels[18:26, 2:10, 2:10] = 1, 1
    write_label_volume(tmp_path / 'seg.nrrd', LabelVolume(labels, np.diag([0.001, 0.001, 0.001, 1.0])))
    assert build(tmp_path / 'seg.nrrd', output=tmp_path / 'out', options=SMALL) == 0
    assert 'note: the tetrahedra fill the largest part only; 1 others' in capsys.readouterr().out


def test_the_brain_is_built_from_its_tissue_maps(shared_data, tmp_path):
    folder = shared_data / 'head_mri_mni152'
    maps = {
        name: str(folder / f'mni_icbm152_{short}_tal_nlin_sym_09a_converted.nii.gz')
        for name, short in (('grey', 'gm'), ('white', 'wm'))
    }
    structures = [{'name': 'brain', 'images': ['grey', 'white'], 'above': 128.0, 'keep': 1}]
    recipe = {'images': maps, 'structures': structures, 'tets': {'count': 1000}, 'grid': {'spacing': 0.0}}
    (tmp_path / 'case.yaml').write_text(yaml.safe_dump(recipe))
    assert build(tmp_path, output=tmp_path / 'out', options={}, json=True) == 0
    case = read_case(tmp_path / 'out')
    surface = case.surface('brain')
    assert surface.is_watertight and 1.2e-3 < surface.volume < 2.0e-3  # grey and white matter of an adult
    size = surface.bounds[1] - surface.bounds[0]
    np.testing.assert_allclose(size, (0.14, 0.18, 0.14), atol=0.02)  # left-right, front-back, up: axes are LPS
    assert case.tets.quality.parts == 1


def test_a_mesh_of_bricks_gives_its_outside_and_its_elements(tmp_path, capsys):
    import meshio

    nodes = np.array([[x, y, z] for z in (0.0, 20.0) for y in (0.0, 20.0) for x in (0.0, 10.0, 30.0)])
    bricks = np.array([[0, 1, 4, 3, 6, 7, 10, 9], [1, 2, 5, 4, 7, 8, 11, 10]])
    meshio.Mesh(nodes, [('hexahedron', bricks)]).write(tmp_path / 'bricks.mesh')
    options = {'structure.unit': 'mm', 'structure.name': 'block', 'grid.spacing': 0.0}
    assert build(tmp_path / 'bricks.mesh', output=tmp_path / 'out', options=options) == 0
    case = read_case(tmp_path / 'out')
    assert len(case.tets.tets) == 12 and case.tets.volume == pytest.approx(12e-6)
    assert case.surface('block').volume == pytest.approx(12e-6)


def test_a_folder_with_a_segmentation_beside_its_images_gives_the_segments(tmp_path, capsys):
    stored = np.zeros((8, 9, 10), np.int16)
    dicom_files.write_series(tmp_path / 'study', stored)
    mask = np.zeros((8, 9, 10), bool)
    mask[2:6, 2:7, 2:8] = True
    dicom_files.write_segmentation(tmp_path / 'study' / 'seg.dcm', {(4, 'Left Kidney'): mask})
    assert build(tmp_path / 'study', output=tmp_path / 'case', options=SMALL) == 0
    out = capsys.readouterr().out
    assert 'labels: 10 × 9 × 4 voxels of 1 × 2 × 3 mm, 1 of 9 files' in out and 'left_kidney_volume_ml' in out


def test_labels_of_one_volume_go_with_an_image_over_time(tmp_path, capsys):
    place = {'space': 'left-posterior-superior', 'space origin': np.zeros(3)}
    labels = np.zeros((12, 10, 8), np.uint8)
    labels[3:9, 3:7, 2:6] = 2
    nrrd.write(str(tmp_path / 'l.nrrd'), labels, {**place, 'space directions': np.eye(3) * 2.0})
    times = np.stack([labels * 10, labels * 50], axis=-1)
    directions = np.vstack([np.eye(3) * 2.0, [np.nan] * 3])
    nrrd.write(str(tmp_path / 't.nrrd'), times, {**place, 'space directions': directions})
    recipe = tmp_path / 'case.yaml'
    recipe.write_text(
        'image: t.nrrd\nlabels: l.nrrd\nstructures:\n- {name: organ, labels: [2]}\n- {name: bright, above: 100.0}\n'
    )
    with pytest.raises(InputError, match='2 volumes in one file'):
        build(recipe, output=tmp_path / 'case', options=SMALL)
    assert build(recipe, output=tmp_path / 'case', options={**SMALL, 'frame': 2}) == 0
    assert 'bright_volume_ml' in capsys.readouterr().out
    with pytest.raises(ConfigError, match='slices and series are for DICOM'):
        build(recipe, output=tmp_path / 'other', options={**SMALL, 'frame': 2, 'slices': '1-3'})
