"""The environment of a service: variables, secrets, and the history of their changes. No value of a secret leaves here."""

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Literal, TypeVar

from control_plane import errors, ports
from control_plane.domain import paging, values, variables
from control_plane.services import events, releases
from control_plane.services.context import Context, service_of

Apply = Literal["now", "next"]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Environment:
    """All variables of a service, in the generation of that service."""

    service: values.Service
    variables: variables.Variables

    @property
    def generation(self) -> int:
        return self.service.generation


@dataclasses.dataclass(frozen=True, slots=True)
class _Loaded:
    service: values.Service
    deployment: values.Deployment
    newest: values.Release | None


class Env:
    """The use cases of `/v1/services/:id/env`.

    A change makes a release that uses the newest build again (`apply` now), or waits for the next release (next). One
    that changes nothing makes no release, unless an earlier change still waits for one.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(
        self,
        principal: values.Principal,
        id_or_name: str,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> tuple[values.Page, int]:
        """One page of variables by key, and the generation of the service."""
        after, limit = _key_of(cursor), paging.checked_limit(limit)
        found = await self._read(principal, id_or_name)
        rest = [one for one in found.variables if one.key > after]
        following = paging.encode(rest[limit - 1].key) if len(rest) > limit else None
        return values.Page(tuple(rest[:limit]), following), found.generation

    async def get(self, principal: values.Principal, id_or_name: str, key: str) -> tuple[values.Variable, int]:
        found = await self._read(principal, id_or_name)
        return _found(found.variables, key, found.service), found.generation

    async def set(
        self, principal: values.Principal, id_or_name: str, wanted: variables.Wanted, apply: Apply = "now"
    ) -> tuple[values.Variable, Environment, bool]:
        """The variable as it is now, with what it is among, and whether it is new."""
        async with self._context.write() as tx:
            loaded = await self._changeable(tx, principal, id_or_name)
            before = loaded.deployment.config.env
            after = variables.with_one(before, wanted)
            done = await self._change(tx, principal, loaded, after, apply)
        self._context.wake(loaded.service.instance_id)
        return _found(after, wanted.key, loaded.service), done, variables.find(before, wanted.key) is None

    async def replace(
        self, principal: values.Principal, id_or_name: str, wanted: Iterable[variables.Wanted], apply: Apply = "now"
    ) -> Environment:
        """Exactly these variables. Nothing of it is done when one of them is wrong."""
        async with self._context.write() as tx:
            loaded = await self._changeable(tx, principal, id_or_name)
            after = variables.replaced(loaded.deployment.config.env, tuple(wanted))
            done = await self._change(tx, principal, loaded, after, apply)
        self._context.wake(loaded.service.instance_id)
        return done

    async def unset(self, principal: values.Principal, id_or_name: str, key: str, apply: Apply = "now") -> None:
        """NotFoundError when there is none."""
        async with self._context.write() as tx:
            loaded = await self._changeable(tx, principal, id_or_name)
            before = loaded.deployment.config.env
            _found(before, key, loaded.service)
            await self._change(tx, principal, loaded, variables.without(before, key), apply)
        self._context.wake(loaded.service.instance_id)

    async def history(
        self,
        principal: values.Principal,
        id_or_name: str,
        key: str | None = None,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        """Who set or deleted which variable, newest first; no values."""
        before, limit = _sequence_of(cursor), paging.checked_limit(limit)
        async with self._context.store.read() as tx:
            found = await service_of(tx, principal, id_or_name, "env:read")
            rows = [one async for one in _lines(tx, found.id, key, before, limit + 1)]
        following = paging.encode(str(rows[limit - 1].sequence)) if len(rows) > limit else None
        return values.Page(tuple(rows[:limit]), following)

    async def _read(self, principal: values.Principal, id_or_name: str) -> Environment:
        async with self._context.store.read() as tx:
            found = await service_of(tx, principal, id_or_name, "env:read")
            deployment = await _deployment_of(tx, found)
        return Environment(found, deployment.config.env)

    async def _changeable(self, tx: ports.Transaction, principal: values.Principal, id_or_name: str) -> _Loaded:
        service = await service_of(tx, principal, id_or_name, "env:write")
        self._context.match(service.generation)
        if service.run is values.Run.REMOVED:
            raise errors.ConflictError(
                f"cannot change the environment of {service.name!r}: it is being deleted", {"id": service.id}
            )
        deployment = await _deployment_of(tx, service)
        return _Loaded(service, deployment, await tx.get_release(deployment.id, deployment.release))

    async def _change(
        self, tx: ports.Transaction, principal: values.Principal, old: _Loaded, env: variables.Variables, apply: Apply
    ) -> Environment:
        """Store `env` when it is another one, with its history, audit and event; and roll out what waits for that."""
        differences = variables.changes(old.deployment.config.env, env)
        waits = old.newest is None or old.newest.config.env != env
        if not differences and not (apply == "now" and waits):
            return Environment(old.service, env)
        config = dataclasses.replace(old.deployment.config, env=env)
        if apply == "now":
            build = await releases.build_to_use(tx, old.deployment, config)
            await releases.roll_out(self._context, tx, old.deployment, old.service, config, "env", build)
        else:
            await self._keep_for_later(tx, old, config)
        release = old.deployment.release + 1
        await note_changes(self._context, tx, principal.user_id, old.service, differences, release)
        await self._tell(tx, principal, old, differences, release, apply)
        return Environment(await releases.service_of(tx, old.deployment), env)

    async def _keep_for_later(self, tx: ports.Transaction, old: _Loaded, config: values.Config) -> None:
        now = self._context.clock.now()
        deployment, service = old.deployment, old.service
        await tx.update_deployment(
            dataclasses.replace(deployment, config=config, generation=deployment.generation + 1, updated_at=now)
        )
        await tx.update_service(self._context.wished(service))

    async def _tell(
        self,
        tx: ports.Transaction,
        principal: values.Principal,
        old: _Loaded,
        differences: tuple[variables.Change, ...],
        release: int,
        apply: Apply,
    ) -> None:
        words = ", ".join(f"{'set' if one.action == 'set' else 'delete'} {one.key}" for one in differences)
        when = f"release {release}" if apply == "now" else "with the next release"
        name, project = old.deployment.name, old.deployment.project_id
        await self._context.audit(
            tx,
            principal,
            "env.changed",
            old.service.id,
            project=project,
            summary=f"{words or 'roll out the variables that wait'} of {name}: {when}",
            apply=apply,
            release=release,
            changes=[dataclasses.asdict(one) for one in differences],
        )
        about = {"name": name, "service_id": old.service.id, "release": release if apply == "now" else None}
        await events.emit(self._context, tx, "deployment.updated", subject=old.deployment.id, project=project, **about)


async def note_changes(
    context: Context,
    tx: ports.Transaction,
    actor: str,
    service: values.Service,
    differences: Iterable[variables.Change],
    release: int,
) -> None:
    """Write the history of a service's variables. For whoever changes them: here, and by a change of the deployment."""
    for one in differences:
        line = values.EnvChange(service.id, context.clock.now(), actor, one.key, one.action, one.secret, release)
        await tx.append_env_change(line)


