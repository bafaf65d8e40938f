"""The Python client of the REST API: one method per endpoint, plain JSON objects in and out.

    client = Client("http://127.0.0.1:8080")
    client.login("admin@localhost", password)
    client.deployments.create(name="hello", source="remote", ...)

Raises `ApiError` for an answer that is no success and `Unreachable` for none at all. It repeats nothing by itself, but
for a request that was refused because the access token had expired, when it has a refresh token.
Not for use from several threads, but for `release_log` and `logs`, which hold a connection of their own.
"""

from typing import TYPE_CHECKING, cast

from dployr.client import answers
from dployr.client.answers import Json, Lines
from dployr.client.deployments import Deployments
from dployr.client.history import Audit, Events
from dployr.client.hooks import Hooks
from dployr.client.http import Keeper, Session
from dployr.client.instances import Instances
from dployr.client.people import Tokens, Users
from dployr.client.projects import Members, Projects
from dployr.client.routes import Routes
from dployr.client.services import Apply, Env, Services
from dployr.client.volumes import Volumes
from dployr.client.webhooks import Webhooks
from dployr.errors import ApiError, Unreachable

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "ApiError", "Apply", "Audit", "Client", "Deployments", "Env", "Events", "Hooks", "Instances", "Json", "Keeper", "Lines",
    "Members", "Projects", "Routes", "Services", "Tokens", "Unreachable", "Users", "Volumes", "Webhooks",
]  # fmt: skip


class Client(Session):
    """A signed-in session with one server. `transport` is what httpx2 calls a transport, for tests and special nets."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        transport: "httpx2.BaseTransport | None" = None,
        refresh_token: str | None = None,
    ) -> None:
        super().__init__(base_url, token, transport, refresh_token)
        self.deployments = Deployments(self)
        self.services = Services(self)
        self.instances = Instances(self)
        self.users = Users(self)
        self.tokens = Tokens(self)
        self.routes = Routes(self)
        self.webhooks = Webhooks(self)
        self.env = Env(self)
        self.volumes = Volumes(self)
        self.hooks = Hooks(self)
        self.projects = Projects(self)
        self.members = Members(self)
        self.events = Events(self)
        self.audit = Audit(self)

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
            raise answers.api_error(response)
        return response.text
