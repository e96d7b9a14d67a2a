import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import igtl_samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin_nodes.io.openigtlink.codec import HEADER_BYTES, Decoder, encode

ROOT = Path(__file__).resolve().parents[3]
RUNS = 20_000


def run_atheris(tmp_path):
    command = [sys.executable, str(Path(__file__).with_name('fuzz_codec.py'))]
    command += [f'-runs={RUNS}', '-seed=1', '-max_len=2048', '-rss_limit_mb=1024', f'-artifact_prefix={tmp_path}/']
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    # by a shell that forks once more: the peak memory of this process would count as that of its child
    command = ['sh', '-c', '"$@"; exit $?', 'sh', *command]
    return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)


def test_coverage_guided_fuzzing_finds_nothing(tmp_path):
    """atheris has wheels for x86-64 only: elsewhere the property test below does the work alone."""
    if find_spec('atheris') is None:
        return
    result = run_atheris(tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert f'Done {RUNS} runs' in result.stderr


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.binary(max_size=100), igtl_samples.messages()), max_size=6), st.integers(1, 200))
def test_garbage_between_messages_is_bounded_and_cut_independent(items, step):
    stream = b''.join(item if isinstance(item, bytes) else encode(item) for item in items)
    expected = Decoder(max_kept_body=1024).feed(stream)
    decoder, found = Decoder(max_kept_body=1024), []
    for start in range(0, len(stream), step):
        found += decoder.feed(stream[start : start + step])
        assert decoder.buffered <= HEADER_BYTES + 1024
    assert igtl_samples.same(found, expected)
