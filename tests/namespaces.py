"""Real networks of a test's own: namespaces that live in threads, with a cable between two of them.

A namespace has no name and no file: it ends with its threads and what they started, also when the test is killed.
"""

import concurrent.futures
import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest

CLONE_NEWNET = 0x40000000
PREFIX = 24
IP = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""
T = TypeVar("T")


class Namespace:
    """`run` calls something in it. What is started there, threads of `pool` included, has its network."""

    def __init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        try:
            self._thread.submit(_call, "unshare", CLONE_NEWNET).result()
            self._descriptor = self._thread.submit(os.open, "/proc/thread-self/ns/net", os.O_RDONLY).result()
        except OSError:
            self._thread.shutdown()
            raise
        self.path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        self.ip("link", "set", "lo", "up")

    def run(self, work: Callable[..., T], *arguments: Any) -> T:
        return self._thread.submit(work, *arguments).result()

    def ip(self, *words: str) -> None:
        self.run(_ip, words)

    def pool(self, threads: int) -> concurrent.futures.ThreadPoolExecutor:
        """Threads in this namespace; the caller ends them."""
        return concurrent.futures.ThreadPoolExecutor(
            threads, initializer=_call, initargs=("setns", self._descriptor, CLONE_NEWNET)
        )

    def close(self) -> None:
        self._thread.shutdown()
        os.close(self._descriptor)


@contextlib.contextmanager
def cable(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces that reach each other, and nothing else, at these IPv4 addresses. Skips where none can be made."""
    if not IP:
        pytest.skip("iproute2 is not installed")
    with contextlib.ExitStack() as stack:
        try:
            sides = [stack.enter_context(contextlib.closing(Namespace())) for _ in range(2)]
        except PermissionError as error:
            pytest.skip(f"this user cannot make network namespaces: {error}")
        sides[0].ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", sides[1].path)
        for side, addresses in zip(sides, (left, right), strict=True):
            for address in addresses:
                side.ip("address", "add", f"{address}/{PREFIX}", "dev", "cable")
            side.ip("link", "set", "cable", "up")
        yield sides[0], sides[1]


def _ip(words: Sequence[str]) -> None:
    done = subprocess.run([IP, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _call(name: str, *arguments: int) -> None:
    """A function of the C library for the calling thread alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[name](*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name} is refused")
