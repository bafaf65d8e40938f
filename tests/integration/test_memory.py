"""The control plane's memory when nobody logs in any more."""

import pathlib
import subprocess
import sys

PROGRAM = """
import concurrent.futures, argon2
from control_plane import memory
memory.give_back()
hasher = argon2.PasswordHasher(time_cost=1, memory_cost=19 << 10, parallelism=1)
rss = lambda: int(open("/proc/self/status").read().partition("VmRSS:")[2].split()[0]) >> 10
with concurrent.futures.ThreadPoolExecutor(4) as threads:
    before = rss()
    list(threads.map(hasher.hash, ["a password"] * 8))
    print(rss() - before)
"""


def test_what_passwords_took_is_given_back():
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 19
