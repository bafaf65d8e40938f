"""The sender: takes what is due from the queue, posts it, and records what came of it. At least once, never zero times.

It holds nothing that a restart must know. What was in flight when the process died is still due, and goes out again
under the same id. It waits for events: something queued, an attempt that ended, or the next attempt's hour. Of several
replicas one sends: the holder of a lease, which this asks before it begins anything.
"""

import asyncio
import contextlib
import datetime
import random
from collections.abc import Callable

import structlog

import failpoints
from control_plane import clock, errors
from control_plane.delivery import lanes, message
from control_plane.delivery.parts import Deliveries, Poster
from control_plane.domain import webhook

log = structlog.get_logger()

LOOK_AGAIN_S = (
    2.0  # nobody tells of what another replica queued, hints get lost, clocks are set: the rows are asked again
)
REST_S = 1.0  # after the queue could not be used
MAX_REST_S = 30.0


class Sender:
    """One for each replica. It begins attempts while `is_ours`; `version` is what receivers see of the control plane."""

    def __init__(
        self,
        deliveries: Deliveries,
        is_ours: Callable[[], bool],
        poster: Poster,
        now: clock.Clock,
        chance: random.Random,
        version: str,
        limits: lanes.Limits | None = None,
        rest_s: float = REST_S,
    ) -> None:
        self._deliveries = deliveries
        self._is_ours = is_ours
        self._poster = poster
        self._clock = now
        self._chance = chance
        self._version = version
        self._limits = limits or lanes.Limits()
        self._rest_s = rest_s
        self._flights: set[lanes.Flight] = set()
        self._doubtful: set[str] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Send until cancelled. A cancelled attempt counts as not made: it is due again at the next start."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="delivery.listen")
            while True:
                self._wake.clear()
                await self._pause(await self._turn(group))

    async def _listen(self) -> None:
        while True:
            try:
                told = await self._deliveries.wait(LOOK_AGAIN_S)
            except Exception as error:  # whatever ails the queue, the sender outlives it
                log.warning("webhook.queue_unheard", error=str(error))
                await asyncio.sleep(self._rest_s)
            else:
                if told:
                    self._wake.set()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _turn(self, group: asyncio.TaskGroup) -> float:
        """Begin what is due and has a place; answers in how many seconds something else may be due."""
        if not self._is_ours():
            return LOOK_AGAIN_S
        now = self._clock.now().timestamp()
        try:
            while await self._begin(group, now):
                pass
            wakeup = await self._deliveries.next_wakeup(now)
        except Exception as error:  # whatever ails the queue, the sender outlives it
            log.warning("webhook.queue_unread", error=str(error))
            return self._rest_s
        return LOOK_AGAIN_S if wakeup is None else min(wakeup - now, LOOK_AGAIN_S)

    async def _begin(self, group: asyncio.TaskGroup, now: float) -> bool:
        flights = frozenset(self._flights)  # before the question: what lands during it may be in the answer as due
        without = lanes.closed(flights, self._doubtful, self._limits)
        due = await self._deliveries.due(now, self._limits.page, without)
        if not self._is_ours():  # the question took too long
            return False
        chosen = lanes.choose(due, flights, self._doubtful, self._limits)
        for flight, (delivery, target) in chosen:
            self._flights.add(flight)
            group.create_task(self._fly(flight, delivery, target), name=f"delivery.{delivery.id}")
        return bool(chosen)

    async def _fly(self, flight: lanes.Flight, delivery: webhook.Delivery, target: webhook.Target) -> None:
        """One attempt and its record. The place is free when it is recorded: that keeps the order."""
        try:
            attempt, verdict = await self._attempt(delivery, target)
            self._note(delivery, attempt, verdict)
            await self._record(delivery, attempt, verdict)
        finally:
            self._flights.discard(flight)
            self._wake.set()

    async def _attempt(
        self, delivery: webhook.Delivery, target: webhook.Target
    ) -> tuple[webhook.Attempt, webhook.Verdict]:
        at, began = self._clock.now(), self._clock.monotonic()
        status, error, response = await self._post(delivery, target, at)
        took_s = self._clock.monotonic() - began
        number = delivery.attempts + 1
        attempt = webhook.Attempt(delivery.id, number, at, status, error, response, round(took_s * 1000))
        began_at = at.timestamp()
        return attempt, webhook.judge(status, number, began_at, began_at + took_s, self._chance.random())

    @failpoints.around("webhook.post")
    async def _post(
        self, delivery: webhook.Delivery, target: webhook.Target, at: datetime.datetime
    ) -> tuple[int, str, str]:
        """(status, error, beginning of the answer); status 0 when there was none."""
        try:
            headers = message.headers(delivery, target.secret, at, self._version)
            answer = await self._poster.post(target.url, headers, delivery.body.encode())
        except errors.DployrError as error:
            return 0, error.message[: webhook.MAX_ERROR], ""
        except Exception:  # a defect of ours: it must not hold up what others wait for
            log.exception("webhook.defect", delivery=delivery.id)
            return 0, "cannot send: an internal error; the log of the control plane has it", ""
        return answer.status, webhook.failure(answer.status), webhook.as_text(answer.body_prefix)

    @failpoints.around("webhook.record")
    async def _record(self, delivery: webhook.Delivery, attempt: webhook.Attempt, verdict: webhook.Verdict) -> None:
        """Until the queue has taken it. To give up would mean to send it again, and to lose what the receiver said."""
        rest_s = self._rest_s
        while True:
            try:
                await self._deliveries.record(delivery, attempt, verdict)
                return
            except Exception as error:  # whatever ails the queue, the sender outlives it
                log.warning("webhook.not_recorded", delivery=delivery.id, error=str(error))
            await asyncio.sleep(rest_s)
            rest_s = min(2 * rest_s, MAX_REST_S)

    def _note(self, delivery: webhook.Delivery, attempt: webhook.Attempt, verdict: webhook.Verdict) -> None:
        if verdict.outcome in {webhook.Outcome.RETRY, webhook.Outcome.FAILED}:
            self._doubtful.add(delivery.webhook_id)
        else:
            self._doubtful.discard(delivery.webhook_id)
        log.info(
            "webhook.attempted",
            outcome=verdict.outcome.value,
            webhook=delivery.webhook_id,
            event_id=delivery.event_id,
            attempt=attempt.number,
            status=attempt.status,
        )
