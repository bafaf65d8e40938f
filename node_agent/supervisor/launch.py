"""From a description to a running program: its environment, its directory, its output files, the spawn.

This is the only module in which a text for a shell exists: `run_cmd` and `build_cmd`, given whole to /bin/sh as one
argument, unless it is so plain that a shell would only run the program it names. The supervisor has one thread, so it may step into the program's directory for the time of the spawn; that
way the directory that was checked is the one that is used.
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import signal
import stat
import sys

from node_agent.model.process import JobKind, JobSpec, ProcessSpec
from node_agent.paths import Paths
from node_agent.supervisor import plain_command, procfs
from node_agent.supervisor.cages import Cage

UNPACK = pathlib.Path(__file__).parents[1] / "builder" / "unpack.py"  # run, never imported
SHELL = "/bin/sh"
SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
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

    `piped`: the outputs are pipes that somebody reads already, not files.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    tree: pathlib.Path
    directory: str
    stdout: pathlib.Path
    stderr: pathlib.Path
    piped: bool = False


def process_launch(paths: Paths, spec: ProcessSpec) -> Launch:
    """How a process of a release is started. Raises StartError."""
    service_id, release = spec.id.service_id, spec.id.release
    tree = paths.release_tree(service_id, release)
    own = {"PORT": str(spec.port), **_own(paths, service_id, release, str(spec.id)), "DPLOYR_COMMIT": spec.commit}
    return Launch(
        argv=("/bin/sh", "-c", spec.command),
        env=_environment(_search_path(paths, tree, spec.working_dir, spec.toolchain), spec.env, own),
        tree=tree,
        directory=spec.working_dir,
        stdout=paths.log_file(service_id, spec.id.name, release, "stdout"),
        stderr=paths.log_file(service_id, spec.id.name, release, "stderr"),
    )


def job_launch(paths: Paths, job: JobSpec) -> Launch:
    """How a job is started. Raises StartError."""
    return LAUNCHES[job.kind](paths, job)


def _build_launch(paths: Paths, job: JobSpec) -> Launch:
    tree = paths.build_tree(job.service_id, job.release)
    wanted = (
        *((key, os.environ[key]) for key in HOST_NETWORK if key in os.environ),
        ("CI", "1"),
        ("npm_config_cache", str(paths.cache / "npm")),
        ("PIP_CACHE_DIR", str(paths.cache / "pip")),
        *job.env,
    )
    own = _own(paths, job.service_id, job.release, job.id)
    return Launch(
        argv=("/bin/sh", "-c", job.command),
        env=_environment(_search_path(paths, tree, job.working_dir, job.toolchain), wanted, own),
        tree=tree,
        directory=job.working_dir,
        stdout=paths.log_file(job.service_id, "build", job.release, "stdout"),
        stderr=paths.log_file(job.service_id, "build", job.release, "stderr"),
    )


def _unpack_launch(paths: Paths, job: JobSpec) -> Launch:
    archive = paths.archive(job.service_id, job.release)
    return Launch(
        argv=(sys.executable, "-I", str(UNPACK), str(archive)),
        env=_environment(BASE_PATH, (), _own(paths, job.service_id, job.release, job.id)),
        tree=paths.build_tree(job.service_id, job.release),
        directory=".",
        stdout=paths.log_file(job.service_id, "build", job.release, "stdout"),
        stderr=paths.log_file(job.service_id, "build", job.release, "stderr"),
    )


def _run_launch(paths: Paths, job: JobSpec) -> Launch:
    """In the environment of a release's processes: a one-off command, or the check of one of them."""
    tree = paths.release_tree(job.service_id, job.release)
    own = {**_own(paths, job.service_id, job.release, job.id), "DPLOYR_COMMIT": job.commit}
    if job.kind is JobKind.CHECK:
        own["PORT"] = str(job.port)
    return Launch(
        argv=("/bin/sh", "-c", job.command),
        env=_environment(_search_path(paths, tree, job.working_dir, job.toolchain), job.env, own),
        tree=tree,
        directory=job.working_dir,
        stdout=paths.run_pipe(job.run_id, "stdout") if job.kind is JobKind.RUN else NOWHERE,
        stderr=paths.run_pipe(job.run_id, "stderr") if job.kind is JobKind.RUN else NOWHERE,
        piped=job.kind is JobKind.RUN,
    )


