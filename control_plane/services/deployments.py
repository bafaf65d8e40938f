"""Deployments: declare, change, remove. Accepted means durable: each change is one transaction with its audit row."""

import dataclasses

from control_plane import errors, ports
from control_plane.domain import deployment as rules
from control_plane.domain import differences, instance, paging, release, values
from control_plane.domain.deployment import DeploymentChanges, DeploymentFields
from control_plane.services import events, lists, releases, views
from control_plane.services.context import Context, deployment_of, named_project, shown_projects


class Deployments:
    """The use cases of `/v1/deployments`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(self, principal: values.Principal, fields: DeploymentFields) -> values.DeploymentView:
        """Store deployment, service and release 1, and choose the instance. ConflictError when the name is taken."""
        config = rules.validated(fields, allow_file=self._context.allow_file_remotes)
        async with self._context.write() as tx:
            project = await named_project(tx, principal, fields.project, "deployment:write")
            host = await self._place(tx)
            new, service = self._declared(fields.name, project.id, config, host.id)
            if not await tx.insert_deployment(new):
                raise await _name_taken(tx, fields.name, project)
            await tx.insert_service(service)
            await tx.insert_release(releases.first(self._context, new))
            await self._context.audit(
                tx,
                principal,
                "deployment.created",
                new.id,
                project=project.id,
                summary=f"create deployment {new.name} in project {project.name}, on instance {host.name}",
                name=new.name,
                instance=host.id,
            )
            await events.emit(
                self._context, tx, "deployment.created", subject=new.id, project=project.id, name=new.name
            )
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
        """Merge `changes` and roll a new release out; (view, False) and nothing written when they change nothing."""
        async with self._context.write() as tx:
            old, service = await self.changeable(tx, principal, id_or_name)
            config = await self._merged(tx, old, changes)
            if config == old.config:
                return await views.load_one(self._context, tx, old), False
            new = await releases.roll_out(self._context, tx, old, service, config, "update")
            await _follow_port(tx, service, config.port)
            changed = differences.of_configs(old.config, config)
            await self._context.audit(
                tx,
                principal,
                "deployment.updated",
                old.id,
                project=old.project_id,
                summary=f"change {', '.join(one['field'] for one in changed)} of {old.name}: release {new.release}",
                release=new.release,
                changes=changed,
            )
            await events.emit(
                self._context,
                tx,
                "deployment.updated",
                subject=old.id,
                project=old.project_id,
                name=old.name,
                release=new.release,
            )
            view = await views.load_one(self._context, tx, new)
        self._context.wake(service.instance_id)
        return view, True

    async def redeploy(self, principal: values.Principal, id_or_name: str) -> values.DeploymentView:
        """Another release as declared: from what the branch is now, or the declared commit again."""
        async with self._context.write() as tx:
            old, service = await self.changeable(tx, principal, id_or_name)
            new = await releases.roll_out(self._context, tx, old, service, old.config, "redeploy")
            await self._context.audit(
                tx,
                principal,
                "deployment.redeployed",
                old.id,
                project=old.project_id,
                summary=f"deploy {old.name} again: release {new.release}",
                release=new.release,
            )
            view = await views.load_one(self._context, tx, new)
        self._context.wake(service.instance_id)
        return view

    async def delete(self, principal: values.Principal, id_or_name: str) -> values.DeploymentView:
        """Put the tombstone; the rows vanish when the agent confirms. Again on one that is going: the same answer."""
        async with self._context.write() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:write")
            self._context.match(found.generation)
            service = await releases.service_of(tx, found)
            if service.run is not values.Run.REMOVED:
                found = await self._tombstone(tx, found, service)
                await self._context.audit(
                    tx,
                    principal,
                    "deployment.deleted",
                    found.id,
                    project=found.project_id,
                    summary=f"delete deployment {found.name} with its routes",
                    name=found.name,
                )
            view = await views.load_one(self._context, tx, found)
        self._context.wake(service.instance_id)
        return view

    async def releases(self, principal: values.Principal, id_or_name: str) -> tuple[values.Release, ...]:
        """All releases, newest first."""
        async with self._context.store.read() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:read")
            return tuple(sorted(await tx.list_releases(found.id), key=lambda one: -one.number))

    async def release(self, principal: values.Principal, id_or_name: str, number: int) -> values.Release:
        async with self._context.store.read() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:read")
            one = await tx.get_release(found.id, number)
        if one is None:
            raise errors.NotFoundError(f"cannot find release {number} of deployment {found.name!r}")
        return one

    async def changeable(
        self, tx: ports.Transaction, principal: values.Principal, id_or_name: str, permission: str = "deployment:write"
    ) -> tuple[values.Deployment, values.Service]:
        """The deployment in the wanted generation, and its service; ConflictError when they are going already."""
        found = await deployment_of(tx, principal, id_or_name, permission)
        self._context.match(found.generation)
        service = await releases.service_of(tx, found)
        if service.run is values.Run.REMOVED:
            raise errors.ConflictError(
                f"cannot change deployment {found.name!r}: it is being deleted", {"id": found.id}
            )
        return found, service

    async def _place(self, tx: ports.Transaction) -> values.Instance:
        known = await tx.list_instances(None, paging.MAX_LIMIT)
        chosen = instance.place(known, await tx.count_services(), self._context.clock.now())
        if chosen is None:
            raise errors.UnavailableError("cannot place the deployment: no instance online; join one and try again")
        return chosen

    def _declared(
        self, name: str, project_id: str, config: values.Config, instance_id: str
    ) -> tuple[values.Deployment, values.Service]:
        ids, now = self._context.ids, self._context.clock.now()
        deployment_id, service_id = ids.new("dep"), ids.new("svc")
        deployment = values.Deployment(deployment_id, project_id, name, service_id, config, 1, now, now)
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
        )
        return deployment, service

    async def _merged(self, tx: ports.Transaction, old: values.Deployment, changes: DeploymentChanges) -> values.Config:
        project = await tx.find_project(old.project_id)
        same = project is not None and changes.project in {project.id, project.name}
        named = old.project_id if same else changes.project
        fields = rules.merged(old.name, old.project_id, old.config, dataclasses.replace(changes, project=named))
        return rules.validated(fields, allow_file=self._context.allow_file_remotes)

    async def _tombstone(
        self, tx: ports.Transaction, found: values.Deployment, service: values.Service
    ) -> values.Deployment:
        now = self._context.clock.now()
        for route in (await tx.routes_of([service.id])).get(service.id, ()):
            await tx.delete_route(route.id)
        await releases.end_unfinished(tx, found, release.State.CANCELLED, "the deployment is being deleted", now)
        changed = dataclasses.replace(
            service, run=values.Run.REMOVED, generation=service.generation + 1, updated_at=now
        )
        await tx.update_service(changed)
        marked = dataclasses.replace(found, generation=found.generation + 1, updated_at=now)
        await tx.update_deployment(marked)
        return marked


async def _follow_port(tx: ports.Transaction, service: values.Service, port: int) -> None:
    """Routes name the declared port; when that changes they go along."""
    for route in (await tx.routes_of([service.id])).get(service.id, ()):
        if route.port != port:
            await tx.update_route(dataclasses.replace(route, port=port))


async def _name_taken(tx: ports.Transaction, name: str, project: values.Project) -> errors.ConflictError:
    taken = await tx.find_deployment(name, project.id)
    details = {"id": taken.id, "hint": f"change it with PUT /v1/deployments/{taken.id}"} if taken else {}
    return errors.ConflictError(
        f"cannot create deployment {name!r}: the name is taken in project {project.name!r}; change it with PUT", details
    )
