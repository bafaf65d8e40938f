"""Every error of the control plane, by kind. api/errors.py says each kind once in HTTP, hub/wire.py once in gRPC.

A message reads "cannot …", names the object and the next step. `details` holds what a client may read by program:
for a bad field `field` and `issue`, and what else helps.
"""

import contextlib
import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

MAX_TOLD = 100  # problems of one request: what has more was not written by a person


class Kind(enum.Enum):
    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    PRECONDITION = "precondition"
    MISMATCH = "mismatch"
    STORAGE = "storage"


class DployrError(Exception):
    """The root. `retry_after_s` goes out with UNAVAILABLE and RATE_LIMITED alone."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    retry_after_s: int = 1

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details or {})


class InvalidError(DployrError):
    """A field is missing, malformed or not supported. `details["errors"]` lists several problems."""

    kind = Kind.INVALID

    @classmethod
    def field(cls, message: str, field: str, issue: str, **more: Any) -> "InvalidError":
        return cls(message, {"field": field, "issue": issue, **more})

    @classmethod
    def several(cls, message: str, problems: Sequence[Mapping[str, Any]]) -> "InvalidError":
        """One error for all `problems` (each with field and issue): the first in front, several also in `errors`.

        Of very many the first MAX_TOLD: an answer is not to be larger than what asked for it.
        """
        problems = problems[:MAX_TOLD]
        listed = "; ".join(f"{problem['field']}: {problem['issue']}" for problem in problems)
        details = (
            dict(problems[0]) if len(problems) == 1 else {**problems[0], "errors": [dict(one) for one in problems]}
        )
        return cls(f"{message}: {listed}", details)

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Each with its field and issue."""
        return [dict(one) for one in self.details.get("errors", [self.details])]


class Faults:
    """What is wrong with one request, collected so that all of it is told together."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """An InvalidError ends the block, not the caller."""
        try:
            yield
        except InvalidError as error:
            self.found += error.problems

    def refuse(self, message: str) -> None:
        """InvalidError when there are any."""
        if self.found:
            raise InvalidError.several(message, self.found)


class UnauthenticatedError(DployrError):
    kind = Kind.UNAUTHENTICATED


class ForbiddenError(DployrError):
    kind = Kind.FORBIDDEN


class NotFoundError(DployrError):
    kind = Kind.NOT_FOUND


class ConflictError(DployrError):
    """A name or domain is taken, or the object is in the wrong state for the call."""

    kind = Kind.CONFLICT


class RateLimitedError(DployrError):
    kind = Kind.RATE_LIMITED


class UnavailableError(DployrError):
    """The call may be repeated: a database was busy, an instance is away."""

    kind = Kind.UNAVAILABLE


class PreconditionFailedError(DployrError):
    """The object is not in the generation that the caller named with If-Match."""

    kind = Kind.PRECONDITION


class IdempotencyMismatchError(DployrError):
    """The idempotency key was used for another request."""

    kind = Kind.MISMATCH


class InsufficientStorageError(DployrError):
    """There is no room for what was sent. Nothing of it was kept."""

    kind = Kind.STORAGE


class IllegalTransitionError(DployrError):
    """A state machine met a pair it does not know: a defect of ours, never of the caller."""

    kind = Kind.CONFLICT
