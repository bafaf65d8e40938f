"""The Python client of the REST API: one method per endpoint, plain JSON objects in and out.

    client = Client("http://127.0.0.1:8080")
    client.login("admin@localhost", password)
    client.deployments.create(name="hello", source="remote", ...)

Raises `ApiError` for an answer that is no success and `Unreachable` for none at all. It repeats nothing by itself, but
for a request that was refused because the access token had expired, when it has a refresh token.
Not for use from several threads, but for `release_log` and `logs`, which hold a connection of their own.
"""

import contextlib
import json
import re
import socket
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, cast

from dployr.errors import ApiError, Unreachable

if TYPE_CHECKING:
    import httpx2

Json = dict[str, Any]
Apply = Literal["now", "next"]

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
SILENCE_TIMEOUT_S = 45.0  # of a followed stream: the server's heartbeat comes every 15 s
UPLOAD_TIMEOUT_S = 120.0  # of one step: the server answers when it has stored all
PAGE = 200
UNAUTHORIZED = 401
UNAVAILABLE = 503


class Keeper(Protocol):
    """Where the processes that share one login keep its tokens: a refresh token is good for one use."""

    def locked(self) -> contextlib.AbstractContextManager[tuple[str, str | None] | None]:
        """Nobody else renews meanwhile. Gives the access and refresh token that are kept now."""
        ...

    def keep(self, access: str, refresh: str | None) -> None: ...


