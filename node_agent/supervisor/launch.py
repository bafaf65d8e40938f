"""What a program is to be started with: its words, its environment, its user, its directory, its output files. Pure,
but for our own environment.

This is the only module in which a text for a shell exists: `run_cmd` and `build_cmd`, given whole to /bin/sh as one
argument.
"""

import dataclasses
import errno
import os
import pathlib
import sys

from node_agent.model import volume
from node_agent.model.process import JobKind, JobSpec, ProcessSpec
from node_agent.paths import Paths
from node_agent.supervisor import procfs
from node_agent.supervisor.identities import Household, Identity, User

BUILDER = pathlib.Path(__file__).parents[1] / "builder"
UNPACK, HAND_OVER, BACKUP = (
    BUILDER / f"{name}.py" for name in ("unpack", "hand_over", "backup")
)  # run, never imported
SHELL = "/bin/sh"
NOWHERE = pathlib.Path("/dev/null")
BASE_PATH = "/usr/local/bin:/usr/bin:/bin"
# How this host reaches the outside, as its operator set it for the supervisor; builds fetch packages the same way.
HOST_NETWORK = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "PIP_INDEX_URL"),
)
RESERVED = frozenset({"PORT", "HOME"})
RESERVED_PREFIX = "DPLOYR_"


class StartError(Exception):
    """The program cannot be started; `code` is an errno."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True, slots=True)
class Launch:
    """All that a spawn needs. `directory` must lie inside `tree` once every link is followed.

    `piped`: the outputs are pipes that somebody reads already, not files. `user`: whom it runs as, None for ourselves.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    tree: pathlib.Path
    directory: str
    stdout: pathlib.Path
    stderr: pathlib.Path
    piped: bool = False
    user: User | None = None


def process_launch(paths: Paths, spec: ProcessSpec, identity: Identity | None = None) -> Launch:
    """How a process of a release is started. Raises StartError."""
    service_id, release = spec.id.service_id, spec.id.release
    tree = paths.release_tree(service_id, release)
    own = {"PORT": str(spec.port), **_own(paths, service_id, release, str(spec.id)), "DPLOYR_COMMIT": spec.commit}
    own |= _volumes(paths, service_id, spec.volumes)
    return Launch(
        argv=("/bin/sh", "-c", spec.command),
        env=_environment(_search_path(paths, tree, spec.working_dir, spec.toolchain), spec.env, own),
        tree=tree,
        directory=spec.working_dir,
        stdout=paths.log_file(service_id, spec.id.name, release, "stdout"),
        stderr=paths.log_file(service_id, spec.id.name, release, "stderr"),
        user=identity.app_user if identity else None,
    )


def job_launch(
    paths: Paths, job: JobSpec, identity: Identity | None = None, household: Household | None = None
) -> Launch:
    """How a job is started. Raises StartError."""
    if job.kind in {JobKind.OPEN, JobKind.SEAL}:
        return _hand_over_launch(paths, job, identity, household)
    return LAUNCHES[job.kind](paths, job, identity)


def _build_launch(paths: Paths, job: JobSpec, identity: Identity | None) -> Launch:
    """With caches that all builds share, or of its own where builds of others are other users."""
    tree = paths.build_tree(job.service_id, job.release)
    caches = paths.build_home(job.service_id) if identity else paths.cache
    wanted = (
        *((key, os.environ[key]) for key in HOST_NETWORK if key in os.environ),
        ("CI", "1"),
        ("npm_config_cache", str(caches / "npm")),
        ("PIP_CACHE_DIR", str(caches / "pip")),
        *job.env,
    )
    own = _own(paths, job.service_id, job.release, job.id)
    if identity:
        own["HOME"] = str(caches)
    return Launch(
        argv=("/bin/sh", "-c", job.command),
        env=_environment(_search_path(paths, tree, job.working_dir, job.toolchain), wanted, own),
        tree=tree,
        directory=job.working_dir,
        stdout=paths.log_file(job.service_id, "build", job.release, "stdout"),
        stderr=paths.log_file(job.service_id, "build", job.release, "stderr"),
        user=identity.build_user if identity else None,
    )


