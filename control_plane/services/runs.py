"""One-off commands in the environment of a service's live release."""

import dataclasses
from collections.abc import AsyncIterator

from control_plane import errors, ports
from control_plane.domain import grammar, health, instance, values
from control_plane.services.context import Context, service_of

MAX_COMMAND = 4096
DEFAULT_TIMEOUT_S = 60.0
MAX_TIMEOUT_S = 3600.0


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """A run that is written down and not started yet."""

    instance_id: str
    query: values.RunQuery


class Runs:
    """The use case of `/v1/services/:id/run`. Without `runs` there is no way to the instances."""

    def __init__(self, context: Context, runs: ports.Runs | None = None) -> None:
        self._context = context
        self._runs = runs

    async def begin(
        self, principal: values.Principal, id_or_name: str, command: str, timeout: object = DEFAULT_TIMEOUT_S
    ) -> Begun:
        """Write down that the command is run: who, where, and the program; not its arguments, which may hold secrets.

        ConflictError when nothing is live, UnavailableError when the instance is away.
        """
        timeout_s = _checked(command, timeout)
        run_id = self._context.ids.new("run")
        async with self._context.write() as tx:
            found = await service_of(tx, principal, id_or_name, "service:run")
            await self._demand_reachable(tx, found)
            words = f"run a command in service {found.name}"
            about = {"run": run_id, "program": _program(command), "release": found.observed.live_release}
            await self._context.audit(
                tx, principal, "service.run", found.id, project=found.project_id, summary=words, **about
            )
        return Begun(found.instance_id, values.RunQuery(run_id, found.id, command, timeout_s))

    def output(self, begun: Begun) -> AsyncIterator[values.RunOutput]:
        """Starts the command once it is asked for its first piece, see ports.Runs; closing it ends the command."""
        if self._runs is None:
            raise _away(begun.query.service_id, begun.instance_id)
        return self._runs.run(begun.instance_id, begun.query)

    async def _demand_reachable(self, tx: ports.Transaction, found: values.Service) -> None:
        host = await tx.find_instance(found.instance_id)
        if host is None or self._runs is None or not instance.is_online(host, self._context.clock.now()):
            raise _away(found.name, found.instance_id)
        if found.run is not values.Run.RUNNING or not found.observed.live_release:
            raise errors.ConflictError(
                f"cannot run a command in service {found.name!r}: no release of it is live; start or deploy it first",
                {"id": found.id, "desired": found.run.value},
            )


def _away(service: str, instance_id: str) -> errors.UnavailableError:
    return errors.UnavailableError(
        f"cannot run a command in service {service!r}: its instance is not connected; try again later",
        {"instance": instance_id},
    )


def command_issue(command: str) -> str:
    is_good = command.strip() and len(command) <= MAX_COMMAND and grammar.is_text(command)
    return "" if is_good else f"must be 1 to {MAX_COMMAND} printable characters"


def timeout_issue(timeout: object) -> str:
    seconds = health.seconds(timeout)
    is_good = seconds is not None and 1 <= seconds <= MAX_TIMEOUT_S
    return "" if is_good else f"must be 1 to {MAX_TIMEOUT_S:g} seconds"


def _checked(command: str, timeout: object) -> float:
    issues = {"command": command_issue(command), "timeout": timeout_issue(timeout)}
    problems = [{"field": field, "issue": issue} for field, issue in issues.items() if issue]
    if problems:
        raise errors.InvalidError.several("cannot run the command", problems)
    return health.seconds(timeout) or DEFAULT_TIMEOUT_S


def _program(command: str) -> str:
    """The first word that sets no variable, without its directory."""
    words = [word for word in command.split() if "=" not in word]
    return words[0].rpartition("/")[2][:64] if words else ""