class Client:
    """A signed-in session with one server. `transport` is what httpx2 calls a transport, for tests and special nets."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        transport: "httpx2.BaseTransport | None" = None,
        refresh_token: str | None = None,
    ) -> None:
        import httpx2  # 50 to 125 ms: only when something is asked

        self.base_url = base_url.rstrip("/")
        self.token = token
        self.refresh_token = refresh_token
        self.keeper: Keeper | None = None
        host = urllib.parse.urlsplit(self.base_url).hostname or ""
        self._http = httpx2.Client(
            base_url=self.base_url,
            transport=transport,
            timeout=httpx2.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=host not in {"127.0.0.1", "localhost", "::1"},  # a proxy never stands before this machine itself
            headers={"Accept": "application/json"},
        )
        self.deployments = Deployments(self)
        self.services = Services(self)
        self.instances = Instances(self)
        self.users = Users(self)
        self.tokens = Tokens(self)
        self.routes = Routes(self)
        self.webhooks = Webhooks(self)
        self.env = Env(self)
        self.hooks = Hooks(self)
        self.projects = Projects(self)
        self.members = Members(self)
        self.events = Events(self)
        self.audit = Audit(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def login(self, email: str, password: str) -> Json:
        """Sign in and use the access token from now on; the answer holds it with its refresh token and lifetime."""
        answer = self.call("POST", "/v1/auth/login", body={"email": email, "password": password})
        self.token, self.refresh_token = str(answer["access_token"]), str(answer["refresh_token"])
        return answer

    def refresh(self) -> bool:
        """Get a new access token; False without a refresh token that is still good."""
        return self._renew()

    def logout(self) -> None:
        """End this login on the server; its tokens are worth nothing afterwards."""
        self.call("POST", "/v1/auth/logout")
        self.token = self.refresh_token = None

    def password(self, current: str, new: str) -> None:
        """Change your password. Other logins of yours end."""
        self.call("PUT", "/v1/auth/password", body={"current": current, "new": new})

    def setup(self, token: str, email: str, password: str) -> Json:
        """Make the first operator, with the token that the server printed, and be logged in as it."""
        answer = self.call("POST", "/v1/auth/setup", body={"token": token, "email": email, "password": password})
        self.token, self.refresh_token = str(answer["access_token"]), str(answer["refresh_token"])
        return answer

    def me(self) -> Json:
        """Who the token speaks for."""
        return self.call("GET", "/v1/auth/me")

    def ready(self) -> bool:
        """Whether the server takes work now."""
        return self._send("GET", "/ready").status_code == 200

    def health(self) -> bool:
        """Whether the server's process is alive."""
        return self._send("GET", "/health").status_code == 200

    def version(self) -> Json:
        return self.call("GET", "/v1/version")

    def openapi(self) -> Json:
        """The contract of the server."""
        return self.call("GET", "/v1/openapi.json")

    def targets(self) -> list[Json]:
        """Every instance as a target for Prometheus."""
        return cast("list[Json]", self.call("GET", "/v1/prometheus/targets"))

    def metrics(self) -> str:
        """The control plane's own metrics, as Prometheus reads them."""
        response = self._send("GET", "/metrics")
        if not response.is_success:
            raise _api_error(response)
        return response.text

    def call(self, method: str, path: str, *, query: Json | None = None, body: Json | None = None) -> Json:
        """One request; the object that was answered, {} for an empty answer."""
        response = self._send(method, path, query=query, body=body)
        if response.status_code == UNAUTHORIZED and self._renew():
            response = self._send(method, path, query=query, body=body)
        if not response.is_success:
            raise _api_error(response)
        if not response.content:
            return {}
        return _object(response)

    def upload(self, path: str, data: Any, content_type: str) -> Json:
        """POST bytes, or an iterator of them, as they are. Nothing is sent twice, not even after a refused token."""
        import httpx2

        timeout = httpx2.Timeout(UPLOAD_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        headers = {**self._headers(), "Content-Type": content_type}
        try:
            response = self._http.request("POST", path, content=data, headers=headers, timeout=timeout)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise _api_error(response)
        return _object(response)

    def _renew(self) -> bool:
        """Get a new access token; False without a refresh token that is still good."""
        if self.refresh_token is None:
            return False
        if self.keeper is None:
            return self._exchange()
        with self.keeper.locked() as kept:
            if (
                kept is not None and kept[0] != self.token
            ):  # another process was faster; a second use would end the login
                self.token, self.refresh_token = kept
                return True
            renewed = self._exchange()
            if renewed:
                self.keeper.keep(str(self.token), self.refresh_token)
            return renewed

    def _exchange(self) -> bool:
        offered, self.refresh_token = self.refresh_token, None
        response = self._send("POST", "/v1/auth/refresh", body={"refresh_token": offered})
        if not response.is_success:
            return False
        answer = _object(response)
        self.token, self.refresh_token = str(answer["access_token"]), str(answer["refresh_token"])
        return True

    def items(self, path: str, query: Json | None = None) -> Iterator[Json]:
        """Every object of a list, page by page."""
        cursor = None
        while True:
            page = self.call("GET", path, query={"limit": PAGE, **(query or {}), "cursor": cursor})
            yield from page["data"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    @contextlib.contextmanager
    def stream(self, path: str, query: Json, method: str = "GET", body: Json | None = None) -> Iterator["Lines"]:
        """An NDJSON answer while it comes."""
        import httpx2

        timeout = httpx2.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        headers = {**self._headers(), "Accept": "application/x-ndjson"}
        with contextlib.ExitStack() as stack:
            try:
                response = stack.enter_context(
                    self._http.stream(method, path, params=_params(query), json=body, headers=headers, timeout=timeout)
                )
                if not response.is_success:
                    response.read()
                    raise _api_error(response)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise self._unreachable(error) from error
            yield Lines(self._lines(response), response.extensions.get("network_stream"))

    def _lines(self, response: "httpx2.Response") -> Iterator[Json]:
        import httpx2

        try:
            for line in response.iter_lines():
                value = json.loads(line) if line.strip() else None
                if isinstance(value, dict) and value:  # the heartbeat is an empty line or object
                    yield _checked(value)
        except (httpx2.HTTPError, httpx2.StreamError, json.JSONDecodeError) as error:
            raise self._unreachable(error) from error

    def _send(
        self, method: str, path: str, *, query: Json | None = None, body: Json | None = None
    ) -> "httpx2.Response":
        import httpx2

        try:
            return self._http.request(method, path, params=_params(query), json=body, headers=self._headers())
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _unreachable(self, error: Exception) -> Unreachable:
        why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
        return Unreachable(f"cannot reach {self.base_url}: {why}; is the server up, and is this its address?")


class Lines:
    """The objects of a log. `cut` ends a followed one from another thread: its reader then gets `Unreachable`."""

    def __init__(self, lines: Iterator[Json], connection: Any = None) -> None:
        self._lines = lines
        self._connection = connection

    def __iter__(self) -> Iterator[Json]:
        return self._lines

    def cut(self) -> None:
        raw = self._connection.get_extra_info("socket") if self._connection is not None else None
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)


class Users:
    """The people of the installation; for operators. `user` is an id or an email."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, email: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/users", {"email": email})

    def create(self, email: str, password: str, *, operator: bool = False) -> Json:
        body = {"email": email, "password": password, "operator": operator}
        return self._client.call("POST", "/v1/users", body=body)

    def get(self, user: str) -> Json:
        return self._client.call("GET", _path("/v1/users", user))

    def update(self, user: str, **changes: Any) -> Json:
        """Of email, operator, disabled and password only those given change."""
        return self._client.call("PATCH", _path("/v1/users", user), body=changes)

    def delete(self, user: str) -> None:
        self._client.call("DELETE", _path("/v1/users", user))


class Tokens:
    """Your personal tokens."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Iterator[Json]:
        return self._client.items("/v1/tokens")

    def create(self, name: str, **options: Any) -> Json:
        """`token` of the answer is the secret, shown this once. Options: scopes, project, expires_in, expires_at."""
        return self._client.call("POST", "/v1/tokens", body={"name": name, **options})

    def get(self, token_id: str) -> Json:
        return self._client.call("GET", _path("/v1/tokens", token_id))

    def delete(self, token_id: str) -> None:
        self._client.call("DELETE", _path("/v1/tokens", token_id))


class Deployments:
    """What users declare. `name` stands for an id or a name wherever one is taken."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, **fields: Any) -> Json:
        return self._client.call("POST", "/v1/deployments", body=fields)

    def list(self, project: str | None = None, name: str | None = None, status: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/deployments", {"project": project, "name": name, "status": status})

    def get(self, name: str) -> Json:
        return self._client.call("GET", _path("/v1/deployments", name))

    def update(self, name: str, **changes: Any) -> Json:
        """Only the fields given change; `env` merges per key, and None there deletes one."""
        return self._client.call("PUT", _path("/v1/deployments", name), body=changes)

    def redeploy(self, name: str, commit: str | None = None) -> Json:
        """Another release of what is declared, from what its branch is now or from `commit`."""
        body = {"commit": commit} if commit else {}
        return self._client.call("POST", _path("/v1/deployments", name, "redeploy"), body=body)

    def rollback(self, name: str, release: int | None = None) -> Json:
        """Back to `release`, or to the one that was live before; without a build."""
        body = {"release": release} if release is not None else {}
        return self._client.call("POST", _path("/v1/deployments", name, "rollback"), body=body)

    def cancel(self, name: str) -> Json:
        """Give up the release that is under way."""
        return self._client.call("POST", _path("/v1/deployments", name, "cancel"))

    def source(self, name: str, data: bytes, content_type: str = "application/octet-stream") -> Json:
        """Upload a .tar.gz, .tar.zst or .zip. `data` may be an iterator of bytes too: then it is sent as it comes."""
        return self._client.upload(_path("/v1/deployments", name, "source"), data, content_type)

    def delete(self, name: str) -> Json:
        return self._client.call("DELETE", _path("/v1/deployments", name))

    def releases(self, name: str) -> Iterator[Json]:
        return self._client.items(_path("/v1/deployments", name, "releases"))

    def release(self, name: str, number: int) -> Json:
        return self._client.call("GET", _path("/v1/deployments", name, "releases", str(number)))

    def diff(self, name: str, old: int, new: int) -> Json:
        """What differs between two releases."""
        return self._client.call("GET", _path("/v1/deployments", name, "releases", str(old), "diff", str(new)))

    @contextlib.contextmanager
    def release_log(
        self,
        name: str,
        number: int,
        *,
        tail: int | None = None,
        after_seq: int | None = None,
        follow: bool = False,
        **filters: Any,
    ) -> Iterator[Lines]:
        """The build log of one release, as a context that gives its lines. `filters` are those of the API."""
        path = _path("/v1/deployments", name, "releases", str(number), "logs")
        query = {"tail": tail, "after_seq": after_seq, **filters}
        with _log(self._client, path, query, follow=follow) as lines:
            yield lines


class Services:
    """The running side of deployments."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(
        self,
        project: str | None = None,
        name: str | None = None,
        status: str | None = None,
        instance: str | None = None,
    ) -> Iterator[Json]:
        query = {"project": project, "name": name, "status": status, "instance": instance}
        return self._client.items("/v1/services", query)

    def get(self, name: str) -> Json:
        return self._client.call("GET", _path("/v1/services", name))

    def status(self, name: str) -> Json:
        return self._client.call("GET", _path("/v1/services", name, "status"))

    def start(self, name: str) -> Json:
        return self._client.call("POST", _path("/v1/services", name, "start"))

    def stop(self, name: str) -> Json:
        return self._client.call("POST", _path("/v1/services", name, "stop"))

    def restart(self, name: str) -> Json:
        return self._client.call("POST", _path("/v1/services", name, "restart"))

    def update(self, name: str, **changes: Any) -> Json:
        """`replicas`, `resources` or `health_check`, without a build."""
        return self._client.call("PATCH", _path("/v1/services", name), body=changes)

    @contextlib.contextmanager
    def run(self, name: str, command: str, timeout: float | None = None) -> Iterator[Lines]:
        """A one-off command, as a context that gives what it writes; the last object has `exit`. Leaving it ends it."""
        body: Json = {"command": command, **({"timeout": timeout} if timeout is not None else {})}
        with self._client.stream(_path("/v1/services", name, "run"), {}, "POST", body) as lines:
            yield lines

    @contextlib.contextmanager
    def logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        after_seq: int | None = None,
        follow: bool = False,
        **filters: Any,
    ) -> Iterator[Lines]:
        """The service's log, as a context that gives its lines: seq, ts, stream, process, release, line, or gap.

        `filters` are those of the API: since, until, grep, stream, process, release, source, partial.
        """
        query = {"tail": tail, "after_seq": after_seq, **filters}
        with _log(self._client, _path("/v1/services", name, "logs"), query, follow=follow) as lines:
            yield lines


