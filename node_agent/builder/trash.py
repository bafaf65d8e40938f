"""What was thrown away, deleted in the background: nobody waits for the end of a huge tree."""

import asyncio

import structlog

from node_agent.builder import children, trees
from node_agent.paths import Paths

log = structlog.get_logger()


class Trash:
    """`run` it as a task, `wake` it when something was thrown away. What is cut short or resists stays for the next time."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._woken = asyncio.Event()
        self._woken.set()  # a former agent may have left something

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self.empty()

    async def empty(self) -> None:
        """Delete all that is there now."""
        for left in trees.children(self._paths.trash):
            try:
                await trees.delete(left)
            except (OSError, children.ChildTimeoutError) as error:
                log.warning("trash.kept", path=str(left), error=str(error))
