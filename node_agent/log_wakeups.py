"""Tells the followers of files that these grew: one kernel queue for all of them."""

import asyncio
import contextlib
import os
from collections.abc import Iterator

from node_agent import inotify


class Wakeups:
    """Events that are set when a file grows. Without a kernel queue the followers' own slow look has to do."""

    def __init__(self) -> None:
        self._inotify: inotify.Inotify | None = None
        self._events: dict[int, list[asyncio.Event]] = {}

    @contextlib.contextmanager
    def on(self, path: os.PathLike[str]) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        watch = self._add(path, event)
        try:
            yield event
        finally:
            if watch is not None:
                self._remove(watch, event)

    def _add(self, path: os.PathLike[str], event: asyncio.Event) -> int | None:
        try:
            if self._inotify is None:
                self._inotify = inotify.Inotify()
                asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._read)
            watch = self._inotify.add(path, inotify.IN_MODIFY | inotify.IN_DELETE_SELF | inotify.IN_ATTRIB)
        except OSError:
            self._close_unused()
            return None
        self._events.setdefault(watch, []).append(event)
        return watch

    def _remove(self, watch: int, event: asyncio.Event) -> None:
        events = self._events[watch]
        events.remove(event)
        if not events:
            del self._events[watch]
            if self._inotify is not None:
                self._inotify.remove(watch)
        self._close_unused()

    def _close_unused(self) -> None:
        if self._inotify is not None and not self._events:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _read(self) -> None:
        if self._inotify is not None:
            for watch, _ in self._inotify.read():
                for event in self._events.get(watch, ()):
                    event.set()