def _unpack_launch(paths: Paths, job: JobSpec, identity: Identity | None) -> Launch:
    """It opens the archive, which is ours alone, and drops by itself before it reads a byte."""
    archive = paths.archive(job.service_id, job.release)
    user = (str(identity.build), str(identity.group)) if identity else ()
    return _own_program(paths, job, (sys.executable, "-I", str(UNPACK), str(archive), *user))


def _hand_over_launch(paths: Paths, job: JobSpec, identity: Identity | None, household: Household | None) -> Launch:
    """As ourselves: only root gives files away. Where there are no users, all is ours already.

    What is sealed is the agent's, for the service's group to read; a static site for that of the proxy, too.
    """
    agent = household.agent if household else User(os.getuid(), os.getgid())
    build, group = (identity.build, identity.group) if identity else (agent.uid, agent.gid)
    readers = household.proxy if household and job.static and job.kind is JobKind.SEAL else None
    who = (build, agent.uid, group, *([readers.gid] if readers else []))
    return _own_program(paths, job, (sys.executable, "-I", "-S", str(HAND_OVER), job.kind.value, *map(str, who)))


def _remove_launch(paths: Paths, job: JobSpec, identity: Identity | None) -> Launch:  # noqa: ARG001 - as ourselves
    """No link is followed on the way."""
    service = paths.service(job.service_id)
    users = (paths.home, paths.tmp, paths.build_home, paths.build_tmp, paths.builds, paths.releases, paths.volumes)
    found = [paths.build_tree(job.service_id, job.release)] if job.release else [of(job.service_id) for of in users]
    if job.volume:
        found = [of(job.service_id, job.volume) for of in (paths.volume_draft, paths.volume_former)]
    names = [str(place.relative_to(service)) for place in found]
    own = {**_own(paths, job.service_id, job.release, job.id), "HOME": "/"}
    return Launch(("/bin/rm", "-rf", "--", *names), _environment(BASE_PATH, (), own), service, ".", NOWHERE, NOWHERE)


def _clear_launch(paths: Paths, job: JobSpec, identity: Identity | None) -> Launch:  # noqa: ARG001 - as ourselves
    """The directories stay: rooms stand on one of them."""
    service = paths.service(job.service_id)
    places = [paths.build_tmp(job.service_id), *([] if job.release else [paths.build_home(job.service_id)])]
    names = [str(place.relative_to(service)) for place in places]
    argv = ("/usr/bin/find", "-P", *names, "-xdev", "-mindepth", "1", "-delete")
    own = {**_own(paths, job.service_id, job.release, job.id), "HOME": "/"}
    return Launch(argv, _environment(BASE_PATH, (), own), service, ".", NOWHERE, NOWHERE)


def _own_program(paths: Paths, job: JobSpec, argv: tuple[str, ...]) -> Launch:
    """A program of ours in the build tree."""
    return Launch(
        argv=argv,
        env=_environment(BASE_PATH, (), _own(paths, job.service_id, job.release, job.id)),
        tree=paths.build_tree(job.service_id, job.release),
        directory=".",
        stdout=paths.log_file(job.service_id, "build", job.release, "stdout"),
        stderr=paths.log_file(job.service_id, "build", job.release, "stderr"),
    )


def _run_launch(paths: Paths, job: JobSpec, identity: Identity | None) -> Launch:
    """In the environment of a release's processes: a command (one-off, of the release, of a cron entry), or a check of one."""
    tree = paths.release_tree(job.service_id, job.release)
    own = {**_own(paths, job.service_id, job.release, job.id), "DPLOYR_COMMIT": job.commit}
    own |= _volumes(paths, job.service_id, job.volumes)
    if job.kind is JobKind.CHECK:
        own["PORT"] = str(job.port)
    stdout, stderr = (_output(paths, job, stream) for stream in ("stdout", "stderr"))
    return Launch(
        argv=("/bin/sh", "-c", job.command),
        env=_environment(_search_path(paths, tree, job.working_dir, job.toolchain), job.env, own),
        tree=tree,
        directory=job.working_dir,
        stdout=stdout,
        stderr=stderr,
        piped=job.kind is JobKind.RUN,
        user=identity.app_user if identity else None,
    )


