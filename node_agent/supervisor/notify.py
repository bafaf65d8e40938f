"""The service manager hears from the loop itself: when the loop hangs it hears nothing, and starts us anew."""

from node_agent.service_manager import ServiceManager
from node_agent.supervisor.loop import Loop


def begin(loop: Loop, manager: ServiceManager | None = None) -> ServiceManager:
    """Say that we are ready, and from now on that we are alive as often as the manager wants to hear it."""
    told = manager or ServiceManager()

    def ping() -> None:
        told.alive()
        loop.later(told.ping_s, ping)

    told.ready()
    if told.ping_s:
        ping()
    return told
