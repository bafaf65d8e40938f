"""Waiting for a signal, a child or a time, whichever comes first. The handlers do nothing but wake the wait up."""

import contextlib
import select
import signal
import socket
from collections.abc import Iterable
from types import FrameType
from typing import Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """A context that catches the signals which ask us to end; `stop` says whether one came."""

    def __init__(self) -> None:
        self.stop = False
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._receiver, self._sender = socket.socketpair()
        self._cleanup.callback(self._receiver.close)
        self._cleanup.callback(self._sender.close)
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._cleanup.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._sender.fileno()))
        for number in ENDING:
            self._cleanup.callback(signal.signal, number, signal.signal(number, self._remember))
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def wait(self, timeout: float | None, descriptors: Iterable[int]) -> None:
        """Return when a signal came, one of `descriptors` is readable, or after `timeout` seconds."""
        poll = select.poll()
        for descriptor in (self._receiver.fileno(), *descriptors):
            poll.register(descriptor, select.POLLIN)
        poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = True