LAUNCHES = {
    JobKind.BUILD: _build_launch,
    JobKind.UNPACK: _unpack_launch,
    JobKind.RUN: _run_launch,
    JobKind.CHECK: _run_launch,
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


def program_launch(paths: Paths, argv: tuple[str, ...], marker: str, output: pathlib.Path) -> Launch:
    """How a program of our own (nginx) is started, in the proxy's directory."""
    own = {"HOME": str(paths.proxy), procfs.MARKER: marker, procfs.ROOT: str(paths.root)}
    return Launch(argv, _environment(BASE_PATH, (), own), paths.proxy, ".", output, output)


def spawn(launch: Launch, output: int | None = None, cage: Cage | None = None) -> int:
    """Start it in a session and a cage of its own, with nothing of ours but its output files (or the descriptor
    `output` instead of them); the pid. Raises StartError.
    """
    opened: list[int] = []
    try:
        directory, real = _open_directory(launch.tree, launch.directory)
        opened.append(directory)
        for file in (launch.stdout, launch.stderr):
            opened.append(_output(file, launch, output))  # noqa: PERF401 - each is closed, also when the next cannot be opened
        _make_directory(launch.env["HOME"])
        os.fchdir(directory)
        with contextlib.nullcontext() if cage is None else cage.entered():
            return _run(launch, {**launch.env, "PWD": real}, opened[1], opened[2])
    except OSError as error:
        what = error.filename or launch.directory
        raise StartError(error.errno or errno.EIO, f"{error.strerror}: {what}") from error
    except ValueError as error:  # a NUL or "=" where the kernel takes none
        raise StartError(errno.EINVAL, str(error)) from error
    finally:
        os.chdir("/")
        for fd in opened:
            os.close(fd)


def _run(launch: Launch, env: dict[str, str], stdout: int, stderr: int) -> int:
    """In the present directory. A plain command that the kernel does not take is the shell's, like every other."""
    if launch.argv[0] == SHELL and (program := plain_command.resolve(launch.argv[-1], env["PATH"])):
        with contextlib.suppress(OSError):
            return _posix_spawn(*program, env, stdout, stderr)
    return _posix_spawn(launch.argv[0], launch.argv, env, stdout, stderr)


def _posix_spawn(path: str, argv: tuple[str, ...], env: dict[str, str], stdout: int, stderr: int) -> int:
    return os.posix_spawn(
        path,
        argv,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=SIGNALS,
    )


def open_output(file: pathlib.Path) -> int:
    """The raw log `file` for appending, made when it is not there. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(file, flags, 0o600)
    except FileNotFoundError:
        _make_directory(str(file.parent))
        return os.open(file, flags, 0o600)


def _make_directory(path: str) -> None:
    if not os.path.isdir(path):  # noqa: PTH112 - once per start, and nearly always there
        pathlib.Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)


def _output(file: pathlib.Path, launch: Launch, output: int | None) -> int:
    if output is not None:
        return os.dup(output)
    return _open_pipe(file) if launch.piped else open_output(file)


def _open_pipe(file: pathlib.Path) -> int:
    """Never waits: a pipe that nobody reads is an error. The program itself gets one that waits for its reader."""
    fd = os.open(file, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a pipe", str(file))
    os.set_blocking(fd, True)
    return fd


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


def _open_directory(tree: pathlib.Path, directory: str) -> tuple[int, str]:
    """Open, and its real path."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.open(tree, flags)
    try:
        top = _real_path(fd)
        if directory in {"", "."}:
            return os.dup(fd), top
    finally:
        os.close(fd)
    fd = os.open(tree / directory, flags)
    real = _real_path(fd)
    if real != top and not real.startswith(f"{top}/"):
        os.close(fd)
        raise StartError(errno.EACCES, f"working_dir {directory!r} leads out of the release; name a directory in it")
    return fd, real


def _real_path(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - once per start