class Env:
    """Variables and secrets of a service. `apply` "next" waits for the next release; "now" makes one."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, service: str) -> Iterator[Json]:
        """By key; the value of a secret is None."""
        return self._client.items(_path("/v1/services", service, "env"))

    def get(self, service: str, key: str) -> Json:
        return self._client.call("GET", _path("/v1/services", service, "env", key))

    def set(
        self, service: str, key: str, value: str | None = None, *, secret: bool | None = None, apply: Apply = "now"
    ) -> Json:
        """`secret` None leaves that as it is; so does `value` None for a secret that is there."""
        said = {"key": key, "value": value, "secret": secret}
        return self._client.call("POST", _path("/v1/services", service, "env"), query={"apply": apply}, body=said)

    def replace(self, service: str, variables: Sequence[Json], *, apply: Apply = "now") -> Json:
        """All variables at once: what `list` gives, changed. Those that are not there are deleted."""
        body = {"variables": list(variables)}
        return self._client.call("PUT", _path("/v1/services", service, "env"), query={"apply": apply}, body=body)

    def unset(self, service: str, key: str, *, apply: Apply = "now") -> Json:
        return self._client.call("DELETE", _path("/v1/services", service, "env", key), query={"apply": apply})

    def history(self, service: str, key: str | None = None) -> Iterator[Json]:
        return self._client.items(_path("/v1/services", service, "env", "history"), {"key": key})


class Hooks:
    """Push-to-deploy: the address that a git host calls."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, deployment: str) -> Json:
        """Make the address and its secret, or new ones in their place; this answer alone shows them."""
        return self._client.call("POST", _path("/v1/deployments", deployment, "hook"))

    def get(self, deployment: str) -> Json:
        return self._client.call("GET", _path("/v1/deployments", deployment, "hook"))

    def delete(self, deployment: str) -> Json:
        return self._client.call("DELETE", _path("/v1/deployments", deployment, "hook"))

    def receive(self, deployment: str, token: str, push: Json) -> Json:
        """What a git host does; it signs the body besides."""
        return self._client.call("POST", _path("/v1/hooks", deployment, token), body=push)


