"""Push-to-deploy."""

from dployr.client import answers, http
from dployr.client.answers import Json


class Hooks(http.Resource):
    """Push-to-deploy: the address that a git host calls."""

    def create(self, deployment: str) -> Json:
        """Make the address and its secret, or new ones in their place; this answer alone shows them."""
        return self._client.call("POST", answers.path("/v1/deployments", deployment, "hook"))

    def get(self, deployment: str) -> Json:
        return self._client.call("GET", answers.path("/v1/deployments", deployment, "hook"))

    def delete(self, deployment: str) -> Json:
        return self._client.call("DELETE", answers.path("/v1/deployments", deployment, "hook"))

    def receive(self, deployment: str, token: str, push: Json) -> Json:
        """What a git host does; it signs the body besides."""
        return self._client.call("POST", answers.path("/v1/hooks", deployment, token), body=push)
