"""One change that a client asked for, as one unit: what it does, its audit, its events and its answer commit together.

A use case opens `Context.write()` as always. Inside a unit that is the unit's own transaction: begun by the first block
that writes, joined by later ones, and committed by `Changes.run` after the answer was stored beside the change. So the
repetition of a request finds its answer exactly when the change is there. A dry run is the same work, rolled back at the
end: what it says is what would have happened. Wake-ups go out after the commit.
"""

import contextlib
import contextvars
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import failpoints
from control_plane import clock, errors, ports
from control_plane.domain import values

T = TypeVar("T")
KEPT_S = 24 * 3600.0
ANY = frozenset({-1})  # If-Match: *

CURRENT: contextvars.ContextVar["Unit | None"] = contextvars.ContextVar("unit", default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets: a JSON body, None for none."""

    status: int
    body: Any = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a request says about how its change is made. `if_match` are generations, `ANY`, or None without the header.

    `may_see` raises when the caller may not do in that project what the request asks; asked before an answer is repeated,
    because nothing else is then: who asks may have lost a role since, or come with a token that can do less.
    """

    principal: str
    route: str
    fingerprint: str
    key: str = ""
    if_match: frozenset[int] | None = None
    dry_run: bool = False
    request_id: str = ""
    may_see: Callable[[str], None] = lambda _project: None


@dataclasses.dataclass(slots=True)
class Unit:
    """The state of one running change."""

    request: Request
    store: ports.Store
    stack: contextlib.AsyncExitStack
    tx: ports.Transaction | None = None
    broken: bool = False
    matched: bool = False
    plan: list[values.AuditEntry] = dataclasses.field(default_factory=list)
    woken: set[str] = dataclasses.field(default_factory=set)

    async def begin(self) -> ports.Transaction:
        if self.tx is None:
            self.tx = await self.stack.enter_async_context(self.store.write())
        return self.tx

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[ports.Transaction]:
        """A block of the unit. One that raised has spoiled the unit: half of a change is never committed."""
        try:
            yield await self.begin()
        except BaseException:
            self.broken = True
            raise

    def match(self, generation: int) -> None:
        """PreconditionFailedError when the client wants to change another generation than this one."""
        self.matched = True
        wanted = self.request.if_match
        if wanted is not None and wanted != ANY and generation not in wanted:
            raise errors.PreconditionFailedError(
                f"cannot change it: it is in generation {generation} now; read it again, then repeat the change",
                {"generation": generation},
            )


class _RolledBack(Exception):  # noqa: N818 - the end of a dry run, nobody's error
    pass


class Changes:
    """Runs changes for clients: idempotency keys, preconditions and dry runs, the same for every use case."""

    def __init__(self, store: ports.Store, notifier: ports.Notifier, now: clock.Clock) -> None:
        self._store = store
        self._notifier = notifier
        self._clock = now
        self._running: set[tuple[str, str, str]] = set()

    async def run(
        self, request: Request, work: Coroutine[Any, Any, T], shape: Callable[[T], Answer]
    ) -> tuple[Answer, bool]:
        """The answer, and whether it is that of an earlier request with the same key.

        Raises what `work` raises (then nothing is kept), IdempotencyMismatchError when the key came with another
        request, and ConflictError while the first one still runs.
        """
        place = (request.principal, request.route, request.key)
        try:
            if request.key and (stored := await self._stored(request)):
                return stored, True
            if request.key and place in self._running:
                raise errors.ConflictError(
                    "cannot repeat the request yet: the first one with this key is still running; try again in a moment",
                    {"idempotency_key": request.key},
                )
            if not request.key:
                return await self._run(request, work, shape), False
            self._running.add(place)
            try:
                return await self._run(request, work, shape), False
            finally:
                self._running.discard(place)
        finally:
            work.close()  # of no effect on one that ran

    async def _stored(self, request: Request) -> Answer | None:
        async with self._store.read() as tx:
            found = await tx.find_answer(request.principal, request.route, request.key)
        if found is None or found.created_at < self._clock.now().timestamp() - KEPT_S:
            return None
        if found.fingerprint != request.fingerprint:
            raise errors.IdempotencyMismatchError(
                "cannot use this idempotency key: it was used for another request; choose a new one",
                {"idempotency_key": request.key},
            )
        body = json.loads(found.body)
        for project in found.projects if body is not None else ():
            request.may_see(project)
        return Answer(found.status, body, found.headers)

    @failpoints.around("change.run")
    async def _run(self, request: Request, work: Coroutine[Any, Any, T], shape: Callable[[T], Answer]) -> Answer:
        answer: Answer | None = None
        unit: Unit | None = None
        with contextlib.suppress(_RolledBack):
            async with contextlib.AsyncExitStack() as stack:
                unit = Unit(request, self._store, stack)
                token = CURRENT.set(unit)
                try:
                    answer = shape(await work)
                finally:
                    CURRENT.reset(token)
                await self._finish(unit, answer)
        if unit is None or answer is None:  # cannot be: without an answer something was raised
            raise errors.UnavailableError("cannot answer: the change was not made; try again")
        if request.dry_run:
            return planned(unit.plan, answer)
        for topic in unit.woken:
            self._notifier.instance_changed(topic)
        return answer

    @failpoints.around("change.finish")
    async def _finish(self, unit: Unit, answer: Answer) -> None:
        """Before the commit: whatever forbids it, and what is stored along."""
        if unit.request.if_match is not None and not unit.matched:
            raise errors.PreconditionFailedError("cannot take If-Match here: leave the header out")
        if unit.broken:
            raise errors.UnavailableError("cannot answer: half of the change failed, so none of it was made; try again")
        if unit.request.dry_run:
            raise _RolledBack
        if unit.request.key:
            await self._keep(await unit.begin(), unit, answer)

    async def _keep(self, tx: ports.Transaction, unit: Unit, answer: Answer) -> None:
        now, request = self._clock.now().timestamp(), unit.request
        await tx.drop_answers(now - KEPT_S)
        stored = values.StoredAnswer(
            principal=request.principal,
            route=request.route,
            key=request.key,
            fingerprint=request.fingerprint,
            status=answer.status,
            headers=answer.headers,
            body=json.dumps(answer.body),
            created_at=now,
            projects=tuple(sorted({entry.project_id for entry in unit.plan} - {""})),
        )
        if not await tx.insert_answer(stored):
            raise errors.ConflictError(
                "cannot repeat the request yet: another replica runs the first one with this key; try again in a moment",
                {"idempotency_key": request.key},
            )


def planned(plan: list[values.AuditEntry], answer: Answer) -> Answer:
    """The answer to a dry run: each change in words and as data, and what the real one would have answered."""
    steps = [
        {"action": entry.action, "target": entry.target, "summary": entry.summary or entry.action, "data": entry.data}
        for entry in plan
    ]
    return Answer(200, {"dry_run": True, "changes": steps, "status": answer.status, "result": answer.body})
