"""Hashes of visitors' passwords: who may have them made, and what they may take."""

import asyncio
import threading

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.domain.route_options import Given
from control_plane.fakes.notifier import RecordingNotifier
from control_plane.fakes.store import MemoryStore
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.htpasswd import Htpasswd
from control_plane.services.routes import RouteChanges, RouteFields, Routes
from tests import builders

STRANGER = values.Principal("usr_stranger", "stranger@example.com")


async def test_many_at_once_take_one_thread_and_leave_the_others_to_logins(monkeypatch):
    goes_on, inside, most = threading.Event(), [], []

    def hashed(_self, password):
        inside.append(password)
        most.append(len(inside))
        assert goes_on.wait(20)
        inside.remove(password)
        return "$6$x"

    monkeypatch.setattr(Htpasswd, "_hash", hashed)
    htpasswd = Htpasswd(builders.CountingIds())
    waiting = [asyncio.create_task(htpasswd.hashes({"ada": f"password {n}"})) for n in range(64)]
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "a login"), 10) == "a login"
    finally:
        goes_on.set()
        await asyncio.gather(*waiting)
    assert max(most) == 1


async def test_nothing_is_hashed_for_who_may_not_make_the_route(monkeypatch):
    monkeypatch.setattr(Htpasswd, "_hash", lambda *_: pytest.fail("hashed for a stranger"))
    context = Context(MemoryStore(), RecordingNotifier(), builders.StillClock(), builders.CountingIds())
    await ensure_defaults(context)
    options = Given(basic_auth={"ada": "correct horse"})
    with pytest.raises(errors.InvalidError, match="no such service"):
        await Routes(context).create(STRANGER, RouteFields("a.example.com", "theirs", options=options))
    with pytest.raises(errors.NotFoundError):
        await Routes(context).update(STRANGER, "rte_1", RouteChanges(options=options))
