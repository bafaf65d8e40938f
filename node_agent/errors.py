"""Every error of the host side. A class exists because something catches it or a kind needs telling apart.

A message reads "cannot …", names the object and says what to do next. `reason` is the stable word that reports carry.
"""

from typing import ClassVar


class AgentError(Exception):
    """The root: what the host side knows how to explain."""

    reason: ClassVar[str] = "agent_error"
    retryable: ClassVar[bool] = False


class IllegalTransitionError(AgentError):
    reason = "illegal_transition"


class StaleGenerationError(AgentError):
    """A wish older than one that the journal already holds."""

    reason = "stale_generation"


class FencedError(AgentError):
    """A newer session holds this instance's identity: change nothing."""

    reason = "fenced"


class EnrolmentRefusedError(AgentError):
    """The control plane, or what answers in its place, does not take this agent; asking again does not help."""

    reason = "enrolment_refused"


class ControlPlaneUnavailableError(AgentError):
    """The control plane does not answer; the caller may ask again."""

    reason = "control_plane_unavailable"
    retryable = True


class JournalTooNewError(AgentError):
    """The journal was written by a newer program; the applications are left alone."""

    reason = "journal_too_new"


class SupervisorUnavailableError(AgentError):
    """The socket does not answer, or the connection broke; the caller may ask again."""

    reason = "supervisor_unavailable"
    retryable = True


class SupervisorRefusedError(AgentError):
    """The supervisor understood and said no; the message is its own."""

    reason = "supervisor_refused"


class NotRunnableError(AgentError):
    """The service has nothing live whose environment a command could have."""

    reason = "not_runnable"


class ProxyError(AgentError):
    """The new configuration did not go live and the former one is back."""

    reason = "proxy_failed"
    retryable = True


class ReleaseFailedError(AgentError):
    """A release cannot go live, for a reason that its owner can act on: `code` is one of model/failures.py."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
