"""What a program keeps for good is passed by; what comes later is collected."""

import subprocess
import sys

CODE = """
import gc, weakref
from headtail.heap import keep_for_good
class Node: pass
def ring():
    node = Node()
    node.self = node
    return weakref.ref(node)
before = ring()
keep_for_good()
assert before() is None, "garbage is collected, not kept"
assert gc.get_freeze_count() > 1000
kept = gc.get_freeze_count()
after = ring()
gc.collect()
assert after() is None, "what is made later is collected"
assert gc.get_freeze_count() <= kept
"""


def test_garbage_is_collected_before_and_after():
    """In a process of its own: a frozen heap stays so."""
    subprocess.run([sys.executable, "-c", CODE], check=True)
