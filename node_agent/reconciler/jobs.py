"""Jobs of the supervisor for which somebody here waits: who goes away takes the job along."""

import asyncio
import contextlib

from node_agent import errors, ports
from node_agent.model import process


async def run(supervisor: ports.Supervisor, job: process.JobSpec) -> process.JobResult:
    """To the end; cancelled with whoever waits."""
    try:
        return await supervisor.run_job(job)
    except BaseException:
        with contextlib.suppress(errors.AgentError):
            await asyncio.shield(supervisor.cancel_job(job.id))
        raise
