"""Corner files under many names, and boards in images and videos."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from twin_nodes.core.calibration.camera_board import BoardConfig, find_board, turned_alike
from twin_nodes.core.calibration.camera_views import handedness
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.io.corners_images import find_in_pictures, has_pictures
from twin_nodes.io.corners_text import CornerNames, open_corner_folder, read_table, read_views

CHESS = BoardConfig(9, 6, 0.01)
CHARUCO = BoardConfig(8, 6, 0.01, kind='charuco', marker=0.007, dictionary='DICT_5X5_100')
GRID = CHESS.points


def chess_picture(columns=10, rows=7, cell=48, margin=70):
    """Draw a chessboard and return it with where its first inner corner is [px]."""
    squares = (np.indices((rows, columns)).sum(axis=0) % 2).astype(np.uint8)
    picture = np.full((rows * cell + 2 * margin, columns * cell + 2 * margin), 255, np.uint8)
    picture[margin:-margin, margin:-margin] = np.kron(squares, np.full((cell, cell), 255, np.uint8))
    return cv2.GaussianBlur(picture, (5, 5), 1.0), margin + cell - 0.5


def charuco_picture():
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    board = cv2.aruco.CharucoBoard((8, 6), 0.01, 0.007, dictionary)
    return cv2.copyMakeBorder(board.generateImage((800, 600)), 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=255)


def test_a_chessboard_is_found_where_it_was_drawn():
    picture, first = chess_picture()
    view = find_board(picture, CHESS, name='a')
    assert len(view) == 54
    assert view.size == (picture.shape[1], picture.shape[0])
    assert min(np.abs(view.pixels[index] - first).max() for index in (0, -1)) < 0.1
    spacing = np.linalg.norm(np.diff(view.pixels.reshape(6, 9, 2), axis=1), axis=2)
    np.testing.assert_allclose(spacing, 48.0, atol=0.2)
    assert handedness(view) == 1


def test_a_charuco_board_is_found_even_in_part():
    picture = charuco_picture()
    whole = find_board(picture, CHARUCO)
    assert len(whole) == 35
    part = find_board(np.ascontiguousarray(picture[:, : picture.shape[1] // 2]), CHARUCO)
    assert 6 <= len(part) < 35
    shared = np.isin(whole.ids, part.ids)
    np.testing.assert_allclose(whole.pixels[shared], part.pixels, atol=0.1)
    # the corner of id 0 lies one square in from the corner of the board
    np.testing.assert_allclose(whole.points_board[0], [0.01, 0.01, 0.0])
    assert handedness(whole) == 1


def test_no_board_is_none_and_wrong_boards_are_refused():
    assert find_board(np.full((200, 300), 127, np.uint8), CHESS) is None
    with pytest.raises(InputError, match='8-bit'):
        find_board(np.zeros((200, 300)), CHESS)
    with pytest.raises(ConfigError, match='marker'):
        BoardConfig(8, 6, 0.01, kind='charuco', marker=0.02)
    with pytest.raises(ConfigError, match='did you mean'):
        find_board(charuco_picture(), BoardConfig(8, 6, 0.01, kind='charuco', marker=0.007, dictionary='DICT_5X5_10'))
    with pytest.raises(ConfigError, match='needs 240'):
        find_board(
            charuco_picture(), BoardConfig(20, 24, 0.01, kind='charuco', marker=0.007, dictionary='DICT_5X5_100')
        )


@pytest.mark.parametrize(
    ('asked', 'said'),
    [({'columns': CHARUCO.rows, 'rows': CHARUCO.columns}, f'--columns {CHARUCO.columns} --rows {CHARUCO.rows}'),
     ({'dictionary': '6X6_250'}, '--dictionary 5X5_1000'), ({'legacy': True}, 'no --legacy'),
     ({'kind': 'chessboard', 'marker': 0.0}, 'tags of 5X5_1000 are in them')],
)  # fmt: skip
def test_the_charuco_board_that_is_meant_is_told(tmp_path, asked, said):
    cv2.imwrite(str(tmp_path / 'board.png'), charuco_picture())
    with pytest.raises(InputError, match=f'it is there with {said}|{said}'):
        find_in_pictures(tmp_path, replace(CHARUCO, **asked))


def test_squares_counted_in_place_of_corners_are_told(tmp_path):
    cv2.imwrite(str(tmp_path / 'board.png'), chess_picture()[0])
    with pytest.raises(InputError, match='it is there with --columns 9 --rows 6'):
        find_in_pictures(tmp_path, replace(CHESS, columns=10, rows=7))
    cv2.imwrite(str(tmp_path / 'board.png'), np.full((300, 400), 200, np.uint8))
    with pytest.raises(InputError, match=r'squares of a ChArUco board$'):
        find_in_pictures(tmp_path, CHESS)


def test_a_board_that_half_a_turn_does_not_change_is_numbered_alike():
    board = BoardConfig(8, 6, 0.01)
    assert board.is_ambiguous
    picture, _ = chess_picture(columns=9)
    left = find_board(picture, board)
    turned = find_board(np.ascontiguousarray(picture[::-1, ::-1]), board)
    alike = turned_alike(left, turned, board)
    assert (alike.pixels[-1] - alike.pixels[0]) @ (left.pixels[-1] - left.pixels[0]) > 0
    assert not CHESS.is_ambiguous


def test_pictures_of_a_folder_and_a_video(tmp_path):
    picture, _ = chess_picture()
    (tmp_path / 'left').mkdir()
    for number in (3, 12):
        cv2.imwrite(str(tmp_path / 'left' / f'img_{number}.png'), picture)
    cv2.imwrite(str(tmp_path / 'left' / 'img_20.png'), np.full_like(picture, 90))
    (tmp_path / 'left' / 'img_21.png').write_bytes(b'no image')
    views, left = find_in_pictures(tmp_path, CHESS, side='left')
    assert sorted(views) == [3, 12]
    assert [out.name for out in left] == ['img_20.png', 'img_21.png']
    assert has_pictures(tmp_path)
    video = cv2.VideoWriter(str(tmp_path / 'v.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, picture.shape[::-1])
    for _ in range(6):
        video.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    video.release()
    seen, _ = find_in_pictures(tmp_path / 'v.avi', CHESS, most=3)
    assert sorted(seen) == [0, 2, 4]
    with pytest.raises(InputError, match='none of 4 pictures'):
        find_in_pictures(tmp_path, BoardConfig(13, 9, 0.01))


def write_corners(folder, template, number, side, ids=True):
    path = folder / template.format(side=side, n=number)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, GRID[:, :2] * 1e4 + number)
    if ids:
        np.savetxt(folder / f'calib.{side}.ids.{number}.txt', np.arange(54) + 500, fmt='%d')
        np.savetxt(folder / f'calib.{side}.object_points.{number}.txt', GRID * 1e3)


def test_scikit_surgery_names(tmp_path):
    for number in (0, 1, 10):
        for side in ('left', 'right'):
            write_corners(tmp_path, 'calib.{side}.image_points.{n}.txt', number, side)
    opened = open_corner_folder(tmp_path)
    assert opened.sides == ('left', 'right')
    views, left = read_views(opened, 'left')
    assert list(views) == [0, 1, 10]
    assert not left
    assert views[10].ids[0] == 500
    np.testing.assert_allclose(views[1].points_board, GRID)


def test_points_in_folders_by_side_find_their_board(tmp_path):
    for number in (798, 1095):
        for side in ('left', 'right'):
            write_corners(tmp_path, '{side}/{side}-{n}.png.points.txt', number, side, ids=False)
    np.savetxt(tmp_path / 'chessboard.txt', GRID * 1e3)
    opened = open_corner_folder(tmp_path)
    views, _ = read_views(opened, 'right')
    assert list(views) == [798, 1095]
    np.testing.assert_allclose(views[798].points_board, GRID)
    alone, _ = read_views(open_corner_folder(tmp_path / 'left'))
    assert list(alone) == [798, 1095]


def test_own_names(tmp_path):
    write_corners(tmp_path, 'run7/cam-{side}/frame{n}.csv', 4, 'left', ids=False)
    names = CornerNames(**dict.fromkeys(('ids', 'board', 'scope', 'marker', 'rig'), ''), pixels='run{any}/{n}')
    with pytest.raises(InputError, match='--names'):
        open_corner_folder(tmp_path / 'run7', names)
    names = CornerNames(pixels='cam-{side}/frame{n}.csv', ids='', board='')
    views, _ = read_views(open_corner_folder(tmp_path / 'run7', names), 'left', board=GRID)
    assert list(views) == [4]


def test_a_view_that_cannot_be_read_is_named(tmp_path):
    for number in (0, 1):
        write_corners(tmp_path, 'calib.{side}.image_points.{n}.txt', number, 'left')
    (tmp_path / 'calib.left.image_points.1.txt').write_text('1 2\n3 nan\n')
    views, left = read_views(open_corner_folder(tmp_path), 'left')
    assert list(views) == [0]
    assert 'NaN' in left[0].reason


@pytest.mark.parametrize(
    ('text', 'message'), [('', 'empty'), ('1 2\n3\n', 'line 2'), ('1 b\n', "line 1: '1 b'"), ('1 2 3 4\n', '4 columns')]
)
def test_tables_that_are_none(tmp_path, text, message):
    (tmp_path / 't.txt').write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / 't.txt', columns=(2, 3))


def test_two_files_of_one_number(tmp_path):
    for name in ('a', 'b'):
        np.savetxt(tmp_path / f'{name}.left.image_points.0.txt', GRID[:, :2])
    with pytest.raises(InputError, match='both number 0'):
        open_corner_folder(tmp_path)