def _output(paths: Paths, job: JobSpec, stream: str) -> pathlib.Path:
    if job.kind is JobKind.RUN:
        return paths.run_pipe(job.run_id, stream)
    return paths.log_file(job.service_id, job.log_name, job.release, stream) if job.log_name else NOWHERE


def _backup_launch(paths: Paths, job: JobSpec, identity: Identity | None) -> Launch:
    """It drops by itself: our programs lie where the service's user may not read."""
    return _volume_program(paths, job, paths.volume(job.service_id, job.volume), (str(BACKUP), *_words_of(identity)))


def _restore_launch(paths: Paths, job: JobSpec, identity: Identity | None) -> Launch:
    """It opens the archive, which is ours alone, and drops before it reads a byte."""
    argv = (str(UNPACK), "--volume", str(paths.run_archive(job.run_id)), *_words_of(identity))
    return _volume_program(paths, job, paths.volume_draft(job.service_id, job.volume), argv)


def _volume_program(paths: Paths, job: JobSpec, directory: pathlib.Path, argv: tuple[str, ...]) -> Launch:
    """A program of ours in a directory of the service's user, which talks to whoever asked."""
    return Launch(
        argv=(sys.executable, "-I", *argv),
        env=_environment(BASE_PATH, (), _own(paths, job.service_id, job.release, job.id)),
        tree=directory,
        directory=".",
        stdout=paths.run_pipe(job.run_id, "stdout"),
        stderr=paths.run_pipe(job.run_id, "stderr"),
        piped=True,
    )


def _words_of(identity: Identity | None) -> tuple[str, ...]:
    return (str(identity.app), str(identity.group)) if identity else ()


LAUNCHES = {
    JobKind.BUILD: _build_launch,
    JobKind.UNPACK: _unpack_launch,
    JobKind.REMOVE: _remove_launch,
    JobKind.RELEASE: _run_launch,
    JobKind.CLEAR: _clear_launch,
    JobKind.RUN: _run_launch,
    JobKind.CHECK: _run_launch,
    JobKind.BACKUP: _backup_launch,
    JobKind.RESTORE: _restore_launch,
    JobKind.CRON: _run_launch,
}


def _own(paths: Paths, service_id: str, release: int, marker: str) -> dict[str, str]:
    """What every program of a release is told, and by which it is found again."""
    return {
        "HOME": str(paths.home(service_id)),
        "DPLOYR_SERVICE": service_id,
        "DPLOYR_RELEASE": str(release),
        procfs.MARKER: marker,
        procfs.ROOT: str(paths.root),
    }


def _volumes(paths: Paths, service_id: str, names: tuple[str, ...]) -> dict[str, str]:
    """Where they are, for what cannot or need not go by the working directory."""
    return {volume.variable(name): str(paths.volume(service_id, name)) for name in names}


def program_launch(paths: Paths, argv: tuple[str, ...], marker: str, output: pathlib.Path) -> Launch:
    """How a program of our own (nginx) is started, in its own directory."""
    own = {"HOME": str(paths.nginx), procfs.MARKER: marker, procfs.ROOT: str(paths.root)}
    return Launch(argv, _environment(BASE_PATH, (), own), paths.nginx, ".", output, output)


def _environment(path: str, wanted: tuple[tuple[str, str], ...], own: dict[str, str]) -> dict[str, str]:
    env = {"PATH": path, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    env.update((key, value) for key, value in wanted if key not in RESERVED and not key.startswith(RESERVED_PREFIX))
    return env | own


def _search_path(paths: Paths, tree: pathlib.Path, working_dir: str, toolchain: str) -> str:
    """Tools of the source first, then its toolchain, then the host's. Directories that a build makes only later are
    named too: its later commands find them.
    """
    directory = tree / working_dir
    found = [directory / ".venv/bin", directory / "node_modules/.bin"]
    if directory != tree:
        found += [tree / ".venv/bin", tree / "node_modules/.bin"]
    try:
        found += [paths.toolchain(toolchain) / "bin"] if toolchain else []
    except ValueError as error:
        raise StartError(errno.EINVAL, str(error)) from error
    return ":".join([*map(str, found), BASE_PATH])
