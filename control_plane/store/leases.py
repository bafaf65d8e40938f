"""Rows of leases: who does what only one replica does at a time."""

import sqlalchemy as sa

from control_plane.domain import lease
from control_plane.store import tables
from control_plane.store.queries import Queries


class LeaseQueries(Queries):
    """See ports.LeaseRows."""

    async def get_lease(self, name: str) -> lease.Lease | None:
        row = await self._get(tables.leases.c.name, name)
        return lease.Lease(row.name, row.holder, row.beat) if row else None

    async def swap_lease(self, old: lease.Lease, new: lease.Lease) -> bool:
        table = tables.leases
        if old == lease.Lease(old.name):
            return await self._insert(table, {"name": new.name, "holder": new.holder, "beat": new.beat})
        same = (table.c.name == old.name, table.c.holder == old.holder, table.c.beat == old.beat)
        done = await self._connection.execute(sa.update(table).where(*same).values(holder=new.holder, beat=new.beat))
        return bool(done.rowcount)