async def _deployment_of(tx: ports.Transaction, service: values.Service) -> values.Deployment:
    found = await tx.find_deployment(service.deployment_id)
    if found is None:
        raise errors.NotFoundError(f"cannot find the deployment of service {service.name!r}: it was just deleted")
    return found


async def _lines(
    tx: ports.Transaction, service_id: str, key: str | None, before: int | None, wanted: int
) -> AsyncIterator[values.EnvChange]:
    """Up to `wanted` lines of the history, those of `key` alone when it is given."""
    left = wanted
    while left:
        rows = await tx.list_env_changes(service_id, before, paging.MAX_LIMIT)
        for row in rows:
            if left and key in {None, row.key}:
                left -= 1
                yield row
        if len(rows) < paging.MAX_LIMIT:
            return
        before = rows[-1].sequence


def _found(env: variables.Variables, key: str, service: values.Service) -> values.Variable:
    found = variables.find(env, key)
    if found is None:
        raise errors.NotFoundError(
            f"cannot find variable {key[:128]!r} of service {service.name!r}; list them with GET /v1/services/"
            f"{service.id}/env"
        )
    return found


def _key_of(cursor: str | None) -> str:
    return "" if cursor is None else _decoded(cursor, str)


def _sequence_of(cursor: str | None) -> int | None:
    return None if cursor is None else _decoded(cursor, int)


def _decoded(cursor: str, kind: Callable[[str], T]) -> T:
    try:
        return kind(paging.text_of(cursor))
    except ValueError:
        raise paging.refused() from None
