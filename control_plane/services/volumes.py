"""The volumes of a service: which it has, and their content from and to the instance that holds it.

Both ways are written down before they begin: a backup is all that an application stored. What a restore brings takes the
volume's place on the instance, or nothing does; here it is only passed on.
"""

import contextlib
import dataclasses
import errno
from collections.abc import AsyncGenerator, Sequence

from control_plane import errors, ports
from control_plane.domain import instance, paging, values, volumes
from control_plane.services.archives import Archives
from control_plane.services.context import Context, service_of

BACKUP_S = 3600.0
RESTORE_S = 900.0
MAX_WORDS = 1000
GOOD = ("exited", 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """What is written down and not started yet; `mount` is that of its volume."""

    instance_id: str
    query: values.VolumeQuery
    mount: str


class Volumes:
    """The use cases of `/v1/services/:id/volumes`. Without `runs` there is no way to the instances."""

    def __init__(self, context: Context, archives: Archives, runs: ports.Runs | None = None) -> None:
        self._context, self._archives, self._runs = context, archives, runs

    async def list(
        self,
        principal: values.Principal,
        id_or_name: str,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        """One page of (name, mount), by name."""
        after, limit = _name_of(cursor), paging.checked_limit(limit)
        async with self._context.store.read() as tx:
            found = await _volumes_of(tx, await service_of(tx, principal, id_or_name, "service:read"))
        rest = [one for one in found if one[0] > after]
        following = paging.encode(rest[limit - 1][0]) if len(rest) > limit else None
        return values.Page(tuple(rest[:limit]), following)

    async def begin_backup(self, principal: values.Principal, id_or_name: str, name: str) -> Begun:
        async with self._context.write() as tx:
            found = await service_of(tx, principal, id_or_name, "volume:read")
            return await self._begin(tx, principal, found, name, "")

    async def backup(self, begun: Begun) -> AsyncGenerator[bytes, None]:
        """The volume as a tar.gz, read as it is asked for; closing it ends the reading.

        Raises UnavailableError when not all of it can be had; what came until then is no backup.
        """
        words = ""
        async with contextlib.aclosing(self._output(begun)) as output:
            async for piece in output:
                if piece.outcome and (piece.outcome, piece.code) != GOOD:
                    raise _unavailable(begun, words or f"it {piece.outcome} {piece.code}")
                if piece.stream == "stdout":
                    yield piece.data
                else:
                    words = (words + piece.data.decode(errors="replace")).strip()[:MAX_WORDS]

    async def demand_restorable(self, principal: values.Principal, id_or_name: str, name: str) -> None:
        """Raises what `begin_restore` would, before anybody sends an archive."""
        async with self._context.store.read() as tx:
            found = await service_of(tx, principal, id_or_name, "volume:write")
            await _mount_of(tx, found, name)
            await self._demand_stopped(tx, found, name)

    async def begin_restore(self, principal: values.Principal, id_or_name: str, name: str, archive: str) -> Begun:
        """ConflictError unless the service is stopped."""
        async with self._context.write() as tx:
            found = await service_of(tx, principal, id_or_name, "volume:write")
            begun = await self._begin(tx, principal, found, name, archive)
            await self._demand_stopped(tx, found, name)
            return begun

    async def restore(self, begun: Begun) -> None:
        """Returns when the volume is what the archive holds. Raises InvalidError for an archive that is not good,
        ConflictError when the service is not stopped, UnavailableError; then the volume is as it was.
        """
        words = ""
        with self._archives.lent(begun.instance_id, begun.query.archive):
            async with contextlib.aclosing(self._output(begun)) as output:
                async for piece in output:
                    words = (words + piece.data.decode(errors="replace")).strip()[:MAX_WORDS]
                    if piece.outcome and (piece.outcome, piece.code) != GOOD:
                        raise _not_restored(begun, piece, words)

    async def _begin(
        self, tx: ports.Transaction, principal: values.Principal, found: values.Service, name: str, archive: str
    ) -> Begun:
        mount = await _mount_of(tx, found, name)
        run_id, what = self._context.ids.new("run"), "restore" if archive else "backup"
        await self._demand_reachable(tx, found, name)
        words = f"{'restore' if archive else 'back up'} the volume {name} of service {found.name}"
        about = {"run": run_id, "volume": name, **({"archive": archive} if archive else {})}
        await self._context.audit(
            tx, principal, f"volume.{what}", found.id, project=found.project_id, summary=words, **about
        )
        timeout_s = RESTORE_S if archive else BACKUP_S
        return Begun(found.instance_id, values.VolumeQuery(run_id, found.id, name, archive, timeout_s), mount)

    async def _demand_reachable(self, tx: ports.Transaction, found: values.Service, name: str) -> None:
        host = await tx.find_instance(found.instance_id)
        if host is None or self._runs is None or not instance.is_online(host, self._context.clock.now()):
            raise errors.UnavailableError(
                f"cannot reach the volume {name} of service {found.name!r}: its instance is not connected; try again "
                "later",
                {"instance": found.instance_id},
            )

    async def _demand_stopped(self, tx: ports.Transaction, found: values.Service, name: str) -> None:
        await self._demand_reachable(tx, found, name)
        if found.run is not values.Run.STOPPED or found.observed.processes:
            still = (
                "is still stopping; wait for it" if found.run is values.Run.STOPPED else "is not stopped; stop it first"
            )
            raise errors.ConflictError(
                f"cannot restore the volume {name}: the service {found.name!r} {still}, with POST "
                f"/v1/services/{found.id}/stop",
                {"id": found.id, "desired": found.run.value},
            )

    def _output(self, begun: Begun) -> AsyncGenerator[values.RunOutput, None]:
        if self._runs is None:
            raise _unavailable(begun, "there is no way to instances here")
        return self._runs.run(begun.instance_id, begun.query)


def _name_of(cursor: str | None) -> str:
    try:
        name = "" if cursor is None else paging.text_of(cursor)
    except ValueError:
        raise paging.refused() from None
    if cursor is not None and volumes.name_issue(name):
        raise paging.refused()
    return name


async def _volumes_of(tx: ports.Transaction, found: values.Service) -> Sequence[tuple[str, str]]:
    """Those that are declared, else those that the source of the live release (or the newest one) asks for."""
    deployment = await tx.find_deployment(found.deployment_id)
    if deployment is None:
        return ()
    if deployment.config.volumes or "volumes" in deployment.config.given:
        return deployment.config.volumes
    release = await tx.get_release(deployment.id, found.observed.live_release or deployment.release)
    return volumes.decided(release.decided) if release else ()


async def _mount_of(tx: ports.Transaction, found: values.Service, name: str) -> str:
    known = dict(await _volumes_of(tx, found))
    if name not in known:
        raise errors.NotFoundError(
            f"cannot find a volume {name[:64]!r} of service {found.name!r}; list them with GET "
            f"/v1/services/{found.id}/volumes"
        )
    return known[name]


def _unavailable(begun: Begun, words: str) -> errors.UnavailableError:
    return errors.UnavailableError(
        f"cannot run {begun.query.what}: {words[:MAX_WORDS]}; try again later", {"instance": begun.instance_id}
    )


def _not_restored(begun: Begun, piece: values.RunOutput, words: str) -> errors.DployrError:
    """The unpacker's own sentence says what is wrong with the archive; all else is the host's, or that something ran."""
    if piece.outcome == "start_failed" and piece.code == errno.EBUSY:
        return errors.ConflictError(f"cannot restore the volume {begun.query.volume}, it is as it was: {words}")
    if piece.outcome == "exited" and words.startswith("cannot restore the volume: "):
        return errors.InvalidError.field(words, "body", words.partition(": ")[2])
    return _unavailable(begun, words or f"it {piece.outcome} {piece.code}")
