"""What the sender is given: the queue, name resolution, and a way to post. As narrow as it needs them."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from control_plane.domain import webhook


class Deliveries(Protocol):
    """The durable queue. The rows are the truth: the sender remembers nothing across a restart."""

    async def due(
        self, now: float, limit: int, without: Collection[str] = ()
    ) -> Sequence[tuple[webhook.Delivery, webhook.Target]]:
        """Up to `limit` deliveries to send, the longest due first.

        Of each (webhook, subject) only the first waiting one by `sequence` counts, and only when its own `next_at` is
        reached: a later event waits for an earlier one. Left out are disabled webhooks and the ids in `without`, the
        webhooks that the sender can start nothing for at present. What is in flight may come again; the sender knows.
        """
        ...

    async def record(self, delivery: webhook.Delivery, attempt: webhook.Attempt, verdict: webhook.Verdict) -> None:
        """Durable, in one transaction: the attempt, and what follows from it. UnavailableError when it must be repeated.

        DISABLED also disables the webhook, and fails all that waits for it. Nothing happens when the delivery is gone
        or no longer waits, or when an attempt of that number or a later one was recorded: the same call may come twice.
        """
        ...

    async def next_wakeup(self, now: float) -> float | None:
        """The earliest `next_at` behind `now` among the first waiting deliveries; None when there is none."""
        ...

    async def wait(self, timeout_s: float) -> bool:
        """True when something was queued since the last wait; False after `timeout_s`. A hint, as with the notifier."""
        ...


class Resolver(Protocol):
    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """All addresses of a name as texts. UnavailableError when it has none, or nobody knows at present."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """`body_prefix` is at most the first 4 KiB."""

    status: int
    body_prefix: bytes
    duration_s: float


class Poster(Protocol):
    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send once. InvalidError when the address may not be called, UnavailableError when no answer came."""
        ...
