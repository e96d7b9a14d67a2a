"""`twin completion SHELL`: the script that makes a shell complete the words of `twin`."""

import os
from pathlib import Path

from twin_nodes.core.errors import ConfigError

SHELLS = {
    'bash': ('~/.bashrc', 'eval "$(twin completion bash)"'),
    'zsh': ('~/.zshrc', 'eval "$(twin completion zsh)"'),
    'fish': ('~/.config/fish/config.fish', 'twin completion fish | source'),
}


def completion(shell: str) -> int:
    """Print the script for a shell, or for none given, which line goes where.

    Raises:
        ConfigError: for a shell that is not known.
    """
    if not shell:
        mine = Path(os.environ.get('SHELL', '')).name
        file, line = SHELLS.get(mine, SHELLS['bash'])
        print(f'Put this line into {file}:\n\n    {line}\n\nShells: {", ".join(SHELLS)}.')
        return 0
    if shell not in SHELLS:
        raise ConfigError(f'shell {shell!r} is none of {", ".join(SHELLS)}')
    from typer.completion import get_completion_script

    print(get_completion_script(prog_name='twin', complete_var='_TWIN_COMPLETE', shell=shell))
    return 0