class Instances:
    """Hosts with an agent."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, status: str | None = None, name: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/instances", {"status": status, "name": name})

    def get(self, name: str) -> Json:
        return self._client.call("GET", _path("/v1/instances", name))

    def join_token(self, expires_in: int | None = None) -> Json:
        """A token with which one host joins within 15 minutes or `expires_in` seconds, and the command that uses it."""
        body = {} if expires_in is None else {"expires_in": expires_in}
        return self._client.call("POST", "/v1/instances/join-tokens", body=body)

    def update(self, name: str, **changes: Any) -> Json:
        """`labels` (merged by key, None deletes) or `cordoned`."""
        return self._client.call("PATCH", _path("/v1/instances", name), body=changes)

    def drain(self, name: str) -> Json:
        """Place nothing new there, and see what is left."""
        return self._client.call("POST", _path("/v1/instances", name, "drain"))

    def delete(self, name: str) -> None:
        """Remove a host without services for good."""
        self._client.call("DELETE", _path("/v1/instances", name))

    def metrics(self, name: str) -> Json:
        return self._client.call("GET", _path("/v1/instances", name, "metrics"))


class Routes:
    """Domains sent to services."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(
        self,
        project: str | None = None,
        service: str | None = None,
        domain: str | None = None,
        status: str | None = None,
    ) -> Iterator[Json]:
        wanted = {"project": project, "service": service, "domain": domain, "status": status}
        return self._client.items("/v1/proxy/routes", wanted)

    def create(self, domain: str, service_id: str, port: int | None = None, **options: Any) -> Json:
        """`port` is the one that the deployment declares; without it that one is meant."""
        body = {"domain": domain, "service_id": service_id, **({} if port is None else {"port": port}), **options}
        return self._client.call("POST", "/v1/proxy/routes", body=body)

    def update(self, route_id: str, **changes: Any) -> Json:
        return self._client.call("PATCH", _path("/v1/proxy/routes", route_id), body=changes)

    def get(self, route_id: str) -> Json:
        return self._client.call("GET", _path("/v1/proxy/routes", route_id))

    def delete(self, route_id: str) -> Json:
        return self._client.call("DELETE", _path("/v1/proxy/routes", route_id))


