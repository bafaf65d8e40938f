"""Everything sealed, brought under the newest key: after a rotation, and after the upgrade that began to seal.

Each kind of sealed column is listed here once. What is open still (from before there were seals) is sealed on the way.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from control_plane.store import configs, near, routes, tables
from control_plane.store.accounts import place_of_setting
from control_plane.store.history import place_of_answer, place_of_fingerprint
from control_plane.store.sealing import FORMAT, Keyring

Row = sa.Row[Any]
# table, column, fields to hide (none: the column is the secret itself), and the place of a row's seal
COLUMNS: tuple[tuple[sa.Table, str, tuple[str, ...], Callable[[Row], str]], ...] = (
    (tables.deployments, "config", configs.HIDDEN, lambda row: f"deployments|{row.id}|config"),
    (tables.releases, "config", configs.HIDDEN, lambda row: f"releases|{row.id}|config"),
    (tables.routes, "options", routes.HIDDEN, lambda row: f"routes|{row.id}|options"),
    (tables.deployments, "hook_secret", (), lambda row: f"deployments|{row.id}|hook_secret"),
    (tables.webhooks, "secret", (), lambda row: f"webhooks|{row.id}|secret"),
    (tables.settings, "value", (), lambda row: place_of_setting(row.key)),
    (tables.answers, "body", (), lambda row: place_of_answer(row.principal, row.route, row.key)),
    (tables.answers, "fingerprint", (), lambda row: place_of_fingerprint(row.principal, row.route, row.key)),
)


async def is_anything_sealed(connection: near.Connection) -> bool:
    """Whether the keys are needed: every installation has a setting that is sealed, from its first start on."""
    rows = (await connection.execute(sa.select(tables.settings.c.value))).all()
    return any(row.value.startswith(f"{FORMAT}.") for row in rows)


async def check(connection: near.Connection, keys: Keyring) -> None:
    """SealError when these are not the keys of this database: said at the start, not by every request later."""
    for row in (await connection.execute(sa.select(tables.settings))).all():
        keys.open(row.value, place_of_setting(row.key))


async def seal_what_is_open(connection: near.Connection, keys: Keyring) -> int:
    """Seal rows that are not; how many."""
    return await _each(connection, keys, lambda _: None)


async def rewrap_all(connection: near.Connection, keys: Keyring) -> int:
    """Bring every seal under the newest key; how many were changed."""
    return await _each(connection, keys, keys.rewrap)


async def left_behind(connection: near.Connection, names: Sequence[str]) -> list[str]:
    """The columns of any table that hold a seal under one of the keys `names`: those that COLUMNS has forgotten."""
    found = []
    for table in tables.METADATA.sorted_tables:
        for column in table.columns:
            text = sa.cast(column, sa.Text)
            under = sa.or_(*(text.like(f"%{FORMAT}.{name}.%") for name in names))
            if (await connection.execute(sa.select(sa.func.count()).select_from(table).where(under))).scalar_one():
                found.append(f"{table.name}.{column.name}")
    return found


async def _each(connection: near.Connection, keys: Keyring, change: Callable[[str], str | None]) -> int:
    changed = 0
    for table, name, hidden, place in COLUMNS:
        for row in (await connection.execute(sa.select(table))).all():
            new = _changed(getattr(row, name), hidden, keys, place(row), change)
            if new is not None:
                same = [column == getattr(row, column.name) for column in table.primary_key.columns]
                await connection.execute(sa.update(table).where(*same).values({name: new}))
                changed += 1
    return changed


def _changed(
    value: Any, hidden: tuple[str, ...], keys: Keyring, place: str, change: Callable[[str], str | None]
) -> Any:
    """The new value of a column, None when it stays."""
    if hidden:
        if configs.SEALED not in value:
            return configs.sealed(value, hidden, keys, place)
        new = change(value[configs.SEALED])
        return None if new in {None, value[configs.SEALED]} else {**value, configs.SEALED: new}
    if not value:
        return None
    if not value.startswith(f"{FORMAT}."):
        return keys.seal(value if isinstance(value, str) else json.dumps(value), place)
    new = change(value)
    return None if new == value else new
