"""Addresses that events are sent to."""

from collections.abc import Iterator, Sequence
from typing import Any

from dployr.client import answers, http
from dployr.client.answers import Json


class Webhooks(http.Resource):
    """Addresses that events are sent to."""

    def list(self, project: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/webhooks", {"project": project})

    def create(self, url: str, events: Sequence[str], **fields: Any) -> Json:
        """Without `secret` one is made; it is in this answer alone."""
        return self._client.call("POST", "/v1/webhooks", body={"url": url, "events": [*events], **fields})

    def get(self, webhook_id: str) -> Json:
        return self._client.call("GET", answers.path("/v1/webhooks", webhook_id))

    def update(self, webhook_id: str, **changes: Any) -> Json:
        return self._client.call("PATCH", answers.path("/v1/webhooks", webhook_id), body=changes)

    def delete(self, webhook_id: str) -> Json:
        return self._client.call("DELETE", answers.path("/v1/webhooks", webhook_id))

    def test(self, webhook_id: str) -> Json:
        return self._client.call("POST", answers.path("/v1/webhooks", webhook_id, "test"))

    def deliveries(self, webhook_id: str, status: str | None = None) -> Iterator[Json]:
        """What was sent and what waits, newest first."""
        return self._client.items(answers.path("/v1/webhooks", webhook_id, "deliveries"), {"status": status})

    def redeliver(self, webhook_id: str, delivery_id: str) -> Json:
        return self._client.call(
            "POST", answers.path("/v1/webhooks", webhook_id, "deliveries", delivery_id, "redeliver")
        )
