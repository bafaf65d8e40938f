"""Wake-ups inside one process. A hint that is lost costs a poll, never a wish: the rows are the truth."""

import asyncio


class LocalNotifier:
    """One flag for each instance. Used on the loop only."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def instance_changed(self, instance_id: str) -> None:
        """Wake all who wait for the instance, or the next one who will."""
        waiting = self._waiting.pop(instance_id, None)
        if waiting is None:
            self._told.add(instance_id)
            return
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, instance_id: str, timeout_s: float) -> bool:
        if instance_id in self._told:
            self._told.discard(instance_id)
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(instance_id, set()).add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._forget(instance_id, future)
        return True

    def _forget(self, instance_id: str, future: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(instance_id)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[instance_id]
