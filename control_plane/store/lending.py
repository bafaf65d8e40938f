"""Who has a connection when: turns in the order in which they are asked for, and the readers that are lent by them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from control_plane import errors
from control_plane.store import near

QUEUE_S = 10.0


class Turns:
    """How many may be at work at once; who waits longest is next."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)
        self._is_over = False

    async def take(self) -> None:
        """UnavailableError when it takes too long, and when all is over."""
        if not self._free.locked():
            await self._free.acquire()  # at once
        else:
            await self._take_in_time()
        if self._is_over:
            self.give_back()
            raise errors.UnavailableError("cannot reach the database: it is closed; try again soon")

    async def _take_in_time(self) -> None:
        try:
            async with asyncio.timeout(QUEUE_S):
                await self._free.acquire()
        except TimeoutError as error:
            raise errors.UnavailableError("cannot reach the database: too many are waiting; try again") from error

    async def wait(self) -> None:
        """However long it takes, and whoever is cancelled meanwhile: what was begun has to be ended."""
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await self._free.acquire()
                return

    def give_back(self) -> None:
        self._free.release()

    @contextlib.asynccontextmanager
    async def end(self) -> AsyncIterator[None]:
        """All turns at once, behind all who wait already. Whoever would take one later is refused."""
        for _ in range(self._count):
            await self.wait()
        self._is_over = True
        try:
            yield
        finally:
            for _ in range(self._count):
                self.give_back()


class Pool:
    """Connections that are lent to who waits longest."""

    def __init__(self, connections: list[near.Connection]) -> None:
        self._all = connections
        self._free = list(connections)
        self._turns = Turns(len(connections))

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[near.Connection]:
        """UnavailableError when it takes too long; whatever the block began is ended with it."""
        await self._turns.take()
        connection = self._free.pop()
        try:
            yield connection
        finally:
            try:
                connection.end()
            finally:
                self._free.append(connection)
                self._turns.give_back()

    async def close(self) -> None:
        """When all are given back."""
        async with self._turns.end():
            for connection in self._all:
                await connection.close()
