"""A builder in memory. Scripted by what a release says: `build_cmd` "fail …" fails, "hang" never ends."""

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable

from node_agent import ports
from node_agent.errors import ReleaseFailedError
from node_agent.model import source, spec, status


class FakeBuilder:
    """`branches` maps (remote, branch) to a commit; what is not in it does not exist. `built` lists what was built."""

    def __init__(self, branches: dict[tuple[str, str], str] | None = None) -> None:
        self.branches = branches or {}
        self.built: list[tuple[str, int]] = []
        self._sealed: dict[str, dict[int, ports.Artifact]] = {}
        self._origins: dict[tuple[str, int], int] = {}

    async def build(
        self, service_id: str, release: spec.ReleaseSpec, progress: Callable[[status.ReleaseState, str], None]
    ) -> ports.Artifact:
        if existing := await self.sealed(service_id, release.number):
            return existing
        progress(status.ReleaseState.FETCHING, release.commit)
        if release.build_of and (former := self._copy_of(service_id, release.build_of)):
            progress(status.ReleaseState.BUILDING, former.commit)
            self._origins[service_id, release.number] = release.build_of
            return self._keep(service_id, dataclasses.replace(former, release=release.number))
        commit = release.commit or self._resolve(release)
        if not source.is_commit(commit):
            raise ReleaseFailedError("commit_not_found", f"cannot use the commit {commit!r}: give the full id")
        progress(status.ReleaseState.FETCHING, commit)
        await asyncio.sleep(0)
        progress(status.ReleaseState.BUILDING, commit)
        if release.build_cmd == "hang":
            await asyncio.Event().wait()
        if release.build_cmd.startswith("fail"):
            raise ReleaseFailedError("build_failed", f"`{release.build_cmd}` exited with code 1")
        return self._seal(service_id, release, commit)

    async def sealed(self, service_id: str, release: int) -> ports.Artifact | None:
        return self._sealed.get(service_id, {}).get(release)

    async def prune(self, service_id: str, keep: frozenset[int]) -> None:
        found = self._sealed.get(service_id, {})
        self._sealed[service_id] = {number: artifact for number, artifact in found.items() if number in keep}

    async def remove(self, service_id: str) -> None:
        self._sealed.pop(service_id, None)

    def _copy_of(self, service_id: str, number: int) -> ports.Artifact | None:
        """The build of release `number`, in whichever release it is still there."""
        found = self._sealed.get(service_id, {})
        return next((found[n] for n in sorted(found) if number in {n, self._origins.get((service_id, n))}), None)

    def _resolve(self, release: spec.ReleaseSpec) -> str:
        commit = self.branches.get((release.remote, release.branch))
        if commit is None:
            raise ReleaseFailedError("branch_not_found", f"cannot find the branch {release.branch!r}: push it")
        return commit

    def _seal(self, service_id: str, release: spec.ReleaseSpec, commit: str) -> ports.Artifact:
        run_cmd = release.run_cmd
        static = release.runtime is spec.Runtime.STATIC
        if not run_cmd and not static and not release.processes:
            raise ReleaseFailedError("no_run_cmd", "cannot tell how to start the application: set run_cmd")
        inputs = (commit, release.runtime, release.version, release.build_cmd, release.working_dir, release.build_env)
        artifact = ports.Artifact(
            release.number,
            commit,
            hashlib.sha256(repr(inputs).encode()).hexdigest(),
            "" if static else f"{release.runtime.value}-1.0.0",
            static_root=(release.static_dir or ".") if static else None,
            run_cmd=run_cmd,
        )
        self.built.append((service_id, release.number))
        return self._keep(service_id, artifact)

    def _keep(self, service_id: str, artifact: ports.Artifact) -> ports.Artifact:
        self._sealed.setdefault(service_id, {})[artifact.release] = artifact
        return artifact
