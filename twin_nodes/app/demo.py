"""`twin demo`: the twin of an operating room, simulated or from a recording, measured against truth."""

import sys
from pathlib import Path

from twin_nodes.app.warm import warm_once
from twin_nodes.core.errors import ConfigError

UNATTENDED_S = 30.0
SCENES = ('room', 'robot', 'liver', 'telesurgery')


def demo(
    *,
    scene: str = 'room',
    link: str = 'geo',
    recording: Path | None = None,
    plus_config: Path | None = None,
    truth: Path | None = None,
    rate: float = 1.0,
    headless: bool = False,
    seconds: float | None = None,
    json: bool = False,
    port: int = 8080,
    bag: bool = True,
    seed: int = 1,
    out: Path | None = None,
) -> int:
    """Run a scene through the real nodes; returns 0 when every promise held.

    Args:
        scene: What to simulate.
        link: Network between the two sites of the scene telesurgery.
        recording: A recording to play instead.
        plus_config: Its PLUS configuration, when it is not found beside it.
        truth: A published result to compare with, when it is not found beside it.
        rate: Speed of the recording.
        headless: Whether to start no live view.
        seconds: When to stop [s]; None for Ctrl-C at a terminal, else 30 s or the end of the recording.
        json: Whether to print figures for machines.
        port: Port of the live view.
        bag: Whether to record a bag.
        seed: Seed of the simulation.
        out: Folder for what is written; a dated one below `output` when None.

    Raises:
        ConfigError: for a scene or recording that cannot be run.
    """
    if scene not in SCENES:
        raise ConfigError(f'scene={scene!r} is none of {", ".join(SCENES)}')
    warm_once()
    if recording is not None:
        from twin_nodes.app.demo_recording import run_recording

        return run_recording(
            recording,
            plus_config=plus_config,
            truth=truth,
            rate=rate,
            headless=headless,
            seconds=seconds,
            json=json,
            port=port,
            bag=bag,
            out=out,
        )
    if seconds is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        seconds = UNATTENDED_S
    if scene == 'liver':
        from twin_nodes.app.demo_liver import run_liver

        return run_liver(headless=headless, seconds=seconds, json=json, port=port, bag=bag, seed=seed, out=out)
    if scene == 'telesurgery':
        from twin_nodes.app.demo_telesurgery import run_telesurgery

        return run_telesurgery(
            link=link, headless=headless, seconds=seconds, json=json, port=port, bag=bag, seed=seed, out=out
        )
    if scene == 'robot':
        from twin_nodes.app.demo_robot import run_robot

        return run_robot(headless=headless, seconds=seconds, json=json, port=port, bag=bag, seed=seed, out=out)
    from twin_nodes.app.demo_room import run_room

    return run_room(headless=headless, seconds=seconds, json=json, port=port, bag=bag, seed=seed, out=out)
