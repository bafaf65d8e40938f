"""The world of the authorization matrix: who asks, what is there twice, and how each endpoint is asked.

`TABLE` names every endpoint of the app. A text beginning with `$` stands for the id of such an object, of the project
that is asked about: `$service` is the service of the own project or that of the foreign one. A new endpoint gets a line;
a new kind of object gets a line in `World.ids`. What may be answered to whom is never said here: the test computes that
from the declared permission.
"""

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from control_plane.domain import permissions, values
from control_plane.services import sessions
from tests import api_fixtures, builders

MANY = {"requests_per_hour": 10_000_000, "anonymous_per_hour": 10_000_000, "logins_per_minute": 1_000_000}
OWN, FOREIGN = "own", "foreign"
ROLES = ("viewer", "developer", "admin", "owner")
STRANGER, OPERATOR = "stranger", "operator"  # a stranger is a member of a third project
NOBODY = ("anonymous", "expired", "revoked", "disabled", "revoked-token", "expired-token")
# Personal tokens: an owner's for reading deployments alone, and an operator's for the own project alone.
SCOPED, NARROW = "scoped-token", "narrow-token"
WHO = (*NOBODY, STRANGER, *ROLES, OPERATOR, SCOPED, NARROW)
SCOPES = ("deployment:read",)
# Kinds of objects that belong to a user, and those that are there once for everybody.
PERSONAL = frozenset({"$token"})
COMMON = frozenset({"$instance", "$user"})
DEPLOYMENT = {**api_fixtures.NODE_APP, "name": "new-app", "project": "$project"}
HOOK = {"url": "https://example.com/hook", "events": ["*"]}


@dataclasses.dataclass(frozen=True)
class Call:
    """How an endpoint is asked so that nothing but the caller can be refused.

    `path` fills the rule, `body` is a valid one. `answers` are statuses that are good although they look like a refusal.
    """

    path: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: Any = None
    query: str = ""
    answers: frozenset[int] = frozenset()

    @property
    def kinds(self) -> frozenset[str]:
        """What it names."""
        return frozenset(_references([*self.path.values(), self.body, self.query]))


def of(kind: str, body: Any = None, query: str = "", **path: str) -> Call:
    """Of the object `kind`, which the rule calls `id`."""
    return Call({"id": kind, **path}, body, query)


TABLE: dict[str, Call] = {
    "auth.login": Call(body={"email": "nobody@example.test", "password": "wrong"}),
    "auth.refresh": Call(body={"refresh_token": "none"}),
    "auth.me": Call(),
    "auth.setup": Call(body={"token": "0" * 64, "email": "first@example.test", "password": "a long password"}),
    # Both ask for the password or a login of the caller's own, and are refused by that alone.
    "auth.logout": Call(answers=frozenset({403})),
    "auth.password": Call(body={"current": "wrong", "new": "a longer password"}, answers=frozenset({400, 401, 403})),
    "tokens.index": Call(),
    "tokens.create": Call(body={"name": "new-token"}),
    "tokens.get": of("$token"),
    "tokens.delete": of("$token"),
    "users.index": Call(),
    "users.create": Call(body={"email": "new@example.test", "password": "a long password"}),
    "users.get": of("$user"),
    "users.update": of("$user", {"disabled": True}),
    "users.delete": of("$user"),
    "projects.index": Call(),
    "projects.create": Call(body={"name": "new-project"}),
    "projects.get": of("$project"),
    "projects.update": of("$project", {"description": "new"}),
    "projects.delete": of("$project", query="force=true"),
    "members.index": of("$project"),
    "members.get": of("$project", user="$member"),
    "members.put": of("$project", {"role": "viewer"}, user="$other"),
    "members.remove": of("$project", user="$member"),
    "deployments.index": Call(),
    "deployments.create": Call(body=DEPLOYMENT),
    "deployments.get": of("$deployment"),
    "deployments.update": of("$deployment", {"version": "22"}),
    "deployments.redeploy": of("$deployment"),
    "deployments.delete": of("$deployment"),
    "deployments.releases": of("$deployment"),
    "deployments.release": of("$deployment", n="1"),
    "deployments.pin": of("$deployment", n="1"),
    "deployments.unpin": of("$deployment", n="1"),
    "deployments.release_logs": of("$deployment", n="1"),
    "deployments.cancel": of("$deployment"),
    "deployments.diff": of("$deployment", a="1", b="1"),
    "deployments.rollback": of("$deployment"),
    "deployments.source": of("$deployment"),
    "services.index": Call(),
    "services.get": of("$service"),
    "services.status": of("$service"),
    "services.start": of("$service"),
    "services.stop": of("$service"),
    "services.restart": of("$service"),
    "services.logs": of("$service"),
    "services.run": of("$service", {"command": "true"}),
    "services.update": of("$service", {"replicas": 1}),
    "volumes.index": of("$service"),
    "volumes.backup": of("$service", name="data"),
    "volumes.restore": of("$service", name="data"),
    "env.index": of("$service"),
    "env.get": of("$service", key="KEY"),
    "env.set_": of("$service", {"key": "KEY", "value": "new"}),
    "env.unset": of("$service", key="KEY"),
    "env.replace": of("$service", {"variables": []}),
    "env.history": of("$service"),
    "hooks.get": of("$deployment"),
    "hooks.create": of("$deployment"),
    "hooks.delete": of("$deployment"),
    "hooks.receive": Call({"deployment": "$deployment", "token": "none"}, {}),
    "instances.index": Call(),
    "instances.get": of("$instance"),
    "instances.metrics": of("$instance"),
    "instances.disk": of("$instance"),
    "instances.update": of("$instance", {"cordoned": False}),
    "instances.drain": of("$instance"),
    "instances.delete": of("$instance"),
    "instances.join_token": Call(),
    "routes.index": Call(),
    "routes.create": Call(body={"domain": "new.example.com", "service_id": "$service", "port": 3000}),
    "routes.get": of("$route"),
    "routes.update": of("$route", {"maintenance": False}),
    "routes.delete": of("$route"),
    "webhooks.index": Call(),
    "webhooks.create": Call(body={**HOOK, "project": "$project"}),
    "webhooks.get": of("$webhook"),
    "webhooks.update": of("$webhook", {"description": "new"}),
    "webhooks.delete": of("$webhook"),
    "webhooks.test": of("$webhook"),
    "webhooks.deliveries": of("$webhook"),
    "webhooks.redeliver": of("$webhook", delivery="$delivery"),
    "events.index": Call(),
    "audit.index": Call(),
    "system.health": Call(),
    "system.ready": Call(),
    "system.version": Call(),
    "system.openapi": Call(),
    "system.metrics": Call(),
    "system.targets": Call(),
    "dashboard.home": Call(),
}


