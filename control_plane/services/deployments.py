"""Deployments: declare, change, remove. Accepted means durable: each change is one transaction with its audit row."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from control_plane import errors, ports
from control_plane.domain import deployment as rules
from control_plane.domain import differences, origin, paging, values
from control_plane.domain.deployment import DeploymentChanges, DeploymentFields
from control_plane.services import deploy_keys, lists, placement, releases, removal, views
from control_plane.services.context import deployment_of, named_project, shown_projects
from control_plane.services.going_back import follow_port
from control_plane.services.rollouts import Rollouts


class Deployments(Rollouts):
    """The use cases of `/v1/deployments`."""

    async def create(self, principal: values.Principal, fields: DeploymentFields) -> values.DeploymentView:
        """Store deployment, service and release 1, and choose the instance. ConflictError when the name is taken."""
        async with self._context.write() as tx:
            project, problems = await _project(tx, principal, fields.project)
            host, config, why = await placement.choose(self._context, tx, fields, problems)
            if project is None:  # cannot be: its problem was told
                raise rules.refused(problems)
            config = deploy_keys.with_key(self._context.ids, fields.name, config)
            new, service = self._declared(fields, project.id, config, host.id)
            if not await tx.insert_deployment(new):
                raise await _name_taken(tx, fields.name, project)
            await tx.insert_service(service)
            await tx.insert_release(releases.first(self._context, new))
            await self._note_env(tx, principal, service, None, new)
            words = f"create deployment {new.name} in project {project.name}, on instance {host.name}: {why}"
            await self._note(
                tx, principal, "deployment.created", new, words, name=new.name, instance=host.id, reason=why
            )
            await self._emit(tx, "deployment.created", new)
            view = await views.load_one(self._context, tx, new)
        self._context.wake(host.id)
        return view

    async def list(
        self,
        principal: values.Principal,
        project: str | None = None,
        name: str | None = None,
        status: str | None = None,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        """One page of views, oldest first."""
        wanted, limit = views.checked_status(status), paging.checked_limit(limit)
        async with self._context.store.read() as tx:
            projects = await shown_projects(tx, principal, "deployment:read", project)
            found: list[values.DeploymentView] = []
            after = paging.decode(cursor)
            while len(found) <= limit:
                batch = views.LIST_BATCH if wanted else limit + 1
                rows = await tx.list_deployments(projects, name, after, batch)
                loaded = await views.load(self._context, tx, rows)
                found += [view for view in loaded if wanted in {None, view.status}]
                if len(rows) < batch:
                    break
                after = paging.position(rows[-1].created_at, rows[-1].id)
        more = len(found) > limit
        return values.Page(tuple(found[:limit]), lists.cursor_of(found[limit - 1].deployment) if more else None)

    async def get(self, principal: values.Principal, id_or_name: str) -> values.DeploymentView:
        async with self._context.store.read() as tx:
            return await views.load_one(
                self._context, tx, await deployment_of(tx, principal, id_or_name, "deployment:read")
            )

    async def update(
        self, principal: values.Principal, id_or_name: str, changes: DeploymentChanges
    ) -> tuple[values.DeploymentView, bool]:
        """Merge `changes` and roll a new release out; (view, False) and nothing written when they change nothing.

        What only describes the deployment changes without a release.
        """
        async with self._context.write() as tx:
            old, service = await self.changeable(tx, principal, id_or_name)
            config = await self._merged(tx, old, service, changes)
            wanted = dataclasses.replace(old, poll=old.poll if changes.poll is None else changes.poll)
            same_origins = origin.of_config(config) == origin.of_config(old.config)
            if (config, wanted.poll) == (old.config, old.poll) and same_origins:
                return await views.load_one(self._context, tx, old), False
            if rules.needs_release(old.config, config):
                new = await releases.roll_out(self._context, tx, wanted, service, config, "update")
                await follow_port(tx, service, config.port)
            else:
                new = await self._described(tx, dataclasses.replace(wanted, config=config), service)
            await self._note_env(tx, principal, service, old.config, new)
            await self._tell_update(tx, principal, old, new)
            view = await views.load_one(self._context, tx, new)
        self._context.wake(service.instance_id)
        return view, True

    async def delete(self, principal: values.Principal, id_or_name: str) -> values.DeploymentView:
        """Put the tombstone; the rows vanish when the agent confirms. Again on one that is going: the same answer."""
        async with self._context.write() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:write")
            self._context.match(found.generation)
            service = await releases.service_of(tx, found)
            if service.run is not values.Run.REMOVED:
                found = await removal.put_tombstone(self._context, tx, principal, found, service)
            return await views.load_one(self._context, tx, found)

    async def releases(
        self,
        principal: values.Principal,
        id_or_name: str,
        cursor: str | None = None,
        limit: int = paging.DEFAULT_LIMIT,
    ) -> values.Page:
        """One page of releases, newest first."""
        limit = paging.checked_limit(limit)
        before = releases.number_of(paging.decode(cursor))
        async with self._context.store.read() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:read")
            rows = await tx.releases_below(found.id, before, limit + 1)
        last = rows[limit - 1] if len(rows) > limit else None
        following = paging.encode(paging.position(last.created_at, str(last.number))) if last is not None else None
        return values.Page(tuple(rows[:limit]), following)

    async def release(self, principal: values.Principal, id_or_name: str, number: int) -> values.Release:
        async with self._context.store.read() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:read")
            return await releases.release_of(tx, found, number)

    async def difference(
        self, principal: values.Principal, id_or_name: str, old: int, new: int
    ) -> tuple[values.Release, values.Release, Sequence[dict[str, Any]]]:
        """Two releases, and what differs between their configurations; secrets differ in silence."""
        async with self._context.store.read() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:read")
            first = await releases.release_of(tx, found, old)
            second = await releases.release_of(tx, found, new)
        return first, second, differences.of_configs(first.config, second.config)

    def _declared(
        self, fields: DeploymentFields, project_id: str, config: values.Config, instance_id: str
    ) -> tuple[values.Deployment, values.Service]:
        ids, now = self._context.ids, self._context.clock.now()
        deployment_id, service_id, name = ids.new("dep"), ids.new("svc"), fields.name
        deployment = values.Deployment(
            deployment_id, project_id, name, service_id, config, 1, now, now, poll=fields.poll
        )
        service = values.Service(
            id=service_id,
            deployment_id=deployment_id,
            project_id=project_id,
            name=name,
            instance_id=instance_id,
            run=values.Run.RUNNING,
            restart=0,
            generation=1,
            acknowledged=0,
            observed=values.Observed(),
            created_at=now,
            updated_at=now,
            request_id=self._context.request_id,
        )
        return deployment, service

    async def _merged(
        self, tx: ports.Transaction, old: values.Deployment, service: values.Service, changes: DeploymentChanges
    ) -> values.Config:
        project = await tx.find_project(old.project_id)
        same = project is not None and changes.project in {project.id, project.name}
        named = old.project_id if same else changes.project
        fields = rules.merged(old.name, old.project_id, old.config, dataclasses.replace(changes, project=named))
        config = await placement.checked(self._context, tx, service, fields, changes)
        return deploy_keys.with_key(self._context.ids, old.name, config, old.config)

    async def _described(
        self, tx: ports.Transaction, wanted: values.Deployment, service: values.Service
    ) -> values.Deployment:
        """Changed without a release. The instance is told too: it may be the polling that changed."""
        return await releases.changed(self._context, tx, wanted, service)

    async def _tell_update(
        self, tx: ports.Transaction, principal: values.Principal, old: values.Deployment, new: values.Deployment
    ) -> None:
        changed = differences.of_configs(old.config, new.config)
        if old.poll != new.poll:
            changed.append({"field": "poll", "from": old.poll, "to": new.poll})
        released = f": release {new.release}" if new.release != old.release else ""
        what = ", ".join(one["field"] for one in changed)
        words = f"change {what} of {old.name}{released}" if what else f"declare defaults of {old.name} as they are"
        await self._note(tx, principal, "deployment.updated", new, words, changes=differences.without_values(changed))
        await self._emit(tx, "deployment.updated", new, release=new.release)


async def _project(
    tx: ports.Transaction, principal: values.Principal, name: str
) -> tuple[values.Project | None, list[rules.Problem]]:
    """The project, or what is wrong with its name, to be told with the other faults."""
    try:
        return await named_project(tx, principal, name, "deployment:write"), []
    except errors.InvalidError as error:
        return None, [error.details]


async def _name_taken(tx: ports.Transaction, name: str, project: values.Project) -> errors.ConflictError:
    taken = await tx.find_deployment(name, project.id)
    details = {"id": taken.id, "hint": f"change it with PUT /v1/deployments/{taken.id}"} if taken else {}
    return errors.ConflictError(
        f"cannot create deployment {name!r}: the name is taken in project {project.name!r}; change it with PUT", details
    )
