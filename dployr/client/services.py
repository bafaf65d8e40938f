"""The running side of deployments, and its variables."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from dployr.client import answers, http
from dployr.client.answers import Json

Apply = Literal["now", "next"]


class Services(http.Resource):
    """The running side of deployments."""

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
        return self._client.call("GET", answers.path("/v1/services", name))

    def status(self, name: str) -> Json:
        return self._client.call("GET", answers.path("/v1/services", name, "status"))

    def start(self, name: str) -> Json:
        return self._client.call("POST", answers.path("/v1/services", name, "start"))

    def stop(self, name: str) -> Json:
        return self._client.call("POST", answers.path("/v1/services", name, "stop"))

    def restart(self, name: str) -> Json:
        return self._client.call("POST", answers.path("/v1/services", name, "restart"))

    def update(self, name: str, **changes: Any) -> Json:
        """`replicas` (of web), `process_replicas`, `resources` or `health_check`, without a build."""
        return self._client.call("PATCH", answers.path("/v1/services", name), body=changes)

    @contextlib.contextmanager
    def run(self, name: str, command: str, timeout: float | None = None) -> Iterator[answers.Lines]:
        """A one-off command, as a context that gives what it writes; the last object has `exit`. Leaving it ends it."""
        body: Json = {"command": command, **({"timeout": timeout} if timeout is not None else {})}
        with self._client.stream(answers.path("/v1/services", name, "run"), {}, "POST", body) as lines:
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
    ) -> Iterator[answers.Lines]:
        """The service's log, as a context that gives its lines: seq, ts, stream, process, release, line, or gap.

        `filters` are those of the API: since, until, grep, stream, process, release, source, partial.
        """
        query = {"tail": tail, "after_seq": after_seq, **filters}
        with http.log(self._client, answers.path("/v1/services", name, "logs"), query, follow=follow) as lines:
            yield lines


class Env(http.Resource):
    """Variables and secrets of a service. `apply` "next" waits for the next release; "now" makes one."""

    def list(self, service: str) -> Iterator[Json]:
        """By key; the value of a secret is None."""
        return self._client.items(answers.path("/v1/services", service, "env"))

    def get(self, service: str, key: str) -> Json:
        return self._client.call("GET", answers.path("/v1/services", service, "env", key))

    def set(
        self, service: str, key: str, value: str | None = None, *, secret: bool | None = None, apply: Apply = "now"
    ) -> Json:
        """`secret` None leaves that as it is; so does `value` None for a secret that is there."""
        said = {"key": key, "value": value, "secret": secret}
        return self._client.call(
            "POST", answers.path("/v1/services", service, "env"), query={"apply": apply}, body=said
        )

    def replace(self, service: str, variables: Sequence[Json], *, apply: Apply = "now") -> Json:
        """All variables at once: what `list` gives, changed. Those that are not there are deleted."""
        body = {"variables": list(variables)}
        return self._client.call("PUT", answers.path("/v1/services", service, "env"), query={"apply": apply}, body=body)

    def unset(self, service: str, key: str, *, apply: Apply = "now") -> Json:
        return self._client.call("DELETE", answers.path("/v1/services", service, "env", key), query={"apply": apply})

    def history(self, service: str, key: str | None = None) -> Iterator[Json]:
        return self._client.items(answers.path("/v1/services", service, "env", "history"), {"key": key})
