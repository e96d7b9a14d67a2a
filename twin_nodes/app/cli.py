"""The `twin` command: thin doors to the work, which is imported only when a door is opened."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from twin_nodes.app import cli_build, cli_diagnose, cli_recordings, cli_run
from twin_nodes.app.cli_calibrate import calibrate
from twin_nodes.app.cli_igtl import igtl
from twin_nodes.app.cli_link import link
from twin_nodes.app.cli_register import register
from twin_nodes.core.errors import TwinError

app = typer.Typer(
    name='twin',
    help='Live digital twins for surgery as ROS 2 nodes. Without a command: where you stand and what to do next.',
    no_args_is_help=False,
    invoke_without_command=True,
    add_completion=False,  # `twin completion` says how; the words themselves are found all the same
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={'help_option_names': ['-h', '--help']},
)
cli_run.add_to(app)
cli_build.add_to(app)
cli_diagnose.add_to(app)
cli_recordings.add_to(app)
app.add_typer(igtl, name='igtl')
app.add_typer(calibrate, name='calibrate')
app.add_typer(register, name='register')
app.add_typer(link, name='link')


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option('--debug', help='Show a traceback for errors.')] = False,
    version: Annotated[bool, typer.Option('--version', help='Print the version and end.')] = False,
) -> None:
    from twin_nodes.app import standing

    if version:
        print(standing.version())
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(standing.show())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `twin`: an error of ours is one line and exit 1, without a traceback unless `--debug` is given.

    Args:
        arguments: Words after `twin`; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)  # the wheels do not set it
    if '_TWIN_COMPLETE' in os.environ:
        from typer.completion import completion_init

        completion_init()
    try:
        app(words, prog_name='twin', standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except (TwinError, ModuleNotFoundError) as error:
        if '--debug' in words:
            raise
        return _say(error)
    except BrokenPipeError:  # `twin … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


def _say(error: Exception) -> int:
    code = getattr(error, 'code', '')
    hint = f' (twin explain {code})' if code else ''
    missing = isinstance(error, ModuleNotFoundError)
    mend = '; run `make`, or install it with pip' if missing else hint
    print(f'twin: {error}{mend}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
