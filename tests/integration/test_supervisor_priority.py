"""Who goes first when a host is busy."""

import os

import pytest

from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import a_process
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be preferred")
async def test_the_supervisor_goes_ahead_of_the_processes_it_starts(host):
    supervisor = host.start()
    client = SupervisorClient(host.paths)
    await client.connect(20)
    started = await client.start(a_process())
    assert os.getpriority(os.PRIO_PROCESS, supervisor.pid) == -10
    assert os.getpriority(os.PRIO_PROCESS, started.pid) == 0
    await client.stop(started.id, 5.0)
    await client.close()
