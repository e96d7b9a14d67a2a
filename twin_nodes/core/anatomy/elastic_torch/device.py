"""Where torch runs, and what to say where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from twin_nodes.core.errors import ConfigError


def is_installed() -> bool:
    """Whether torch can be imported; it is not imported for the answer."""
    return find_spec('torch') is not None


def import_torch() -> Any:
    """Return the module torch, imported now: it takes a second or more.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ConfigError(f'torch is not installed ({error}): pip install twin_nodes[learn]') from None
    return torch


def choose_device(name: str = '') -> Any:
    """Return a device of torch: the one asked for, else the GPU when there is one, else the CPU.

    Raises:
        ConfigError: torch is not installed, or has no such device.
    """
    torch = import_torch()
    if not name:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f'device={name!r}: {str(error).splitlines()[0]}; use cpu') from None
    return device


def has_gpu() -> bool:
    """Whether torch is installed and finds a GPU; imports it where it is installed."""
    return is_installed() and bool(import_torch().cuda.is_available())
