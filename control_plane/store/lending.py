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
        self._free = asyncio.Semaphore(count)

    async def take(self) -> None:
        """UnavailableError when it takes too long."""
        if not self._free.locked():
            await self._free.acquire()  # at once
            return
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


class Pool:
    """Connections that are lent to who waits longest."""

    def __init__(self, connections: list[near.Connection]) -> None:
        self._all = connections
        self._free = list(connections)
        self._turns = Turns(len(connections))
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[near.Connection]:
        """UnavailableError when it takes too long; whatever the block began is ended with it."""
        await self._turns.take()
        if self._is_closed:
            self._turns.give_back()
            raise closed()
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
        """When all are given back. Later ones who ask are refused."""
        for _ in self._all:
            await self._turns.wait()
        self._is_closed = True
        for connection in self._all:
            await connection.close()
        for _ in self._all:
            self._turns.give_back()


def closed() -> errors.UnavailableError:
    return errors.UnavailableError("cannot reach the database: it is closed; try again soon")
