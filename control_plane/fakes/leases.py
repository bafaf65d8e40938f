"""Leases in memory."""

from control_plane.domain import lease
from control_plane.fakes import tables


class LeaseRows(tables.Rows):
    """See ports.LeaseRows."""

    async def get_lease(self, name: str) -> lease.Lease | None:
        return self._tables.leases.get(name)

    async def swap_lease(self, old: lease.Lease, new: lease.Lease) -> bool:
        if self._tables.leases.get(old.name, lease.Lease(old.name)) != old:
            return False
        self._tables.leases[new.name] = new
        return True
