"""What deployments belong to, and who works on them."""

from collections.abc import Iterator

from dployr.client import answers, http
from dployr.client.answers import Json


class Projects(http.Resource):
    """What deployments belong to. `name` stands for an id or a name."""

    def list(self, name: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/projects", {"name": name})

    def create(self, name: str, description: str = "") -> Json:
        """Make a project and own it."""
        return self._client.call("POST", "/v1/projects", body={"name": name, "description": description})

    def get(self, name: str) -> Json:
        return self._client.call("GET", answers.path("/v1/projects", name))

    def update(self, project: str, **changes: str) -> Json:
        """Give a new `name` or `description` to a project."""
        return self._client.call("PATCH", answers.path("/v1/projects", project), body=changes)

    def delete(self, name: str, *, force: bool = False) -> Json:
        """Take an empty project away; with `force` one with deployments, which is answered while it is deleting."""
        return self._client.call(
            "DELETE", answers.path("/v1/projects", name), query={"force": "true" if force else None}
        )


class Members(http.Resource):
    """Who is what in a project. `user` stands for an id or an email."""

    def list(self, project: str) -> Iterator[Json]:
        return self._client.items(answers.path("/v1/projects", project, "members"))

    def get(self, project: str, user: str) -> Json:
        return self._client.call("GET", answers.path("/v1/projects", project, "members", user))

    def put(self, project: str, user: str, role: str) -> Json:
        """Make `user` viewer, developer, admin or owner."""
        return self._client.call("PUT", answers.path("/v1/projects", project, "members", user), body={"role": role})

    def remove(self, project: str, user: str) -> Json:
        return self._client.call("DELETE", answers.path("/v1/projects", project, "members", user))
