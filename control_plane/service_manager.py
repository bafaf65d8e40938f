"""What the service manager that started us is told: ready, alive, stopping. Where there is none, nothing.

node_agent/service_manager.py is the same: the two daemons share no module.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping

TIMEOUT_S = 1.0  # a manager that does not read must not stop us


class ServiceManager:
    """Its address leaves the environment, so that nothing we start can speak for us."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """`ping_s` says how often it wants to hear `alive`; 0 is never."""
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watched, limit_us = environment.pop("WATCHDOG_PID", ""), environment.pop("WATCHDOG_USEC", "")
        is_meant = bool(address) and watched in {"", str(os.getpid())} and limit_us.isdecimal()
        self.ping_s = int(limit_us) / 2e6 if is_meant else 0.0

    def ready(self) -> None:
        self._tell("READY=1")

    def alive(self) -> None:
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        """Never raises: whoever serves goes on serving, heard or not."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.settimeout(TIMEOUT_S)
            peer.sendto(state.encode(), self._address)
