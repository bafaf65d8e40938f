"""Follows one release to its end: prints the build log and every change of state, and raises when it does not go live.

The log is read by a thread, so that a quiet build costs no requests; the state is polled, less often as time goes by.
A server that goes away for a while is waited for: the release does not depend on it.
"""

import threading
import time
from typing import Any

import click

from dployr import client, errors
from dployr.cli import output, retrying

GOOD = frozenset({"live", "draining", "retired"})
BAD = frozenset({"failed", "cancelled", "superseded"})
POLL_FIRST_S = 0.2
POLL_LAST_S = 2.0
POLL_GROWTH = 1.1
ALL_LINES = 5000
PATIENCE_S = {True: 20.0, False: 3.0}  # with a route: that is pending, that failed


def follow(http: client.Client, deployment: str, number: int, *, timeout: float, quiet: bool = False) -> None:
    """Return when release `number` is live. Raises DployrError with the reason when it failed, or at the deadline."""
    log = None if quiet else _Log(http, deployment, number)
    try:
        release = _wait(http, deployment, number, time.monotonic() + timeout)
    finally:
        if log:
            log.end()
    if release["state"] in BAD:
        reason = release.get("message") or release.get("reason") or "no reason was given"
        raise errors.DployrError(f"release {number} {release['state']}: {reason}")


def _wait(http: client.Client, deployment: str, number: int, deadline: float) -> dict[str, Any]:
    """The release once it has come to its end; says each state that is seen."""
    said, pause, silent_since = "", POLL_FIRST_S, 0.0
    while True:
        try:
            release = http.deployments.release(deployment, number)
            silent_since = 0.0
        except (errors.Unreachable, errors.ApiError) as error:
            silent_since = silent_since or time.monotonic()
            if not retrying.is_temporary(error) or time.monotonic() - silent_since > retrying.PATIENCE_S:
                raise
            release = {"state": said}
        if release["state"] != said:
            said = release["state"]
            click.echo(f"release {number}: {output.clean(said)}", err=True)
        if said in GOOD | BAD:
            return release
        if time.monotonic() > deadline:
            raise errors.DployrError(f"release {number} is still {said}; it goes on without us, see `dployr get`")
        time.sleep(pause)
        pause = min(pause * POLL_GROWTH, POLL_LAST_S)


def follow_route(http: client.Client, route_id: str) -> None:
    """Return when the route leads to what is live now. Raises DployrError with the reason when it does not: one that could
    not lead to the former release is looked at anew, a moment after the new one is live.
    """
    began = time.monotonic()
    route = http.routes.get(route_id)
    while route["status"] != "active" and time.monotonic() - began < PATIENCE_S[route["status"] == "pending"]:
        time.sleep(POLL_FIRST_S)
        route = http.routes.get(route_id)
    if route["status"] != "active":
        why = output.clean(str(route.get("message") or route["status"]))
        raise errors.DployrError(f"the release is live, but {route['domain']} does not lead to it: {why}")


class _Log:
    """Prints the build log from a thread until `end`."""

    def __init__(self, http: client.Client, deployment: str, number: int) -> None:
        self._http, self._deployment, self._number = http, deployment, number
        self._ended = threading.Event()
        self._lines: client.Lines | None = None
        self._seen = 0
        self._thread = threading.Thread(target=self._run, name="build-log", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop following, then print what was written meanwhile."""
        self._ended.set()
        if lines := self._lines:
            lines.cut()
        self._thread.join(retrying.RETRY_S)
        try:
            self._read(follow=False)
        except errors.DployrError:
            return  # the release's state is known and says more

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._read(follow=True)
            except errors.DployrError as error:
                if not retrying.is_temporary(error):
                    return
            self._ended.wait(retrying.RETRY_S)

    def _read(self, *, follow: bool) -> None:
        with self._http.deployments.release_log(
            self._deployment, self._number, tail=ALL_LINES, after_seq=self._seen, follow=follow
        ) as lines:
            self._lines = lines if follow else None
            if follow and self._ended.is_set():
                return
            for entry in lines:
                self._seen = max(self._seen, int(entry.get("seq", 0)))
                output.print_log_line(entry, prefix="  ")
