"""What users declare, and its releases."""

import contextlib
from collections.abc import Iterator
from typing import Any

from dployr.client import answers, http
from dployr.client.answers import Json


class Deployments(http.Resource):
    """What users declare. `name` stands for an id or a name wherever one is taken."""

    def create(self, **fields: Any) -> Json:
        return self._client.call("POST", "/v1/deployments", body=fields)

    def list(self, project: str | None = None, name: str | None = None, status: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/deployments", {"project": project, "name": name, "status": status})

    def get(self, name: str) -> Json:
        return self._client.call("GET", answers.path("/v1/deployments", name))

    def update(self, name: str, **changes: Any) -> Json:
        """Only the fields given change; `env` merges per key, and None there deletes one."""
        return self._client.call("PUT", answers.path("/v1/deployments", name), body=changes)

    def redeploy(self, name: str, commit: str | None = None) -> Json:
        """Another release of what is declared, from what its branch is now or from `commit`."""
        body = {"commit": commit} if commit else {}
        return self._client.call("POST", answers.path("/v1/deployments", name, "redeploy"), body=body)

    def rollback(self, name: str, release: int | None = None) -> Json:
        """Back to `release`, or to the one that was live before; without a build."""
        body = {"release": release} if release is not None else {}
        return self._client.call("POST", answers.path("/v1/deployments", name, "rollback"), body=body)

    def cancel(self, name: str) -> Json:
        """Give up the release that is under way."""
        return self._client.call("POST", answers.path("/v1/deployments", name, "cancel"))

    def source(self, name: str, data: bytes | Iterator[bytes], content_type: str = "application/octet-stream") -> Json:
        """Upload a .tar.gz, .tar.zst or .zip. `data` may be an iterator of bytes too: then it is sent as it comes."""
        return self._client.upload(answers.path("/v1/deployments", name, "source"), data, content_type)

    def delete(self, name: str) -> Json:
        return self._client.call("DELETE", answers.path("/v1/deployments", name))

    def releases(self, name: str) -> Iterator[Json]:
        return self._client.items(answers.path("/v1/deployments", name, "releases"))

    def release(self, name: str, number: int) -> Json:
        return self._client.call("GET", answers.path("/v1/deployments", name, "releases", str(number)))

    def pin(self, name: str, number: int) -> Json:
        """Keep a release for good, to go back to it."""
        return self._client.call("POST", answers.path("/v1/deployments", name, "releases", str(number), "pin"))

    def unpin(self, name: str, number: int) -> Json:
        """Let a release go in its time."""
        return self._client.call("POST", answers.path("/v1/deployments", name, "releases", str(number), "unpin"))

    def diff(self, name: str, old: int, new: int) -> Json:
        """What differs between two releases."""
        return self._client.call("GET", answers.path("/v1/deployments", name, "releases", str(old), "diff", str(new)))

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
    ) -> Iterator[answers.Lines]:
        """The build log of one release, as a context that gives its lines. `filters` are those of the API."""
        path = answers.path("/v1/deployments", name, "releases", str(number), "logs")
        query = {"tail": tail, "after_seq": after_seq, **filters}
        with http.log(self._client, path, query, follow=follow) as lines:
            yield lines
