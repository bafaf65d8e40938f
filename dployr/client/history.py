"""What happened, and who did it."""

import contextlib
from collections.abc import Iterator

from dployr.client import answers, http
from dployr.client.answers import Json


class Events(http.Resource):
    """What happened. Filters: `since` (a time, or the id or sequence of an event), `type`, `subject`, `project`."""

    def list(self, **filters: str | int | None) -> Iterator[Json]:
        """From the first that was ever kept, or behind `since`, up to now."""
        return self._client.items("/v1/events", dict(filters))

    @contextlib.contextmanager
    def follow(self, **filters: str | int | None) -> Iterator[answers.Lines]:
        """What happens from now on, or behind `since`, without an end: a context that gives the events."""
        with self._client.stream("/v1/events", {**filters, "follow": "true"}) as lines:
            yield lines


class Audit(http.Resource):
    """Who did what, when and from where. Filters: `actor`, `action`, `target`, `since`, `until`, `project`."""

    def list(self, **filters: str | None) -> Iterator[Json]:
        """Newest first."""
        return self._client.items("/v1/audit", dict(filters))
