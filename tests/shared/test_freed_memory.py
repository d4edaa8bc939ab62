"""What the C library keeps of freed memory, seen by the pages that a process gets from the system."""

import subprocess
import sys

import pytest
from waiting import PATIENCE

PROGRAM = """
import resource, threading
import numpy as np
from shared.freed_memory import give_back_freed_memory, keep_freed_memory

PAGES = 20 * 2**20 // resource.getpagesize()

def pages_of_a_plan():
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    arrays = [np.zeros(2**18, np.float32) + 1 for _ in range(20)]
    del arrays
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

def plan():
    keep_freed_memory()
    pages_of_a_plan()
    assert pages_of_a_plan() < PAGES / 4
    give_back_freed_memory()
    assert pages_of_a_plan() > PAGES / 2

thread = threading.Thread(target=plan)
thread.start()
thread.join()
print("through")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of the GNU C library")
def test_freed_memory_is_kept_for_the_next_plan_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "through\n", done.stderr
