"""One piece of work at a time, on the newest value that anybody asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from node_agent import errors

Value = TypeVar("Value")
Outcome = TypeVar("Outcome")


class Latest(Generic[Value, Outcome]):
    """Whoever asks while `work` is under way waits for the next turn, which takes the newest value for all of them.

    The turn belongs to the caller who comes first. When that one is cancelled, the next caller takes a turn of its own.
    """

    def __init__(self, work: Callable[[Value], Awaitable[Outcome]]) -> None:
        self.lock = asyncio.Lock()
        self._work = work
        self._newest: Value
        self._asked = 0
        self._answered = 0
        self._answer: Outcome | errors.ProxyError

    async def ask(self, value: Value) -> Outcome:
        """The outcome for `value` or for a newer one. Raises what `work` raises; a ProxyError reaches all who waited."""
        self._newest = value
        self._asked += 1
        ticket = self._asked
        async with self.lock:
            if self._answered < ticket:
                await self._turn()
            if isinstance(self._answer, errors.ProxyError):
                raise errors.ProxyError(str(self._answer)) from self._answer
            return self._answer

    async def _turn(self) -> None:
        served = self._asked
        try:
            self._answer = await self._work(self._newest)
        except errors.ProxyError as error:
            self._answer = error
        self._answered = served
