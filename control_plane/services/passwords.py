"""argon2id off the loop: at most two hashes at once and a short queue, because each costs 19 MiB and 33 ms."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import argon2
from argon2 import exceptions

from control_plane import errors

AT_ONCE = 2
QUEUE = 8
NOTHING = ("A" * 22, "A" * 43)  # 16 octets of salt and 32 of hash, all zero
T = TypeVar("T")


class Passwords:
    """Hashes and compares. RateLimitedError when too many are waiting."""

    def __init__(self) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._free = asyncio.Semaphore(AT_ONCE)
        self._inside = 0

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Does `password` belong to `stored`? Without a stored hash as much work is done, and the answer is no."""
        compared = _hash_of_nobody(self._hasher) if stored is None else stored
        matches = await self._run(lambda: self._matches(compared, password))
        return matches and stored is not None

    def is_outdated(self, stored: str) -> bool:
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (exceptions.VerificationError, exceptions.InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._inside >= AT_ONCE + QUEUE:
            raise errors.RateLimitedError(
                "cannot check the password: too many are being checked; try again in a moment"
            )
        self._inside += 1
        try:
            async with self._free:
                return await asyncio.to_thread(work)
        finally:
            self._inside -= 1


def _hash_of_nobody(hasher: argon2.PasswordHasher) -> str:
    """One that costs as much as a new one to compare with, and that no password has. Written, not computed: the first
    unknown user after a start must not take longer than the next.
    """
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return "$".join(("", "argon2id", "v=19", cost, *NOTHING))
