"""What a mesh file may announce: no count in a header is believed before the file was seen to be long enough."""

from twin_nodes.core.errors import InputError

MAX_TRIANGLES = 20_000_000
MAX_BYTES = 2 << 30


def check_count(count: int) -> None:
    """Refuse an announced number of elements above the limit."""
    if count > MAX_TRIANGLES:
        raise InputError(f'{count} elements are announced, limit {MAX_TRIANGLES}', code='ANATOMY_REFUSED')


def check_bytes(needed: int, held: int) -> None:
    """Refuse a file that is too short for what it announces."""
    if needed > held:
        raise InputError(
            f'what is announced needs at least {needed} bytes, the file has {held}', code='ANATOMY_REFUSED'
        )
