"""`twin track VIDEO`: the tags in a video, their poses and how well these fit."""

import csv
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin_nodes.app.figures import Figure, judge
from twin_nodes.core.calibration.camera_model import CameraModel
from twin_nodes.core.errors import ConfigError, InputError
from twin_nodes.core.geometry.se3 import quat_from_rotation
from twin_nodes.core.tracking.visual.config import VisualConfig
from twin_nodes.core.tracking.visual.detection import TagDetector, recognise_families
from twin_nodes.core.tracking.visual.dictionaries import FAMILIES, family_name
from twin_nodes.core.tracking.visual.markers import MarkerBody
from twin_nodes.core.tracking.visual.tracker import BodyPose, VisualFrame, VisualTracker
from twin_nodes.io.camera_info import read_camera_info
from twin_nodes.io.marker_bodies import read_bodies
from twin_nodes.io.video.frames import Video
from twin_nodes.io.whole_files import write_text_whole

COLUMNS = ('stamp_ns', 'body', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw', 'sigma_mm', 'sigma_deg', 'reprojection_px',
           'tags')  # fmt: skip


_PLENTY = 4  # tags in each image that no mirror image gives by chance
_LEAST_SIDE = 5e-4  # m


@dataclass
class _Summary:
    images: int = 0
    with_tags: int = 0
    tags: Counter[int] = field(default_factory=Counter)
    poses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    errors_px: list[float] = field(default_factory=list)
    sigmas_mm: list[float] = field(default_factory=list)
    rows: list[tuple[object, ...]] = field(default_factory=list)

    def figures(self) -> list[Figure]:
        figures = [
            judge('images_count', self.images, ''),
            judge('images_with_tags_count', self.with_tags, ''),
            judge('ids_count', len(self.tags), ''),
            judge('poses_count', sum(self.poses.values()), ''),
        ]
        if self.errors_px:
            figures.append(judge('reprojection_median_px', float(np.median(self.errors_px)), 'px'))
            figures.append(judge('sigma_median_mm', float(np.median(self.sigmas_mm)), 'mm'))
        return figures


def track(
    path: Path,
    *,
    dictionary: str = '',
    tag_size: float = 0.0,
    camera: Path | None = None,
    bodies: Sequence[Path] = (),
    rate_hz: float = 0.0,
    output: Path | None = None,
    as_json: bool = False,
) -> int:
    """Print what is in each image; without a camera the ids alone.

    Args:
        path: Video, folder of images or image.
        dictionary: Family of the tags; found in the images when left out.
        tag_size: Side of tags that stand alone [m]; 0 for none.
        camera: Calibration; none for ids alone.
        bodies: Body files.
        rate_hz: Images per second; 0 for what the file says.
        output: CSV of the poses to write.
        as_json: One JSON object per image, then the figures.

    Returns:
        0, or 1 where no image has a tag.

    Raises:
        TwinError: naming what cannot be used and what to type.
    """
    video = Video(path, rate_hz=rate_hz)
    if 0.0 < tag_size < _LEAST_SIDE:
        raise ConfigError(f'--tag-size {tag_size * 1e3:g} mm is below {_LEAST_SIDE * 1e3:g} mm: it is in mm, not in m')
    known = read_bodies(bodies)
    family = dictionary or next((body.dictionary for body in known if body.dictionary), '') or find_family(video)
    config = VisualConfig(dictionary=family_name(family), tag_size=tag_size)
    if camera is None and (known or tag_size or output is not None):
        raise ConfigError('poses need the calibration of the camera: add --camera FILE')
    summary = _Summary()
    if camera is None:
        lines = _ids(video, config, summary)
    else:
        if not known and not tag_size:
            raise ConfigError('poses need --tag-size in mm or --body FILE; for the ids alone leave --camera out')
        lines = _poses(video, config, read_camera_info(camera, size=video.size), known, summary)
    for line, record in lines:
        print(json.dumps(record, ensure_ascii=False) if as_json else line, flush=True)
    if dictionary and not summary.with_tags and (other := _other_family(video, config.dictionary)):
        print(f'twin: no tag of {config.dictionary}; {other} finds some: --dictionary {other}', file=sys.stderr)
    for note in video.notes:
        print(f'note: {note}', file=sys.stderr)
    if output is not None:
        _write(output, summary)
    _end(config, summary, as_json, output)
    return 0 if summary.with_tags else 1


