"""Push-to-deploy: the addresses that git hosts call, and what their calls do.

An address holds a token, of which only the digest is stored; the body is signed with a secret. Whoever knows no token
learns nothing: every refusal of an address is the same.
"""

import base64
import dataclasses
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from control_plane import errors, ports
from control_plane.domain import push, release, values
from control_plane.services import events, releases
from control_plane.services.context import Context, deployment_of

TOKEN_BYTES = 32
NO_DIGEST = hashlib.sha256(b"").hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class NewHook:
    """The one time that token and secret are shown."""

    deployment: values.Deployment
    url: str = dataclasses.field(repr=False)
    secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A deployment's hook for everybody's eyes: whether there is one, and its address without the token."""

    deployment: values.Deployment
    exists: bool
    url: str


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """`release` is None when nothing is deployed; then `reason` says why."""

    release: int | None = None
    reason: str = ""


class Hooks:
    """The use cases of `/v1/deployments/:id/hook` and `/v1/hooks`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(self, principal: values.Principal, id_or_name: str) -> NewHook:
        """Make the hook, or a new token and secret for it: the former ones are refused from now on."""
        token, secret = self._context.ids.secret(TOKEN_BYTES), _secret(self._context.ids.secret(TOKEN_BYTES))
        async with self._context.write() as tx:
            old = await self._changeable(tx, principal, id_or_name)
            if old.config.source != "remote":
                raise errors.ConflictError(
                    f"cannot make a hook for {old.name!r}: its source is uploaded, not fetched", {"id": old.id}
                )
            verb = "replace" if old.hook_digest else "make"
            changed = await self._change(tx, old, digest_of(token), secret)
            await self._audit(tx, principal, changed, "hook.created", f"{verb} the hook of {old.name}")
        return NewHook(changed, f"{self._url(changed)}/{token}", secret)

    async def get(self, principal: values.Principal, id_or_name: str) -> Shown:
        async with self._context.store.read() as tx:
            found = await deployment_of(tx, principal, id_or_name, "deployment:read")
        exists = bool(found.hook_digest)
        return Shown(found, exists, self._url(found) if exists else "")

    async def delete(self, principal: values.Principal, id_or_name: str) -> None:
        """NotFoundError when there is none."""
        async with self._context.write() as tx:
            old = await self._changeable(tx, principal, id_or_name)
            if not old.hook_digest:
                raise errors.NotFoundError(f"cannot delete the hook of {old.name!r}: there is none")
            changed = await self._change(tx, old, "", "")
            await self._audit(tx, principal, changed, "hook.deleted", f"delete the hook of {old.name}")

    async def authenticate(self, deployment_id: str, token: str, call: push.Call) -> None:
        """Raises NotFoundError for a bad address, whatever is bad about it; UnauthenticatedError for a bad signature."""
        async with self._context.store.read() as tx:
            found = await self._known(tx, deployment_id, token)
        if not push.is_authentic(call, found.hook_secret, self._context.clock.now().timestamp()):
            raise errors.UnauthenticatedError(
                "cannot take the push: its signature is missing or wrong; set the hook's secret at the git host"
            )

    async def receive(self, deployment_id: str, token: str, call: push.Call, payload: Mapping[str, Any]) -> Outcome:
        """Deploy the commit that was pushed, when it is for this deployment. The call is authentic already."""
        async with self._context.write() as tx:
            found = await self._known(tx, deployment_id, token)
            service = await releases.service_of(tx, found)
            wish = push.wish(call, payload, found.config.branch)
            reason = wish.reason or await self._objection(tx, found, service, wish.commit)
            if reason:
                return Outcome(reason=reason)
            new = await self._deploy(tx, found, service, wish.commit, call)
        self._context.wake(service.instance_id)
        return Outcome(new.release)

    async def _objection(
        self, tx: ports.Transaction, found: values.Deployment, service: values.Service, commit: str
    ) -> str:
        """Why a push to the right branch is not deployed; "" when it is."""
        if found.config.source != "remote" or service.run is values.Run.REMOVED:
            return "the deployment is being deleted" if service.run is values.Run.REMOVED else "the source is uploaded"
        if found.config.commit:
            return f"the deployment is pinned to commit {found.config.commit[:12]}"
        newest = await tx.get_release(found.id, found.release)
        if newest is not None and newest.commit == commit and release.State(newest.state) not in release.GIVEN_UP:
            return f"release {newest.number} is of this commit"
        return ""

    async def _deploy(
        self, tx: ports.Transaction, found: values.Deployment, service: values.Service, commit: str, call: push.Call
    ) -> values.Deployment:
        """A release of that very commit; what is declared goes on to follow the branch."""
        new = await releases.roll_out(self._context, tx, found, service, found.config, "hook")
        made = await tx.get_release(new.id, new.release)
        if made is not None:
            await tx.update_release(dataclasses.replace(made, commit=commit))
        about = {"release": new.release, "commit": commit}
        await self._context.audit(
            tx,
            "git-host",
            "deployment.pushed",
            found.id,
            project=found.project_id,
            summary=f"a push to {found.config.branch}: release {new.release} of {found.name}",
            delivery=call.delivery,
            **about,
        )
        await events.emit(
            self._context,
            tx,
            "deployment.updated",
            subject=found.id,
            project=found.project_id,
            name=found.name,
            **about,
        )
        return new

    async def _known(self, tx: ports.Transaction, deployment_id: str, token: str) -> values.Deployment:
        """The deployment that id and token name. The comparison is made, and takes as long, also when there is none."""
        found = await tx.find_deployment(deployment_id)
        is_there = found is not None and found.id == deployment_id and bool(found.hook_digest)
        wanted = found.hook_digest if found is not None and is_there else NO_DIGEST
        is_right = hmac.compare_digest(digest_of(token), wanted)
        if found is None or not is_there or not is_right:
            raise errors.NotFoundError(
                "cannot find this hook: it was replaced or deleted, or never made; make one with "
                "POST /v1/deployments/:id/hook"
            )
        return found

    async def _changeable(
        self, tx: ports.Transaction, principal: values.Principal, id_or_name: str
    ) -> values.Deployment:
        found = await deployment_of(tx, principal, id_or_name, "deployment:write")
        self._context.match(found.generation)
        if (await releases.service_of(tx, found)).run is values.Run.REMOVED:
            raise errors.ConflictError(
                f"cannot change the hook of {found.name!r}: it is being deleted", {"id": found.id}
            )
        return found

    async def _change(
        self, tx: ports.Transaction, old: values.Deployment, digest: str, secret: str
    ) -> values.Deployment:
        changed = dataclasses.replace(
            old,
            hook_digest=digest,
            hook_secret=secret,
            generation=old.generation + 1,
            updated_at=self._context.clock.now(),
        )
        await tx.update_deployment(changed)
        return changed

    async def _audit(
        self, tx: ports.Transaction, principal: values.Principal, changed: values.Deployment, action: str, summary: str
    ) -> None:
        await self._context.audit(
            tx, principal, action, changed.id, project=changed.project_id, summary=summary, name=changed.name
        )

    def _url(self, deployment: values.Deployment) -> str:
        return f"{self._context.base_url}/v1/hooks/{deployment.id}"


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _secret(random_hex: str) -> str:
    """In the one form that all git hosts take: a text, and the key of Standard Webhooks."""
    return push.SECRET_PREFIX + base64.b64encode(bytes.fromhex(random_hex)).decode()
