"""The group `twin link`."""

from pathlib import Path
from typing import Annotated

import typer

from twin_nodes.app.cli_shared import Json

link = typer.Typer(help='Bad links on purpose, and keys for the bridge.', no_args_is_help=True)

Scenario = Annotated[str, typer.Argument(help='Scenario (N7, geo, …) or YAML file.')]
Seed = Annotated[int, typer.Option(min=0, help='Seed; the same seed is the same fate of each packet.')]


@link.callback()
def _link() -> None:
    """Bad links on purpose, and keys for the bridge."""


@link.command('list')
def link_list(json: Json = False) -> None:
    """List the scenarios N0 to N25."""
    from twin_nodes.app.link import list_scenarios

    raise typer.Exit(list_scenarios(json=json))


@link.command('show')
def link_show(
    scenario: Scenario,
    seconds: Annotated[float, typer.Option(min=0.1, max=86400.0, help='Span to look at [s].')] = 300.0,
    rate: Annotated[float, typer.Option(min=0.1, max=1e5, help='Packets per second [Hz].')] = 200.0,
    size: Annotated[int, typer.Option(min=1, max=65507, help='Bytes per packet.')] = 300,
    seed: Seed = 1,
    json: Json = False,
) -> None:
    """Say what a scenario does to packets: loss, bursts, delays, order."""
    from twin_nodes.app.link import show

    raise typer.Exit(show(scenario, seconds=seconds, rate_hz=rate, size=size, seed=seed, json=json))


@link.command('relay')
def link_relay(
    scenario: Scenario,
    host: Annotated[str, typer.Option(help='Address to listen on.')] = '127.0.0.1',
    leader_port: Annotated[int, typer.Option(min=0, max=65535, help='UDP port that the leader sends to.')] = 47801,
    follower_port: Annotated[int, typer.Option(min=0, max=65535, help='UDP port that the follower sends to.')] = 47802,
    to: Annotated[str, typer.Option(help='HOST:PORT of the follower; else where it sends from.')] = '127.0.0.1:47800',
    seed: Seed = 1,
    seconds: Annotated[float, typer.Option(min=0.0, help='Stop after this time [s]; 0 for Ctrl-C.')] = 0.0,
    json: Json = False,
) -> None:
    """Relay UDP datagrams as the link would: between two bridges, or anything else."""
    from twin_nodes.app.link import relay

    raise typer.Exit(
        relay(
            scenario,
            host=host,
            leader_port=leader_port,
            follower_port=follower_port,
            to=to,
            seed=seed,
            seconds=seconds,
            json=json,
        )
    )


@link.command('key')
def link_key(path: Annotated[Path, typer.Argument(help='File to make, mode 0600.')]) -> None:
    """Make a key that two bridges share."""
    from twin_nodes.app.link import key

    raise typer.Exit(key(path))
