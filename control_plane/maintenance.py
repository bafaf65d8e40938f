"""The subcommands that change the keys of an installation, beside a running daemon or without one.

The daemon needs no signal: it reads the signing keys again every few seconds, and the file of the sealing keys when that
has changed. A second composition root, next to wiring.py.
"""

import sys

from control_plane import clock, errors
from control_plane.config import Settings
from control_plane.notifier import LocalNotifier
from control_plane.services.context import Context
from control_plane.services.signing import Signing
from control_plane.store import open_store


async def rotate_signing(settings: Settings) -> None:
    """A new key signs tokens; nobody is logged out."""
    _demand_data(settings)
    system = clock.SystemClock()
    store = await open_store(settings.database, system)
    try:
        key = await Signing(Context(store, LocalNotifier(), system, clock.SystemIds())).rotate()
    finally:
        await store.close()
    _say(f"tokens are signed with the new key {key.kid} in a few seconds; those that are out stay good")


async def rotate_sealing(settings: Settings) -> None:
    """A new key seals the secrets at rest; everything is brought under it, then the older ones are forgotten."""
    _demand_data(settings)
    store = await open_store(settings.database, clock.SystemClock())
    try:
        name, changed = await store.rotate_sealing()
    finally:
        await store.close()
    _say(
        f"{changed} secrets are sealed with the new key {name}; the older key is gone from the key file, "
        "so keep its copy with the backups that were made before"
    )


def _demand_data(settings: Settings) -> None:
    """A command that came with the wrong directory must not make an installation there."""
    if not settings.database.exists():
        raise errors.NotFoundError(f"cannot find {settings.database}: give the directory of the daemon with --data-dir")


def _say(sentence: str) -> None:
    sys.stdout.write(f"dployr-control-plane: {sentence}\n")
