"""Which user and group each service has. One durable file; a pair of uids per service, taken from a range of our own.

The app runs as the first of the pair, builds as the second: what a build fetches from strangers cannot look into the
app that runs. Both are in the service's group, whose number is that of the first. A pair is given out again as late as
possible, and never before it rested and nothing of its former service is left.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import failpoints
from node_agent import atomic
from node_agent.clock import Clock
from node_agent.supervisor import checked
from node_agent.supervisor.frames import ProtocolError, field
from node_agent.supervisor.loop import note

FORMAT = 1
PAIR = 2
REST_S = 60.0
FIRST_UID, LAST_UID = 1000, 2**31 - 1  # users of the system are below, and some tools take the number for signed
EXAMPLE = "200000-265535"


class SpanError(ValueError):
    """A range of uids that cannot be used."""


class ExhaustedError(OSError):
    """Every pair of the range is in use, or rests."""


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """Whom a program runs as."""

    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """The uid of a service's processes, that of its builds, and the group of both."""

    app: int

    @property
    def build(self) -> int:
        return self.app + 1

    @property
    def group(self) -> int:
        return self.app

    @property
    def app_user(self) -> User:
        return User(self.app, self.group)

    @property
    def build_user(self) -> User:
        return User(self.build, self.group)


@dataclasses.dataclass(frozen=True, slots=True)
class Household:
    """The platform's own users: whom the agent runs as, and nginx, which is None where it runs as we do."""

    agent: User
    proxy: User | None = None

    @property
    def agent_words(self) -> str:
        """A capability, as it is really enforced."""
        return f"uid {self.agent.uid}" if self.agent.uid else "none: the agent is root, as the supervisor is"


Gone = Callable[[str, Identity], bool]


def parse_user(text: str) -> User:
    """A user as its two numbers, such as 998:998. Raises ValueError."""
    uid, _, gid = text.partition(":")
    if not (uid.isdecimal() and gid.isdecimal() and 0 < int(uid) <= LAST_UID and 0 < int(gid) <= LAST_UID):
        raise ValueError(f"cannot use {text!r} as the agent's user: write it as UID:GID, and not root's")
    return User(int(uid), int(gid))


def parse_span(text: str) -> range:
    """The first uids of the pairs in a range such as 200000-265535. Raises SpanError."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and FIRST_UID <= int(first) < int(last) <= LAST_UID):
        raise SpanError(f"cannot use {text!r} as a range of uids: write it as {EXAMPLE}, from {FIRST_UID} on")
    return range(int(first), int(last), PAIR)


class Identities:
    """`gone(service_id, identity)`: are its processes and its files gone? `owners`: who owns what, found on disk."""

    def __init__(
        self, file: pathlib.Path, span: range, clock: Clock, gone: Gone, owners: Callable[[], Mapping[str, int]]
    ) -> None:
        self._file, self._span, self._clock, self._gone = file, span, clock, gone
        self._used: dict[str, Identity] = {}
        self._resting: dict[int, str] = {}  # the first uid of the pair → whose it was
        self._since: dict[int, float] = {}
        self._next = span.start
        self._load(owners)

    def find(self, service_id: str) -> Identity | None:
        return self._used.get(service_id)

    def ensure(self, service_id: str) -> Identity:
        """The identity of the service, on disk before it is told. Raises OSError; ExhaustedError when none is left."""
        self.ensure_all([service_id])
        return self._used[service_id]

    @failpoints.around("identity.give")
    def ensure_all(self, service_ids: Iterable[str]) -> None:
        """`ensure` for several with one flush. When it raises, none of those without an identity got one."""
        wanted = [service_id for service_id in dict.fromkeys(service_ids) if service_id not in self._used]
        if not wanted:
            return
        before = dict(self._used), dict(self._resting), self._next
        try:
            for service_id in wanted:
                self._give(service_id)
            self._save()
        except OSError:
            self._used, self._resting, self._next = before
            raise

    def _give(self, service_id: str) -> None:
        uid = next(filter(self._is_free, self._candidates()), None)
        if uid is None:
            raise ExhaustedError("no uid is free; delete services that are not needed, or widen --uid-range")
        self._used[service_id] = Identity(uid)
        self._next = uid + PAIR
        self._resting.pop(uid, None)

    def release(self, service_id: str) -> None:
        """The service is forgotten; its identity rests. No-op when it has none. Raises OSError."""
        known = self._used.pop(service_id, None)
        if known is None:
            return
        self._rest(known.app, service_id)
        try:
            self._save()
        except OSError:
            self._used[service_id] = known
            del self._resting[known.app]
            raise

    def ledger(self) -> tuple[dict[str, int], dict[int, str]]:
        """(service → first uid) in use, (first uid → former service) at rest."""
        return {name: identity.app for name, identity in self._used.items()}, dict(self._resting)

    def _candidates(self) -> Iterator[int]:
        """From behind the one that was given last, around once."""
        start = self._span.index(self._next) if self._next in self._span else 0
        yield from self._span[start:]
        yield from self._span[:start]

    def _is_free(self, uid: int) -> bool:
        former = self._resting.get(uid)
        if former is None:
            return all(identity.app != uid for identity in self._used.values())
        rested = self._clock.monotonic() - self._since[uid] >= REST_S
        return rested and self._gone(former, Identity(uid))

    def _rest(self, uid: int, former: str) -> None:
        self._resting[uid] = former
        self._since[uid] = self._clock.monotonic()

    def _save(self) -> None:
        used, resting = self.ledger()
        value = {
            "format": FORMAT,
            "used": used,
            "resting": {str(uid): name for uid, name in resting.items()},
            "next": self._next,
        }
        atomic.write_bytes(self._file, checked.encode(value))

    def _load(self, owners: Callable[[], Mapping[str, int]]) -> None:
        """A file that cannot be believed is set aside; who owns what is then read off the directories themselves."""
        try:
            self._take(checked.decode(self._file.read_bytes()))
        except FileNotFoundError:
            self._recover(owners())
        except (ValueError, TypeError, ProtocolError) as error:
            note("identities.damaged", file=self._file, error=error)
            self._file.rename(self._file.with_name(f"{self._file.name}.damaged"))
            self._recover(owners())

    def _take(self, found: Any) -> None:
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}")
        used = {str(name): Identity(int(uid)) for name, uid in field(found, "used", dict).items()}
        resting = {int(uid): str(name) for uid, name in field(found, "resting", dict).items()}
        following = field(found, "next", int)
        if len({identity.app for identity in used.values()} | set(resting)) != len(used) + len(resting):
            raise ValueError("it gives a uid twice")
        self._used, self._next = used, following
        for uid, name in resting.items():
            self._rest(uid, name)

    def _recover(self, owners: Mapping[str, int]) -> None:
        self._used = {name: Identity(uid) for name, uid in owners.items() if uid in self._span}
        highest = max((identity.app for identity in self._used.values()), default=self._span.start - PAIR)
        self._next = highest + PAIR
        if self._used:
            self._save()