class Webhooks:
    """Addresses that events are sent to."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, project: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/webhooks", {"project": project})

    def create(self, url: str, events: Sequence[str], **fields: Any) -> Json:
        """Without `secret` one is made; it is in this answer alone."""
        return self._client.call("POST", "/v1/webhooks", body={"url": url, "events": [*events], **fields})

    def get(self, webhook_id: str) -> Json:
        return self._client.call("GET", _path("/v1/webhooks", webhook_id))

    def update(self, webhook_id: str, **changes: Any) -> Json:
        return self._client.call("PATCH", _path("/v1/webhooks", webhook_id), body=changes)

    def delete(self, webhook_id: str) -> Json:
        return self._client.call("DELETE", _path("/v1/webhooks", webhook_id))

    def test(self, webhook_id: str) -> Json:
        return self._client.call("POST", _path("/v1/webhooks", webhook_id, "test"))

    def deliveries(self, webhook_id: str, status: str | None = None) -> Iterator[Json]:
        """What was sent and what waits, newest first."""
        return self._client.items(_path("/v1/webhooks", webhook_id, "deliveries"), {"status": status})

    def redeliver(self, webhook_id: str, delivery_id: str) -> Json:
        return self._client.call("POST", _path("/v1/webhooks", webhook_id, "deliveries", delivery_id, "redeliver"))


class Projects:
    """What deployments belong to. `name` stands for an id or a name."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, name: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/projects", {"name": name})

    def create(self, name: str, description: str = "") -> Json:
        """Make a project and own it."""
        return self._client.call("POST", "/v1/projects", body={"name": name, "description": description})

    def get(self, name: str) -> Json:
        return self._client.call("GET", _path("/v1/projects", name))

    def update(self, project: str, **changes: str) -> Json:
        """Give a new `name` or `description` to a project."""
        return self._client.call("PATCH", _path("/v1/projects", project), body=changes)

    def delete(self, name: str, *, force: bool = False) -> Json:
        """Take an empty project away; with `force` one with deployments, which is answered while it is deleting."""
        return self._client.call("DELETE", _path("/v1/projects", name), query={"force": "true" if force else None})


