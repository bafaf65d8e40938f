"""Hosts with an agent."""

from collections.abc import Iterator
from typing import Any

from dployr.client import answers, http
from dployr.client.answers import Json


class Instances(http.Resource):
    """Hosts with an agent."""

    def list(self, status: str | None = None, name: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/instances", {"status": status, "name": name})

    def get(self, name: str) -> Json:
        return self._client.call("GET", answers.path("/v1/instances", name))

    def join_token(self, expires_in: int | None = None) -> Json:
        """A token with which one host joins within 15 minutes or `expires_in` seconds, and the command that uses it."""
        body = {} if expires_in is None else {"expires_in": expires_in}
        return self._client.call("POST", "/v1/instances/join-tokens", body=body)

    def update(self, name: str, **changes: Any) -> Json:
        """`labels` (merged by key, None deletes) or `cordoned`."""
        return self._client.call("PATCH", answers.path("/v1/instances", name), body=changes)

    def drain(self, name: str) -> Json:
        """Place nothing new there, and see what is left."""
        return self._client.call("POST", answers.path("/v1/instances", name, "drain"))

    def delete(self, name: str) -> None:
        """Remove a host without services for good."""
        self._client.call("DELETE", answers.path("/v1/instances", name))

    def disk(self, name: str) -> Json:
        """What uses its disk, by service and by what it is."""
        return self._client.call("GET", answers.path("/v1/instances", name, "disk"))

    def metrics(self, name: str, since: str | None = None, until: str | None = None, step: int | None = None) -> Json:
        """The newest sample, and series from `since` (RFC 3339, else an hour ago) until `until` in steps of seconds."""
        query = {"from": since, "to": until, "step": step}
        return self._client.call("GET", answers.path("/v1/instances", name, "metrics"), query=query)
