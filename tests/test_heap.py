import ctypes
import statistics
import subprocess
import sys

import pytest

from genreray import heap

STEPS = """
import resource, sys
import torch
from genreray import heap

def step():
    maps = [torch.ones(2**24) for _ in range(3)]  # 64 MB each
    torch.stack(maps).sum()

if sys.argv[1] == "keep":
    heap.keep()
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """The pages that the system cleared for most steps: the heap may still grow in a few."""
    done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
    return statistics.median_low(map(int, done.stdout.split()))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the C library is not glibc")
def test_a_step_takes_the_memory_that_the_one_before_left():
    given_back, kept = page_faults("give back"), page_faults("keep")
    print(f"page faults of a step: {given_back:,}, with memory kept {kept:,}")
    assert kept < given_back / 10


def test_another_c_library_is_left_alone(monkeypatch):
    class Other:
        pass

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Other())
    heap.keep()
