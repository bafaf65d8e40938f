"""Domains sent to services."""

from collections.abc import Iterator
from typing import Any

from dployr.client import answers, http
from dployr.client.answers import Json


class Routes(http.Resource):
    """Domains sent to services."""

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
        return self._client.call("PATCH", answers.path("/v1/proxy/routes", route_id), body=changes)

    def get(self, route_id: str) -> Json:
        return self._client.call("GET", answers.path("/v1/proxy/routes", route_id))

    def delete(self, route_id: str) -> Json:
        return self._client.call("DELETE", answers.path("/v1/proxy/routes", route_id))
