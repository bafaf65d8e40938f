"""Passwords of visitors, hashed as the proxy reads them: SHA-512 crypt, by the C library's own function.

Fifty of them take half a second. They wait for each other on the loop: in threads they would take those of the logins.
"""

import asyncio
import ctypes
import threading
from collections.abc import Callable

from control_plane import errors
from control_plane.clock import Ids

LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
LOCK = threading.Lock()  # crypt(3) answers in memory of its own


class Htpasswd:
    """`hash` blocks for some milliseconds: call it through `hashes`."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._turn = asyncio.Semaphore(1)
        self._crypt: Callable[[bytes, bytes], bytes | None] | None = None

    async def hashes(self, passwords: dict[str, str]) -> dict[str, str]:
        """Password → hash, off the loop. UnavailableError on a host without crypt(3)."""
        async with self._turn:
            return await asyncio.to_thread(lambda: {one: self._hash(one) for one in passwords.values()})

    def _hash(self, password: str) -> str:
        salt = f"$6${self._ids.secret(8)}"
        with LOCK:
            hashed = self._function()(password.encode(), salt.encode())
        if hashed is None or not hashed.startswith(b"$6$"):
            raise errors.UnavailableError("cannot keep basic_auth: the control plane's host has no SHA-512 crypt")
        return hashed.decode("ascii")

    def _function(self) -> Callable[[bytes, bytes], bytes | None]:
        if self._crypt is None:
            function = _library().crypt
            function.argtypes, function.restype = [ctypes.c_char_p, ctypes.c_char_p], ctypes.c_char_p
            self._crypt = function
        return self._crypt


def _library() -> ctypes.CDLL:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise errors.UnavailableError("cannot keep basic_auth: the control plane's host has no libcrypt")