def find_family(video: Video, *, images: int = 5) -> str:
    """Return the family that finds most tags in the first images, the smallest of its size that holds all ids.

    Raises:
        InputError: no family finds any.
    """
    looked_at = [frame.image for frame in itertools.islice(video.frames(), images) if frame.image.size]
    found, counts = _families(looked_at)
    _refuse_turned(video, looked_at, max(counts.values(), default=0))
    if not counts:
        raise InputError(f'{video.path}: no family of tags finds one in the first {images} images; give --dictionary')
    best = max(counts, key=lambda name: (counts[name], name))
    stem, _, size = best.rpartition('_')
    if not size.isdigit():
        return best
    sizes = sorted(int(name.rpartition('_')[2]) for name in FAMILIES if name.startswith(f'{stem}_'))
    return next(f'{stem}_{count}' for count in sizes if count > max(found[best]))


def _families(images: Sequence[NDArray[np.uint8]]) -> tuple[dict[str, set[int]], Counter[str]]:
    """Return the ids of each family in images, and how many tags it finds."""
    found: dict[str, set[int]] = {}
    counts: Counter[str] = Counter()
    for image in images:
        for name, ids in recognise_families(image).items():
            found.setdefault(name, set()).update(ids)
            counts[name] += len(ids)
    return found, counts


def _refuse_turned(video: Video, images: Sequence[NDArray[np.uint8]], count: int) -> None:
    """Refuse images that are mirrored, or whose tags are white on black: few tags of other families are seen in them.

    Raises:
        InputError: More tags are in the images when they are turned over.
    """
    if count >= len(images) * _PLENTY:
        return
    for told, turned in (
        ('mirrored (a mirror, or a camera for video calls): mirror them back', [image[:, ::-1] for image in images]),
        ('white on black: invert their grey values', [255 - image for image in images]),
    ):
        most = max(_families(turned)[1].values(), default=0)
        if most > count and most >= len(images):
            raise InputError(f'{video.path}: the tags in these images are {told}')


def _other_family(video: Video, wanted: str) -> str:
    """Return the family that finds tags in the first images, or ''."""
    try:
        found = find_family(video)
    except InputError:
        return ''
    return '' if found == wanted else found


def _ids(video: Video, config: VisualConfig, summary: _Summary) -> Iterator[tuple[str, dict[str, object]]]:
    detector = TagDetector(config)
    for frame in video.frames():
        summary.images += 1
        if frame.fault:
            summary.faults['IMAGE_UNUSABLE'] += 1
            continue
        found = detector.find(frame.image)
        ids = [tag.tag for tag in found.tags]
        summary.tags.update(ids)
        summary.with_tags += bool(ids)
        summary.faults.update(refusal.code for refusal in found.refusals)
        text = ' '.join(map(str, ids)) or 'none'
        refused = ''.join(f'  [{refusal.code}: {refusal.message}]' for refusal in found.refusals)
        record = {'image': frame.number, 'stamp_ns': frame.stamp_ns, 'ids': ids,
                  'refused': [refusal.code for refusal in found.refusals]}  # fmt: skip
        yield f'image {frame.number}: ids {text}{refused}', record


def _poses(
    video: Video, config: VisualConfig, camera: CameraModel, bodies: Iterable[MarkerBody], summary: _Summary
) -> Iterator[tuple[str, dict[str, object]]]:
    tracker = VisualTracker(config, camera, bodies)
    for frame in video.frames():
        summary.images += 1
        if frame.fault:
            summary.faults['IMAGE_UNUSABLE'] += 1
            continue
        found = tracker.observe(frame.stamp_ns, frame.image)
        ids = sorted(tag.tag for tag in found.tags)
        summary.tags.update(ids)
        summary.with_tags += bool(ids)
        summary.faults.update(refusal.code for refusal in found.refusals)
        yield _told(frame.number, frame.stamp_ns, ids, found, summary)


