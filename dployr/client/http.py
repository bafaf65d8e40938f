"""One session with one server: requests, the renewal of its tokens, streams. What the resources are built on."""

import contextlib
import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, Self

from dployr.client import answers
from dployr.client.answers import Json
from dployr.errors import Unreachable

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
SILENCE_TIMEOUT_S = 45.0  # of a followed stream: the server's heartbeat comes every 15 s
UPLOAD_TIMEOUT_S = 120.0  # of one step: the server answers when it has stored all
PAGE = 200
UNAUTHORIZED = 401


class Keeper(Protocol):
    """Where the processes that share one login keep its tokens: a refresh token is good for one use."""

    def locked(self) -> contextlib.AbstractContextManager[tuple[str, str | None] | None]:
        """Nobody else renews meanwhile. Gives the access and refresh token that are kept now."""
        ...

    def keep(self, access: str, refresh: str | None) -> None: ...


class Session:
    """See `Client`, which is one with a method for each endpoint."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        transport: "httpx2.BaseTransport | None" = None,
        refresh_token: str | None = None,
    ) -> None:
        import httpx2  # 50 to 125 ms: only when something is asked

        self.base_url = base_url.rstrip("/")
        self.token = token
        self.refresh_token = refresh_token
        self.keeper: Keeper | None = None
        host = urllib.parse.urlsplit(self.base_url).hostname or ""
        self._http = httpx2.Client(
            base_url=self.base_url,
            transport=transport,
            timeout=httpx2.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=host not in {"127.0.0.1", "localhost", "::1"},  # a proxy never stands before this machine itself
            headers={"Accept": "application/json"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, *, query: Json | None = None, body: Json | None = None) -> Json:
        """One request; the object that was answered, {} for an empty answer."""
        response = self._send(method, path, query=query, body=body)
        if response.status_code == UNAUTHORIZED and self._renew():
            response = self._send(method, path, query=query, body=body)
        if not response.is_success:
            raise answers.api_error(response)
        if not response.content:
            return {}
        return answers.object_of(response)

    def upload(
        self, path: str, data: Any, content_type: str, method: str = "POST", patience_s: float = UPLOAD_TIMEOUT_S
    ) -> Json:
        """Send bytes, or an iterator of them, as they are. Nothing is sent twice, not even after a refused token."""
        import httpx2

        timeout = httpx2.Timeout(patience_s, connect=CONNECT_TIMEOUT_S)
        headers = {**self._headers(), "Content-Type": content_type}
        try:
            response = self._http.request(method, path, content=data, headers=headers, timeout=timeout)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise answers.api_error(response)
        return answers.object_of(response)

    def _renew(self) -> bool:
        """Get a new access token; False without a refresh token that is still good."""
        if self.refresh_token is None:
            return False
        if self.keeper is None:
            return self._exchange()
        with self.keeper.locked() as kept:
            if kept is not None and kept[0] != self.token:
                # Another process was faster; a second use would end the login.
                self.token, self.refresh_token = kept
                return True
            renewed = self._exchange()
            if renewed:
                self.keeper.keep(str(self.token), self.refresh_token)
            return renewed

    def _exchange(self) -> bool:
        offered, self.refresh_token = self.refresh_token, None
        response = self._send("POST", "/v1/auth/refresh", body={"refresh_token": offered})
        if not response.is_success:
            return False
        answer = answers.object_of(response)
        self.token, self.refresh_token = str(answer["access_token"]), str(answer["refresh_token"])
        return True

    def items(self, path: str, query: Json | None = None) -> Iterator[Json]:
        """Every object of a list, page by page."""
        cursor = None
        while True:
            page = self.call("GET", path, query={"limit": PAGE, **(query or {}), "cursor": cursor})
            yield from page["data"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    @contextlib.contextmanager
    def stream(self, path: str, query: Json, method: str = "GET", body: Json | None = None) -> Iterator[answers.Lines]:
        """An NDJSON answer while it comes."""
        import httpx2

        timeout = httpx2.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        headers = {**self._headers(), "Accept": "application/x-ndjson"}
        with contextlib.ExitStack() as stack:
            try:
                response = stack.enter_context(
                    self._http.stream(
                        method, path, params=answers.params(query), json=body, headers=headers, timeout=timeout
                    )
                )
                if not response.is_success:
                    response.read()
                    raise answers.api_error(response)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise self._unreachable(error) from error
            yield answers.Lines(self._lines(response), response.extensions.get("network_stream"))

    @contextlib.contextmanager
    def download(self, path: str, patience_s: float) -> Iterator[Iterator[bytes]]:
        """An answer's bytes while they come. Raises Unreachable when they break off."""
        import httpx2

        timeout = httpx2.Timeout(patience_s, connect=CONNECT_TIMEOUT_S)
        headers = {**self._headers(), "Accept": "*/*", "Accept-Encoding": "identity"}
        with contextlib.ExitStack() as stack:
            try:
                response = stack.enter_context(self._http.stream("GET", path, headers=headers, timeout=timeout))
                if not response.is_success:
                    response.read()
                    raise answers.api_error(response)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise self._unreachable(error) from error
            yield self._pieces(response)

    def _pieces(self, response: "httpx2.Response") -> Iterator[bytes]:
        import httpx2

        try:
            yield from response.iter_bytes()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise self._unreachable(error) from error

    def _lines(self, response: "httpx2.Response") -> Iterator[Json]:
        import httpx2

        try:
            for line in response.iter_lines():
                value = json.loads(line) if line.strip() else None
                if isinstance(value, dict) and value:  # the heartbeat is an empty line or object
                    yield answers.checked(value)
        except (httpx2.HTTPError, httpx2.StreamError, json.JSONDecodeError) as error:
            raise self._unreachable(error) from error

    def _send(
        self, method: str, path: str, *, query: Json | None = None, body: Json | None = None
    ) -> "httpx2.Response":
        import httpx2

        try:
            return self._http.request(method, path, params=answers.params(query), json=body, headers=self._headers())
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _unreachable(self, error: Exception) -> Unreachable:
        why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
        return Unreachable(f"cannot reach {self.base_url}: {why}; is the server up, and is this its address?")


class Resource:
    """The endpoints of one kind of object."""

    def __init__(self, client: Session) -> None:
        self._client = client


@contextlib.contextmanager
def log(client: Session, path: str, query: Json, *, follow: bool) -> Iterator[answers.Lines]:
    """Lines of a log endpoint: streamed while following, one page otherwise."""
    if follow:
        with client.stream(path, {**query, "follow": "true"}) as lines:
            yield lines
    else:
        yield answers.Lines(iter(client.call("GET", path, query=query)["data"]))