class Members:
    """Who is what in a project. `user` stands for an id or an email."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, project: str) -> Iterator[Json]:
        return self._client.items(_path("/v1/projects", project, "members"))

    def get(self, project: str, user: str) -> Json:
        return self._client.call("GET", _path("/v1/projects", project, "members", user))

    def put(self, project: str, user: str, role: str) -> Json:
        """Make `user` viewer, developer, admin or owner."""
        return self._client.call("PUT", _path("/v1/projects", project, "members", user), body={"role": role})

    def remove(self, project: str, user: str) -> Json:
        return self._client.call("DELETE", _path("/v1/projects", project, "members", user))


class Events:
    """What happened. Filters: `since` (a time, or the id or sequence of an event), `type`, `subject`, `project`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, **filters: str | int | None) -> Iterator[Json]:
        """From the first that was ever kept, or behind `since`, up to now."""
        return self._client.items("/v1/events", dict(filters))

    @contextlib.contextmanager
    def follow(self, **filters: str | int | None) -> Iterator[Lines]:
        """What happens from now on, or behind `since`, without an end: a context that gives the events."""
        with self._client.stream("/v1/events", {**filters, "follow": "true"}) as lines:
            yield lines


class Audit:
    """Who did what, when and from where. Filters: `actor`, `action`, `target`, `since`, `until`, `project`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, **filters: str | None) -> Iterator[Json]:
        """Newest first."""
        return self._client.items("/v1/audit", dict(filters))


@contextlib.contextmanager
def _log(client: Client, path: str, query: Json, *, follow: bool) -> Iterator[Lines]:
    """Lines of a log endpoint: streamed while following, one page otherwise."""
    if follow:
        with client.stream(path, {**query, "follow": "true"}) as lines:
            yield lines
    else:
        yield Lines(iter(client.call("GET", path, query=query)["data"]))


def _checked(value: Json) -> Json:
    """A line of a stream; an error on the way is its last line, because the status is out already."""
    error = value.get("error")
    if isinstance(error, dict):
        code, details = str(error.get("code", "")), error.get("details") or {}
        raise ApiError(UNAVAILABLE, code, str(error.get("message", "the stream was ended")), details, "")
    return value


def _path(base: str, *parts: str) -> str:
    return "/".join([base, *(urllib.parse.quote(part, safe="") for part in parts)])


def _params(query: Json | None) -> dict[str, str]:
    return {key: _text(value) for key, value in (query or {}).items() if value is not None}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _object(response: "httpx2.Response") -> Json:
    """The JSON object of an answer; something else there is no answer of ours."""
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unreachable(f"cannot use the answer of {response.url}: it is not dployr's; check the server's address")
    return value


def _api_error(response: "httpx2.Response") -> ApiError:
    """The error envelope as an exception; an answer without one (a proxy's 502) keeps its status."""
    try:
        envelope = response.json()
        error = envelope["error"]
        code, message, details = str(error["code"]), str(error["message"]), error.get("details") or {}
        request_id = str(envelope.get("request_id") or response.headers.get("X-Request-Id", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ApiError(response.status_code, "unknown", f"{response.url} answered {response.status_code}", {}, "")
    return ApiError(response.status_code, code, message, details, request_id)
