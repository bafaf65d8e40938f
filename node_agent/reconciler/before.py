"""The release command: once between the build and the first start, as migrations of a database want it.

It runs as the app does, with its variables and secrets, beside what still serves. It ends with the agent, whose
successor runs it again.
"""

from node_agent import errors, ports
from node_agent.model import formation, process, spec
from node_agent.reconciler import jobs, launching

DEADLINE_S = 1200.0


async def run(
    supervisor: ports.Supervisor, service_id: str, release: spec.ReleaseSpec, artifact: ports.Artifact
) -> None:
    """Raises ReleaseFailedError unless it exits with 0."""
    command = formation.release_command(release)
    job = launching.job_of(process.JobKind.RELEASE, service_id, command, DEADLINE_S, release, artifact)
    try:
        result = await jobs.run(supervisor, job)
    except errors.SupervisorRefusedError as error:
        raise errors.ReleaseFailedError("release_command_failed", f"cannot run the release command: {error}") from error
    if (result.outcome, result.code) != ("exited", 0):
        words = f"the release command `{command[:200]}` {result.words}; mend it and deploy again"
        raise errors.ReleaseFailedError("release_command_failed", words)
