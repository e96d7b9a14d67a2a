"""Pieces of recordings with the structure of the real ones."""

IDENTITY_MM = '1 0 0 10 0 1 0 20 0 0 1 30 0 0 0 1'


def plus_frame(index: int, stamp: str, **fields: str) -> str:
    lines = [f'Seq_Frame{index:04d}_{key} = {value}' for key, value in fields.items()]
    if stamp:
        lines.append(f'Seq_Frame{index:04d}_Timestamp = {stamp}')
    return '\n'.join(lines) + '\n'
