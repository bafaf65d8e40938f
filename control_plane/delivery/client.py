"""The one client for addresses that users chose. Every call resolves once, checks, and dials what was checked.

No redirects, no proxies of the environment, no connection kept for a later call, no answer read beyond its beginning.
The services may use it as well: a test of a webhook must not see another network than its deliveries.
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Mapping

import httpcore2

from control_plane import clock, errors
from control_plane.delivery.dial import Dialler
from control_plane.delivery.guard import Checked, Guard
from control_plane.delivery.parts import Answer
from control_plane.domain import webhook

ATTEMPT_S = 10.0
BODY_S = 1.0  # to read the beginning of an answer; its status is what counts
FAULTS = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)


class Client:
    """`tls` is for tests with a CA of their own."""

    def __init__(
        self,
        guard: Guard,
        now: clock.Clock,
        tls: ssl.SSLContext | None = None,
        attempt_s: float = ATTEMPT_S,
    ) -> None:
        self._guard = guard
        self._clock = now
        self._tls = tls or ssl.create_default_context()
        self._attempt_s = attempt_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One attempt, over in `attempt_s` with all that belongs to it.

        InvalidError when the target may not be called, UnavailableError when no answer came. Once a status has come
        it counts, even if the rest of the answer breaks off or never ends.
        """
        began = self._clock.monotonic()
        received = _Received()
        host = "the receiver"
        try:
            async with asyncio.timeout(self._attempt_s) as limit:
                checked = await self._guard.check_target(url)
                host = checked.url.host
                await self._exchange(checked, headers, body, received, limit)
        except TimeoutError:
            if not received.status:
                words = f"cannot reach {host}: no answer within {self._attempt_s:g} s"
                raise errors.UnavailableError(words) from None
        except FAULTS as error:
            if not received.status:
                raise errors.UnavailableError(f"cannot reach {host}: {_words(error)}") from error
        return Answer(received.status, bytes(received.body), self._clock.monotonic() - began)

    async def _exchange(
        self,
        checked: Checked,
        headers: Mapping[str, str],
        body: bytes,
        received: "_Received",
        limit: asyncio.Timeout,
    ) -> None:
        url = checked.url
        target = httpcore2.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
        sent = {"Host": url.host_header, "Connection": "close", **headers}
        async with (
            contextlib.aclosing(Dialler(checked.addresses)) as dialler,
            httpcore2.AsyncConnectionPool(
                ssl_context=self._tls, network_backend=dialler, max_keepalive_connections=0
            ) as pool,
            pool.stream("POST", target, headers=list(sent.items()), content=body) as response,
        ):
            received.status = response.status
            body_limit = asyncio.get_running_loop().time() + BODY_S
            limit.reschedule(min(body_limit, limit.when() or body_limit))
            async with contextlib.aclosing(response.aiter_stream()) as chunks:
                async for chunk in chunks:
                    received.body += chunk[: webhook.MAX_RESPONSE - len(received.body)]
                    if len(received.body) >= webhook.MAX_RESPONSE:
                        break


class _Received:
    """What has come of an answer so far; outlives the exception that ends the reading."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()


def _words(error: BaseException) -> str:
    """Of the first cause, and without the address: a name's address in here is not for everybody to know."""
    while inner := error.__cause__ or next((arg for arg in error.args if isinstance(arg, BaseException)), None):
        error = inner
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no reason given'}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
