"""Whether each service has users of its own here, and which. Asked before every start; says no with a reason."""

import contextlib
import os
from collections.abc import Collection
from typing import Protocol

from node_agent.clock import Clock
from node_agent.paths import Paths
from node_agent.supervisor import estates, fence, identities, rooms
from node_agent.supervisor.identities import Household, Identities, Identity, User
from node_agent.supervisor.loop import note
from node_agent.supervisor.rooms import Room

OFF = "none"
LEAST_PAIRS = 2


class Isolation(Protocol):
    """`words` and `tmp_words` are capabilities, as they are really enforced."""

    words: str
    tmp_words: str
    household: Household

    def expect(self, service_ids: Collection[str]) -> None:
        """Programs of all these are about to be started: what must be on disk before is written once. Raises OSError."""
        ...

    def of(self, service_id: str) -> Identity | None:
        """Whom the service's programs run as, its directories made; None: as ourselves. Raises OSError."""
        ...

    def make_volumes(self, service_id: str, names: Collection[str]) -> None:
        """Make those of the service that are not there yet, once `of` was asked. Raises OSError."""
        ...

    def make_draft(self, service_id: str, name: str) -> None:
        """Make the empty directory that a volume is restored into. Raises OSError."""
        ...

    def prepare_build(self, service_id: str, release: int) -> None:
        """Make the places that the agent fills for a release, and the log it writes to. Raises OSError."""
        ...

    def prepare_proxy(self, generation: int) -> None:
        """Let nginx read a generation of its configuration. Raises OSError."""
        ...

    def room(self, service_id: str, user: User | None) -> Room | None:
        """Where a program of the service that runs as `user` has its own /tmp; None: it has that of all. Raises OSError."""
        ...

    def forget(self, service_id: str) -> None:
        """Nothing of the service runs any more. Raises OSError."""
        ...


