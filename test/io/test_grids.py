import numpy as np
import pytest

from twin_nodes.core.anatomy.distance_grid import DistanceGrid
from twin_nodes.core.anatomy.surface import make_surface
from twin_nodes.core.errors import InputError
from twin_nodes.io.grids import cached_grid, grid_key, load_grid, save_grid

TETRAHEDRON = [(0.0, 0, 0), (0.01, 0, 0), (0, 0.01, 0), (0, 0, 0.01)]
FACES = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]


@pytest.fixture
def surface():
    return make_surface('tetrahedron', TETRAHEDRON, FACES)


def test_a_grid_comes_back_bit_for_bit(tmp_path, surface):
    grid = DistanceGrid.from_surface(surface, 0.001, 0.002)
    save_grid(tmp_path / 'a.npz', grid)
    again = load_grid(tmp_path / 'a.npz', 'other')
    assert again.values.tobytes() == grid.values.tobytes()
    assert again.origin.tobytes() == grid.origin.tobytes()
    fields = ('spacing', 'near_error', 'far_error', 'near_sigma', 'far_sigma', 'signed')
    assert [getattr(again, name) for name in fields] == [getattr(grid, name) for name in fields]
    assert again.name == 'other'
    assert [path.name for path in tmp_path.iterdir()] == ['a.npz']


def test_the_key_changes_with_everything_that_the_grid_follows_from(surface):
    moved = make_surface('tetrahedron', np.array(TETRAHEDRON) + 1e-9, FACES)
    keys = {grid_key(surface, 0.001, 0.002), grid_key(surface, 0.002, 0.002), grid_key(surface, 0.001, 0.003),
            grid_key(moved, 0.001, 0.002)}  # fmt: skip
    assert len(keys) == 4
    assert grid_key(surface, 0.001, 0.002) in keys


def test_the_second_call_reads_and_a_damaged_file_is_made_anew(tmp_path, surface, monkeypatch):
    folder = tmp_path / 'cache'
    first = cached_grid(folder, surface, 0.001, 0.002)
    (path,) = folder.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(DistanceGrid, 'from_surface', lambda *_, **__: pytest.fail('computed again'))
        assert cached_grid(folder, surface, 0.001, 0.002).values.tobytes() == first.values.tobytes()
    path.write_bytes(path.read_bytes()[:-100])
    assert cached_grid(folder, surface, 0.001, 0.002).values.tobytes() == first.values.tobytes()
    assert load_grid(path, 'x').values.tobytes() == first.values.tobytes()


def test_an_unsigned_grid_in_the_cache_is_not_given_to_those_who_refuse_it(tmp_path):
    surface = make_surface('open', TETRAHEDRON, FACES[1:])
    assert not cached_grid(tmp_path, surface, 0.001, 0.002, allow_unsigned=True).signed
    with pytest.raises(InputError, match='not closed'):
        cached_grid(tmp_path, surface, 0.001, 0.002)


def test_damaged_and_foreign_files_are_refused(tmp_path, surface):
    path = tmp_path / 'a.npz'
    with pytest.raises(FileNotFoundError):
        load_grid(path, 'x')
    save_grid(path, DistanceGrid.from_surface(surface, 0.002, 0.002))
    content = path.read_bytes()
    for cut in range(0, len(content), 997):
        path.write_bytes(content[:cut])
        with pytest.raises(InputError):
            load_grid(path, 'x')
    np.savez(path, version=np.int64(1), origin=np.zeros(3), values=np.zeros((2, 2, 2)), scalars=np.ones(6))
    with pytest.raises(InputError, match='not a distance grid'):
        load_grid(path, 'x')
    np.savez(path, version=np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match='no readable grid'):
        load_grid(path, 'x')


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path, surface):
    blocked = tmp_path / 'file'
    blocked.write_text('')
    assert cached_grid(blocked / 'grids', surface, 0.002, 0.004).signed
