"""An uploaded source: fetched by its digest, unpacked into the build tree by a job, deleted."""

import pathlib
import re

from node_agent import ports
from node_agent.builder import trees
from node_agent.errors import ReleaseFailedError
from node_agent.model import process
from node_agent.model.spec import ReleaseSpec
from node_agent.paths import Paths

UNPACK_S = 300.0
REFUSED = 2  # the unpacker's exit code for an archive that it does not take; its last line says why
DIGEST = re.compile(r"[0-9a-f]{64}")


class NoArchives:
    """ports.Archives of a host without a control plane that keeps any."""

    async def fetch(self, archive: str, target: pathlib.Path) -> None:  # noqa: ARG002 - the port's
        raise ReleaseFailedError("archive_gone", f"cannot get the uploaded source {archive[:12]}: upload it again")


def checked(release: ReleaseSpec) -> str:
    """The digest of the release's archive. Raises ReleaseFailedError when it has none."""
    if not DIGEST.fullmatch(release.archive):
        raise ReleaseFailedError("no_archive", "cannot build: nothing was uploaded; upload the source, then deploy")
    return release.archive


async def fetch(archives: ports.Archives, paths: Paths, service_id: str, release: ReleaseSpec) -> pathlib.Path:
    """Where it lies afterwards. Raises ReleaseFailedError, OSError."""
    place = paths.archive(service_id, release.number)
    paths.archives.mkdir(mode=0o700, parents=True, exist_ok=True)
    await archives.fetch(checked(release), place)
    return place


def job(service_id: str, release: ReleaseSpec) -> process.JobSpec:
    kind = process.JobKind.UNPACK
    return process.JobSpec(service_id, release.number, "", (), "", "", UNPACK_S, kind)


def failure(result: process.JobResult) -> ReleaseFailedError | None:
    """Why unpacking did not work, in the unpacker's own sentence when it has one."""
    if result.outcome == "exited" and result.code == 0:
        return None
    said = result.last_lines[-1] if result.last_lines else ""
    if result.outcome == "exited" and result.code == REFUSED and said.startswith("cannot "):
        return ReleaseFailedError("bad_archive", said)
    if result.outcome == "timeout":
        return ReleaseFailedError("bad_archive", f"cannot unpack the uploaded source: no end within {UNPACK_S:g} s")
    return ReleaseFailedError(
        "bad_archive", f"cannot unpack the uploaded source: the unpacker {result.outcome} {result.code}; {said}"
    )


def discard(place: pathlib.Path) -> None:
    place.unlink(missing_ok=True)


def sweep(paths: Paths) -> None:
    """Once, before anything is fetched: what a killed agent left."""
    for left in trees.children(paths.archives):
        discard(left)