def _told(
    number: int, stamp_ns: int, ids: list[int], found: VisualFrame, summary: _Summary
) -> tuple[str, dict[str, object]]:
    lines = [f'image {number}: ids {" ".join(map(str, ids)) or "none"}']
    records: list[dict[str, object]] = []
    for body in found.bodies:
        if not isinstance(body, BodyPose):
            summary.faults[body.code] += 1
            lines.append(f'  {body.body}: {body.code}: {body.reason}')
            records.append({'body': body.body, 'code': body.code, 'reason': body.reason})
            continue
        position, quat = body.pose[:3, 3], quat_from_rotation(body.pose[:3, :3])
        sigma_mm = 1e3 * float(np.sqrt(np.trace(body.covariance[:3, :3])))
        sigma_deg = float(np.degrees(np.sqrt(np.trace(body.covariance[3:, 3:]))))
        summary.poses[body.body] += 1
        summary.errors_px.append(body.reprojection)
        summary.sigmas_mm.append(sigma_mm)
        summary.rows.append(
            (stamp_ns, body.body, *position, *quat, sigma_mm, sigma_deg, body.reprojection,
             ' '.join(map(str, body.tags)))
        )  # fmt: skip
        second = f', the other solution {body.second[1]:.3f} px' if body.second else ''
        place = ' '.join(f'{value * 1e3:.2f}' for value in position)
        lines.append(
            f'  {body.body}: {place} mm ± {sigma_mm:.2f} mm, {sigma_deg:.2f}°; reprojection {body.reprojection:.3f} px '
            f'over {len(body.tags)} tags{second}'
        )
        records.append(
            {'body': body.body, 'position_m': position.tolist(), 'quat_xyzw': quat.tolist(), 'sigma_mm': sigma_mm,
             'sigma_deg': sigma_deg, 'reprojection_px': body.reprojection, 'tags': list(body.tags),
             'probability': body.probability,
             'second_reprojection_px': body.second[1] if body.second else None}
        )  # fmt: skip
    lines += [f'  {refusal.code}: {refusal.message}' for refusal in found.refusals]
    refused = [{'code': refusal.code, 'message': refusal.message} for refusal in found.refusals]
    record = {'image': number, 'stamp_ns': stamp_ns, 'ids': ids, 'bodies': records, 'refused': refused}
    return '\n'.join(lines), record


def _end(config: VisualConfig, summary: _Summary, as_json: bool, output: Path | None) -> None:
    if as_json:
        from twin_nodes.app.figures import print_figures

        print_figures(summary.figures(), as_json=True)
        return
    ids = ', '.join(f'{tag} ({count})' for tag, count in sorted(summary.tags.items())) or 'none'
    print(f'{config.dictionary}: tags in {summary.with_tags} of {summary.images} images; ids (images): {ids}')
    for body, count in summary.poses.items():
        print(f'{body}: {count} poses')
    if summary.errors_px:
        print(f'reprojection {np.median(summary.errors_px):.3f} px, σ {np.median(summary.sigmas_mm):.2f} mm (medians)')
    for code, count in summary.faults.items():
        print(f'{code}: {count} (twin explain {code})')
    if output is not None:
        print(f'poses written to {output}')


def _write(path: Path, summary: _Summary) -> None:
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(summary.rows)
    write_text_whole(path, text.getvalue())


def describe_video(path: Path) -> str:
    """Say what is in a video, for `twin check`.

    Raises:
        InputError: when it cannot be read.
    """
    video = Video(path)
    stamps = [frame.stamp_ns for frame in video.frames()]
    span_s = (stamps[-1] - stamps[0]) * 1e-9
    rate = f' at {(len(stamps) - 1) / span_s:.3g} Hz' if span_s > 0.0 else ''
    text = f'{len(stamps)} images of {video.size[0]}x{video.size[1]} px over {span_s:.2f} s{rate}'
    try:
        family = find_family(video)
    except InputError:
        return f'video, good: {text}; no tags in the first images'
    detector = TagDetector(VisualConfig(dictionary=family))
    first = next(iter(video.frames()))
    ids = ', '.join(str(tag.tag) for tag in detector.find(first.image).tags) or 'none'
    return f'video, good: {text}; tags of {family}, in the first image: {ids}'