class NoIsolation:
    """Every program runs as we do."""

    def __init__(self, why: str, paths: Paths) -> None:
        self._paths = paths
        self.words = self.tmp_words = f"none: {why}"
        self.household = Household(User(os.getuid(), os.getgid()))

    def expect(self, service_ids: Collection[str]) -> None:
        """Nothing is written for any."""

    def of(self, service_id: str) -> Identity | None:  # noqa: ARG002 - the same for all
        return None

    def make_volumes(self, service_id: str, names: Collection[str]) -> None:
        for name in names:
            estates.recover_volume(self._paths, service_id, name)
            self._paths.volume(service_id, name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def make_draft(self, service_id: str, name: str) -> None:
        self._paths.volume_draft(service_id, name).mkdir(mode=0o700)

    def prepare_build(self, service_id: str, release: int) -> None:  # noqa: ARG002 - the same for all
        """Whoever builds is whom we run as, and makes them. What a service with a user of its own left is no longer for that
        one's group alone: apps could write into the files that releases share.
        """
        with contextlib.suppress(FileNotFoundError):
            os.chown(self._paths.releases(service_id), -1, self.household.agent.gid, follow_symlinks=False)

    def prepare_proxy(self, generation: int) -> None:
        """It reads what we may read."""

    def room(self, service_id: str, user: User | None) -> Room | None:  # noqa: ARG002 - the same for all
        return None

    def forget(self, service_id: str) -> None:
        """Nothing was kept."""


class Users:
    """A pair of uids for each service, the last one of the range for nginx. Raises OSError when made where directories
    cannot be put right.
    """

    def __init__(self, paths: Paths, span: range, clock: Clock, agent: User) -> None:
        span, last = span[:-1], span[-1]
        self.household = Household(agent, User(last, last))
        self.words = f"users: a uid for each app and one for its builds, from {span.start} on; {_fence()}"
        self._paths = paths
        self._rooms, self.tmp_words = rooms.open_rooms(paths.root)
        estates.open_up(paths, self.household)
        self._identities = Identities(
            paths.identities,
            span,
            clock,
            lambda service_id, identity: estates.gone(paths, service_id, identity),
            lambda: estates.owners(paths),
        )
        self._demand_apart(last)
        self._settled: set[str] = set()
        for service_id in self._identities.ledger()[0]:
            self._settle_again(service_id)

    def _demand_apart(self, proxy: int) -> None:
        """Of a range that was another before: no uid of a service may become the proxy's, or another service's too."""
        used, resting = self._identities.ledger()
        for service_id, uid in used.items():
            if uid == proxy:
                raise identities.SpanError(f"cannot end the range of uids at the pair {uid}: it is {service_id}'s")
        for uid in (*used.values(), *resting):
            if (proxy - uid) % identities.PAIR:
                raise identities.SpanError(
                    f"cannot use this range of uids: it cuts through the pair {uid}; begin it one later"
                )

    def expect(self, service_ids: Collection[str]) -> None:
        self._identities.ensure_all(service_ids)

    def of(self, service_id: str) -> Identity | None:
        identity = self._identities.ensure(service_id)
        if service_id not in self._settled or not self._paths.home(service_id).is_dir():
            estates.settle(self._paths, service_id, identity, self.household)
            self._settled.add(service_id)
        return identity

    def _settle_again(self, service_id: str) -> None:
        """Another user of the agent than before must find all that is there. A failure is met again, and told, at a start."""
        try:
            if self._paths.releases(service_id).lstat().st_uid != self.household.agent.uid:
                self.of(service_id)
        except FileNotFoundError:
            pass  # nothing was built for it yet
        except OSError as error:
            note("isolation.not_settled", service=service_id, error=error)

    def make_volumes(self, service_id: str, names: Collection[str]) -> None:
        if names and (identity := self._identities.find(service_id)):
            estates.make_volumes(self._paths, service_id, names, identity)

    def make_draft(self, service_id: str, name: str) -> None:
        if identity := self._identities.find(service_id):
            estates.make_draft(self._paths, service_id, name, identity)

    def prepare_build(self, service_id: str, release: int) -> None:
        self.of(service_id)
        estates.open_build_log(self._paths, service_id, release, self.household)

    def prepare_proxy(self, generation: int) -> None:
        estates.open_generation(self._paths, generation, self.household)

    def room(self, service_id: str, user: User | None) -> Room | None:
        identity = self._identities.find(service_id)
        if self._rooms is None or identity is None or user is None:
            return None
        of = self._paths.tmp if user == identity.app_user else self._paths.build_tmp
        return self._rooms.room(str(of(service_id)))

    def forget(self, service_id: str) -> None:
        if self._rooms is not None:
            for of in (self._paths.tmp, self._paths.build_tmp):
                self._rooms.forget(str(of(service_id)))
        self._settled.discard(service_id)
        self._identities.release(service_id)


def open_isolation(paths: Paths, span: str, clock: Clock, agent: str = "") -> Isolation:
    """As this host allows. `span`: a range of uids, or "none"; `agent`: whom it runs as, "" for whom we run as.

    Raises ValueError, OSError; also where the agent cannot have a user of its own because apps cannot.
    """
    found = _isolation(paths, span, clock, identities.parse_user(agent) if agent else User(os.getuid(), os.getgid()))
    if agent and isinstance(found, NoIsolation):
        raise ValueError(f"cannot let the agent run as another user: apps have none either ({found.words})")
    return found


def _isolation(paths: Paths, span: str, clock: Clock, agent: User) -> Isolation:
    if span == OFF:
        return NoIsolation("it was turned off with --uid-range none", paths)
    uids = identities.parse_span(span)
    if os.geteuid():
        return NoIsolation("every app runs as the supervisor's user, who is not root", paths)
    if closed := estates.obstacle(paths.root):
        note("isolation.refused", closed=closed)
        return NoIsolation(
            f"other users cannot enter {closed}, above the data directory; use another, or open it", paths
        )
    if len(uids) < LEAST_PAIRS:
        raise identities.SpanError(f"cannot use {span!r} as a range of uids: a service and the proxy take two each")
    if any(uids.start <= number <= uids.stop for number in (agent.uid, agent.gid)):
        raise identities.SpanError(f"cannot use {span!r} as a range of uids: the agent's user or group is in it")
    return Users(paths, uids, clock, agent)


def _fence() -> str:
    try:
        fence.raise_up()
    except OSError as error:
        note("fence.refused", error=error)
        return f"user namespaces as the host allows them ({error})"
    return "no user namespaces"
