"""Wake-ups inside one process. A hint that is lost costs a poll, never a wish: the rows are the truth.

Two ways to wait. `wait` is for the one consumer of a topic: what it was told while it was busy is kept for it. Any number
may use `wait_beyond`: each remembers how much it has seen, so that none takes a wake-up from another.
"""

import asyncio


class LocalNotifier:
    """One flag and one count for each topic. Used on the loop only."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._beyond: dict[str, set[asyncio.Future[None]]] = {}

    def instance_changed(self, instance_id: str) -> None:
        """Wake all who wait for the instance, or the next one who will."""
        self._counts[instance_id] = self._counts.get(instance_id, 0) + 1
        _wake(self._beyond.pop(instance_id, set()))
        waiting = self._waiting.pop(instance_id, None)
        if waiting is None:
            self._told.add(instance_id)
        else:
            _wake(waiting)

    async def wait(self, instance_id: str, timeout_s: float) -> bool:
        if instance_id in self._told:
            self._told.discard(instance_id)
            return True
        return await _woken(self._waiting, instance_id, timeout_s)

    def count(self, topic: str) -> int:
        return self._counts.get(topic, 0)

    async def wait_beyond(self, topic: str, seen: int, timeout_s: float) -> int:
        if self.count(topic) == seen:
            await _woken(self._beyond, topic, timeout_s)
        return self.count(topic)


def _wake(waiting: set[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)


async def _woken(waiting: dict[str, set[asyncio.Future[None]]], topic: str, timeout_s: float) -> bool:
    """Whether somebody woke this one in time. Leaves nothing behind, also when it is cancelled."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting.setdefault(topic, set()).add(future)
    try:
        async with asyncio.timeout(timeout_s):
            await future
    except TimeoutError:
        return False
    finally:
        others = waiting.get(topic)
        if others is not None:
            others.discard(future)
            if not others:
                del waiting[topic]
    return True
