"""Pages of mapped files: what goes, and what must stay."""

import mmap
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SIZE = 16 * mmap.PAGESIZE
NAMELESS = """
import mmap, os, sys
from headtail.mapped import let_go_of_files

file = os.open(os.fsencode(sys.argv[1]) + b"/\\xff.so", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, mmap.PAGESIZE)
kept = mmap.mmap(file, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ)
print(let_go_of_files() > 0)
"""
CODE = """
import ctypes, mmap, sys
from pathlib import Path
from headtail.mapped import let_go_of_files

def resident_kb(name):
    at, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            at = line.endswith(name)
        elif at and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total

name = sys.argv[1]
size = Path(name).stat().st_size
file = open(name, "r+b")
kept = mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ)
before = kept[:]
print(resident_kb(name))
print(let_go_of_files() >= size)
print(resident_kb(name))
print(kept[:] == before)

changed = mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
changed[:3] = b"new"
address = ctypes.addressof(ctypes.c_char.from_buffer(changed))
libc = ctypes.CDLL(None)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
assert libc.mprotect(address, size, mmap.PROT_READ) == 0
let_go_of_files()
print(changed[:3])
"""


@pytest.mark.parametrize(("name", "left_kb"), [("mapped.so", 0), ("mapped.npz", SIZE >> 10)])
def test_code_as_on_the_disk_goes_and_comes_back_and_all_else_stays(tmp_path, name, left_kb):
    """In a process of its own, of which nothing else depends."""
    file = tmp_path / name
    file.write_bytes(os.urandom(SIZE))
    ended = subprocess.run(
        [sys.executable, "-c", CODE, str(file)], capture_output=True, text=True, check=False
    )
    assert "" == ended.stderr
    resident, *rest = ended.stdout.split("\n")
    assert SIZE >> 10 == int(resident)
    assert ["True", str(left_kb), "True", "b'new'", ""] == rest


def test_file_whose_name_is_no_text_does_not_matter(tmp_path):
    """Names are bytes to the system."""
    command = [sys.executable, "-c", NAMELESS, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ("True\n", "") == (ended.stdout, ended.stderr)
