"""Who signs in: users, and the tokens of each."""

from collections.abc import Iterator
from typing import Any

from dployr.client import answers, http
from dployr.client.answers import Json


class Users(http.Resource):
    """The people of the installation; for operators. `user` is an id or an email."""

    def list(self, email: str | None = None) -> Iterator[Json]:
        return self._client.items("/v1/users", {"email": email})

    def create(self, email: str, password: str, *, operator: bool = False) -> Json:
        body = {"email": email, "password": password, "operator": operator}
        return self._client.call("POST", "/v1/users", body=body)

    def get(self, user: str) -> Json:
        return self._client.call("GET", answers.path("/v1/users", user))

    def update(self, user: str, **changes: Any) -> Json:
        """Of email, operator, disabled and password only those given change."""
        return self._client.call("PATCH", answers.path("/v1/users", user), body=changes)

    def delete(self, user: str) -> None:
        self._client.call("DELETE", answers.path("/v1/users", user))


class Tokens(http.Resource):
    """Your personal tokens."""

    def list(self) -> Iterator[Json]:
        return self._client.items("/v1/tokens")

    def create(self, name: str, **options: Any) -> Json:
        """`token` of the answer is the secret, shown this once. Options: scopes, project, expires_in, expires_at."""
        return self._client.call("POST", "/v1/tokens", body={"name": name, **options})

    def get(self, token_id: str) -> Json:
        return self._client.call("GET", answers.path("/v1/tokens", token_id))

    def delete(self, token_id: str) -> None:
        self._client.call("DELETE", answers.path("/v1/tokens", token_id))