class World:
    """Two projects with one of everything, and a caller of every kind. `fresh` takes back what a call has changed."""

    def __init__(self, plane: api_fixtures.ControlPlane, operator: api_fixtures.Client) -> None:
        self.plane, self.port, self._operator = plane, operator.port, operator
        self.ids: dict[str, dict[str, str]] = {}
        self._users = {who: builders.an_id("usr", number) for number, who in enumerate(("other", *WHO), 100)}
        plane.loop.run(self._insert_users())
        plane.connect(capabilities={"volumes": "any"})
        for side in (OWN, FOREIGN, "third"):
            self.ids[side] = self._objects(side)
        plane.loop.run(self._join())
        self._tokens = self._make_tokens()

    def principal(self, who: str) -> values.Principal:
        """As the domain sees `who`, for what is to be expected."""
        own = self.project(OWN)
        roles = {who: {own: who} for who in ROLES} | {
            STRANGER: {self.project("third"): "owner"},
            SCOPED: {own: "owner"},
        }
        found = values.Principal(self._users[who], f"{who}@matrix.test", who in {OPERATOR, NARROW}, roles.get(who, {}))
        narrowed = {SCOPED: {"scopes": frozenset(SCOPES)}, NARROW: {"only": own}}
        return dataclasses.replace(found, **narrowed.get(who, {}))

    def project(self, side: str) -> str:
        return self.ids[side]["$project"]

    def client(self, who: str) -> api_fixtures.Client:
        return api_fixtures.Client(self.port, self._tokens[who])

    def objects(self, side: str, who: str) -> dict[str, str]:
        """The ids behind the references, as `who` asks about `side`."""
        return {**self.ids[side], "$token": self._personal[who if side == OWN else "other"].id}

    def missing(self, ids: Mapping[str, str], kind: str) -> dict[str, str]:
        """`ids`, with one of the same form in place of `kind` that nothing has."""
        prefix = ids[kind].partition("_")[0]
        return {**ids, kind: self.plane.context.ids.new(prefix)}

    @contextlib.contextmanager
    def fresh(self) -> Iterator[None]:
        """The store, the one in memory, is as it was, after a call that may change something."""
        before = self.plane.store._tables
        try:
            yield
        finally:
            self.plane.loop.run(self._restore(before))

    async def _restore(self, before: dict[str, Any]) -> None:
        self.plane.store._tables = before

    async def _insert_users(self) -> None:
        async with self.plane.store.write() as tx:
            for who, user_id in self._users.items():
                is_operator = who in {OPERATOR, NARROW}
                user = builders.a_user(id=user_id, email=f"{who}@matrix.test", operator=is_operator)
                await tx.insert_user(dataclasses.replace(user, created_at=self.plane.context.clock.now()))

    async def _join(self) -> None:
        now = self.plane.context.clock.now()
        async with self.plane.store.write() as tx:
            for who in (*ROLES, *NOBODY, SCOPED):
                role = who if who in ROLES else "owner"
                await tx.put_member(values.Member(self.project(OWN), self._users[who], role, now))
            await tx.put_member(values.Member(self.project("third"), self._users[STRANGER], "owner", now))
            self.ids[OWN] |= {"$member": self._users["viewer"], "$other": self._users["other"]}
            self.ids[FOREIGN] |= {"$member": self._users["other"], "$other": self._users["viewer"]}
            await tx.put_member(values.Member(self.project(FOREIGN), self._users["other"], "viewer", now))

    def _make_tokens(self) -> dict[str, str]:
        moment = int(self.plane.context.clock.now().timestamp())
        tokens = {who: self.plane.token(sub=self._users[who]) for who in WHO}
        past = {"iat": moment - 7200, "nbf": moment - 7200, "exp": moment - 3600}
        tokens["expired"] = self.plane.token(sub=self._users["expired"], **past)
        self._personal, secrets = self._personal_tokens()
        self.ids[FOREIGN]["$token"] = self._personal["other"].id
        self.plane.loop.run(self._end_tokens())
        return tokens | secrets | {"anonymous": ""}

    def _personal_tokens(self) -> tuple[dict[str, values.Token], dict[str, str]]:
        """One of everybody, and the secrets of those who use theirs."""
        now, made, secrets = self.plane.context.clock.now(), {}, {}
        for number, (who, user_id) in enumerate(self._users.items()):
            secret = f"pat_{number:064x}"
            scopes, only = (SCOPES if who == SCOPED else ()), (self.project(OWN) if who == NARROW else "")
            ends = now - datetime.timedelta(hours=1) if who == "expired-token" else None
            digest = sessions.digest_of(secret)
            made[who] = values.Token(builders.an_id("tok", number), user_id, who, digest, scopes, only, ends, None, now)
            if who.endswith("-token"):
                secrets[who] = secret
        return made, secrets

    async def _end_tokens(self) -> None:
        async with self.plane.store.write() as tx:
            await tx.revoke_families(self._users["revoked"])
            user = await tx.get_user(self._users["disabled"])
            await tx.update_user(dataclasses.replace(user, disabled=True))
            for who, token in self._personal.items():
                if who != "revoked-token":
                    await tx.insert_token(token)

    def _objects(self, side: str) -> dict[str, str]:
        """Made over the API, as operator."""
        project = self._made("/v1/projects", {"name": f"{side}-project"})["id"]
        body = {**api_fixtures.NODE_APP, "name": f"{side}-app", "project": project}
        body |= {"volumes": [{"name": "data", "mount": "data"}]}
        deployment = self._made("/v1/deployments", body)
        service = deployment["service_id"]
        self._made(f"/v1/services/{service}/env", {"key": "KEY", "value": "set"})
        self._made(f"/v1/deployments/{deployment['id']}/hook", None)
        route = self._made("/v1/proxy/routes", {"domain": f"{side}.example.com", "service_id": service, "port": 3000})
        webhook = self._made("/v1/webhooks", {**HOOK, "project": project})["id"]
        self._made(f"/v1/webhooks/{webhook}/test", None)
        delivery = self._operator.get(f"/v1/webhooks/{webhook}/deliveries").json["data"][0]["id"]
        return {
            "$project": project,
            "$deployment": deployment["id"],
            "$service": service,
            "$route": route["id"],
            "$webhook": webhook,
            "$delivery": delivery,
            "$instance": self.plane.instance.id,
            "$user": self._users["other"],
        }

    def _made(self, path: str, body: Any) -> Any:
        answer = self._operator.post(path, body)
        assert answer.status in {200, 201, 202}, answer.text
        return answer.json


