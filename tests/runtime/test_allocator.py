"""Memory that was freed is used again rather than asked for anew."""

import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource
from truss.runtime.allocator import keep_freed_memory
{setting}
def fill():
    [b"x" * 250_000 for _ in range(3)]
for _ in range(10):
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(setting: str) -> int:
    code = FAULTS.format(setting=setting)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_large_blocks_are_cleared_by_the_system_once():
    pages = 250_000 // resource.getpagesize()
    if faults("") < 100 * pages:
        pytest.skip("this C library keeps freed memory by itself")
    assert faults("keep_freed_memory()") < pages
