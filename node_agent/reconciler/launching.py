"""What the supervisor is asked to run for a sealed release: its processes, and programs beside them, all alike."""

from typing import Any

from node_agent import errors, ports
from node_agent.model import formation, process, spec


def members(release: spec.ReleaseSpec, artifact: ports.Artifact) -> tuple[formation.Member, ...]:
    return formation.formation(release, artifact.run_cmd, static=artifact.static_root is not None)


def demand_commands(wanted: tuple[formation.Member, ...]) -> None:
    """Raises ReleaseFailedError: only the source could say what a process is that was asked for by its number alone."""
    if unknown := next((member.name for member in wanted if not member.command), ""):
        name = unknown.partition(".")[0]
        raise errors.ReleaseFailedError(
            "no_such_process",
            f"cannot run {name}: neither the deployment nor its source says how it is started; give processes.{name} a "
            "command, or leave its replicas out",
        )


def limits_of(wanted: spec.Resources) -> process.Limits:
    return process.Limits(wanted.memory_bytes, wanted.cpu, wanted.pids, wanted.strict)


def demand_limits(wanted: spec.Resources) -> None:
    """Raises ReleaseFailedError for what no program can live with: the supervisor would refuse it again and again."""
    if problem := limits_of(wanted).problem():
        raise errors.ReleaseFailedError("impossible_limit", f"cannot start the app within {problem}; change resources")


def process_of(
    process_id: process.ProcessId, command: str, port: int, release: spec.ReleaseSpec, artifact: ports.Artifact
) -> process.ProcessSpec:
    """One of its processes."""
    return process.ProcessSpec(
        id=process_id,
        command=command,
        env=release.env,
        toolchain=artifact.toolchain,
        working_dir=release.working_dir,
        port=port,
        commit=artifact.commit,
        limits=limits_of(release.resources),
        volumes=tuple(name for name, _ in release.volumes),
    )


def job_of(
    kind: process.JobKind,
    service_id: str,
    command: str,
    deadline_s: float,
    release: spec.ReleaseSpec,
    artifact: ports.Artifact,
    **own: Any,
) -> process.JobSpec:
    """A program that runs to its end where those run, with what they have; `own` is what its kind has besides."""
    return process.JobSpec(
        service_id=service_id,
        release=release.number,
        command=command,
        env=release.env,
        toolchain=artifact.toolchain,
        working_dir=release.working_dir,
        deadline_s=deadline_s,
        kind=kind,
        commit=artifact.commit,
        volumes=tuple(name for name, _ in release.volumes),
        **own,
    )