def expected(world: World, permission: str, who: str, side: str, kinds: frozenset[str]) -> str:
    """`401`, `403`, `hidden` (as what does not exist) or `ok`, by the declared permission and the tables of the domain."""
    if who in NOBODY:
        return "401"
    principal = world.principal(who)
    if permission == "signed-in":
        return "ok"
    if permission in permissions.ACCOUNT | permissions.INSTALLATION:
        if not permissions.may(principal, permission):
            return "403"
        return "hidden" if side == FOREIGN and kinds & PERSONAL else "ok"
    if not kinds:  # a list of what the caller can see
        return "ok" if principal.scopes is None or permission in principal.scopes else "403"
    if not permissions.can_see(principal, world.project(side)):
        return "hidden"
    return "ok" if permissions.may(principal, permission, world.project(side)) else "403"


def filled(template: Any, ids: Mapping[str, str]) -> Any:
    """`template` with ids in the place of references."""
    if isinstance(template, str):
        for kind, one in ids.items():
            template = template.replace(kind, one)
        return template
    if isinstance(template, Mapping):
        return {key: filled(value, ids) for key, value in template.items()}
    return [filled(item, ids) for item in template] if isinstance(template, list) else template


def _references(template: Any) -> Iterator[str]:
    if isinstance(template, str) and "$" in template:
        yield template[template.index("$") :]
    elif isinstance(template, Mapping):
        yield from _references(list(template.values()))
    elif isinstance(template, list):
        for item in template:
            yield from _references(item)
