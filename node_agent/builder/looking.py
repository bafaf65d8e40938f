"""The look at a source that was fetched: its manifest, what it is, and the release as it will be. Blocks; run in a thread."""

import dataclasses
import os
import pathlib

from detection import choices, manifest, merge, source
from node_agent.builder import seal
from node_agent.errors import ReleaseFailedError
from node_agent.model import decided, detect, end_of_life
from node_agent.model.spec import ReleaseSpec, Runtime


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """`release` is the one asked for, filled up with what its source says (`rows`, also where the request says otherwise).

    `decision` is by all that was asked for. `files` are those of its working directory.
    """

    release: ReleaseSpec
    rows: decided.Rows
    decision: choices.Decision
    files: dict[str, str]

    @property
    def toolchain_of(self) -> Runtime | None:
        """The runtime whose programs build and run it; a site that is built is built by Node."""
        runtime = self.release.runtime
        if runtime is Runtime.CUSTOM:
            return None
        if runtime is Runtime.STATIC:
            builds = self.decision.install or self.decision.build
            return Runtime.NODEJS if builds and "package.json" in self.files else None
        return runtime

    @property
    def manager(self) -> str:
        """The package manager that is provided beside the runtime."""
        return self.decision.package_manager.value

    def words(self) -> list[str]:
        """What was decided and why, for the first lines of the build log."""
        lines = [f"{name}: {one.value or 'open'}  ({one.reason})" for name, one in self.decision.rows()]
        return [*lines, *(f"note: {note}" for note in self.decision.notes)]


def look(place: pathlib.Path, asked: ReleaseSpec) -> Look:
    """Raises ReleaseFailedError: a working directory that is none, a bad manifest, a source that says nothing."""
    try:
        seen = source.decide(place, decided.asked(asked))
    except manifest.ManifestError as error:
        raise ReleaseFailedError("bad_manifest", str(error)) from error
    except (NotADirectoryError, ValueError) as error:
        raise ReleaseFailedError(
            "bad_working_dir", f"cannot use working_dir {str(error)!r}: it is not a directory inside the repository"
        ) from error
    decision = seen.decision
    if not decision.runtime:
        raise ReleaseFailedError(
            "unknown_runtime", "cannot tell what the source is: set runtime, or add a dployr.yaml with it"
        )
    rows = decided.rows_of(merge.decide(seen.files, seen.said, decided.asked_of_build(asked)), seen.said)
    return Look(decided.effective(asked, rows), rows, decision, seen.files)


def start_command(release: ReleaseSpec, why: str = "") -> str:
    """Of a release that is filled up; `why` is why nothing was found. Raises ReleaseFailedError when nothing says it."""
    command = release.run_cmd
    runs = bool(command or release.cron) or any(name != choices.RELEASE for name, _ in release.processes)
    if not runs and release.runtime is not Runtime.STATIC:
        step = why if "run_cmd" in why else f"{why or 'nothing says it'}: set run_cmd, or add a Procfile with `web: …`"
        raise ReleaseFailedError("no_run_cmd", f"cannot tell how to start the application: {step}")
    return "" if release.runtime is Runtime.STATIC else command


def static_root(place: pathlib.Path, found: Look) -> str | None:
    """The directory of the built tree `place` to serve, relative to it; None for what is no static site."""
    release = found.release
    if release.runtime is not Runtime.STATIC:
        return None
    directory = place / release.working_dir
    with_index = [name for name in (".", *detect.STATIC_DIRS) if (directory / name / "index.html").is_file()]
    built = bool(found.decision.install or found.decision.build)
    said = release.static_dir if _says_where(found, with_index) else ""
    name = detect.static_dir(said, built=built, with_index=with_index)
    if name is None:
        raise ReleaseFailedError("bad_static_dir", "cannot find an index.html to serve: set static_dir")
    root = os.path.normpath(os.path.join(release.working_dir, name))  # noqa: PTH118 - relative, compared as text
    real = seal.inside(place, root)
    if real is None or not real.is_dir() or ".." in name.split("/"):
        raise ReleaseFailedError(
            "bad_static_dir", f"cannot serve static_dir {release.static_dir!r}: it is not a directory inside the build"
        )
    return root


def _says_where(found: Look, with_index: list[str]) -> bool:
    """What was seen before a build counts only where its tool is known to write there."""
    decision = found.decision
    if decision.static_dir.origin != choices.DETECTED:
        return True
    return found.release.static_dir in with_index and bool(decision.install or not decision.build)


def plan(found: Look, pip: str) -> detect.BuildPlan:
    return detect.plan_build(found.decision, found.files, pip)


def warning(toolchain: str, now: float) -> str:
    """Of the runtime in the name of a toolchain, when it is no longer mended."""
    kind, _, exact = toolchain.partition("+")[0].partition("-")
    return end_of_life.warning({"node": "nodejs"}.get(kind, kind), exact, now)
