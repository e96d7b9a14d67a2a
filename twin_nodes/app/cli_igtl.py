"""`twin igtl`: recordings, the simulator or the running twin as an OpenIGTLink server."""

from pathlib import Path
from typing import Annotated

import typer

igtl = typer.Typer(help='OpenIGTLink tools.', no_args_is_help=True)


@igtl.command('serve')
def igtl_serve(
    file: Annotated[Path, typer.Argument(help='Recording to serve, or sim for the simulated room.')],
    host: Annotated[str, typer.Option(help='Address to listen on.')] = '127.0.0.1',
    port: Annotated[int, typer.Option(min=0, max=65535, help='Port to listen on.')] = 18944,
    rate: Annotated[float, typer.Option(min=0.01, help='Speed of time; 1 is real time.')] = 1.0,
    loop: Annotated[bool, typer.Option('--loop', help='Start again at the end.')] = False,
    version: Annotated[int, typer.Option(min=1, max=2, help='OpenIGTLink header version.')] = 1,
    wait: Annotated[bool, typer.Option('--wait/--no-wait', help='Start with the first client.')] = True,
) -> None:
    """Serve a recording or the simulated room to any OpenIGTLink client, 3D Slicer included."""
    from twin_nodes.app.igtl import serve

    raise typer.Exit(serve(file, host=host, port=port, rate=rate, loop=loop, version=version, wait=wait))


@igtl.command('live')
def igtl_live(
    tools: Annotated[list[str] | None, typer.Argument(help='Tools to send; all by default.')] = None,
    host: Annotated[str, typer.Option(help='Address to listen on.')] = '127.0.0.1',
    port: Annotated[int, typer.Option(min=0, max=65535, help='Port to listen on.')] = 18944,
    version: Annotated[int, typer.Option(min=1, max=2, help='OpenIGTLink header version.')] = 1,
) -> None:
    """Serve what the twin says now, poses of the tools and of the tip in the image, to 3D Slicer and others."""
    from twin_nodes.app.igtl_live import live

    raise typer.Exit(live(tuple(tools or ()), host=host, port=port, version=version))


@igtl.callback()
def _igtl() -> None:
    """Serve recordings, or the running twin, over OpenIGTLink."""
