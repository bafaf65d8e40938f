"""From a launch to a running program: into its directory and its cage, its output files in its hands, as its user.

One thread starts everything, so it may step into the program's directory and cage for the time of the spawn; that way the
directory that was checked is the one that is used.

A program with a user of its own is forked, and the child drops before it runs anything: no program in between ever has
both our privileges and the app's environment, in which the loader of libraries would find orders (LD_PRELOAD).
"""

import contextlib
import errno
import functools
import os
import pathlib
import resource
import signal
import stat
from collections.abc import Iterator

from node_agent.supervisor import plain_command, procfs
from node_agent.supervisor.cages import Cage
from node_agent.supervisor.identities import User
from node_agent.supervisor.launch import SHELL, Launch, StartError
from node_agent.supervisor.rooms import Room

OPEN_FILES, PROCESSES = 1 << 16, 4096  # what a program may have of each before anybody set a limit
FROZEN_S = 0.5
PASSING = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


def spawn(
    launch: Launch, output: int | None = None, cage: Cage | None = None, room: Room | None = None, reader: int = -1
) -> int:
    """Start it in a session, a cage and a room of its own, with nothing of ours but its output files (or the descriptor
    `output` instead of them); the pid. What a user of its own writes belongs to `reader`. Raises StartError.
    """
    opened: list[int] = []
    try:
        with contextlib.ExitStack() as places:
            if room is not None:
                places.enter_context(room.entered())
            directory, real = _open_directory(launch.tree, launch.directory)
            opened.append(directory)
            for file in (launch.stdout, launch.stderr):
                opened.append(_output(file, launch, output))  # noqa: PERF401 - each is closed, also when the next cannot be opened
            if launch.user is not None:
                _share(launch.user, opened[1:], reader)
            _make_directory(launch.env["HOME"])
            os.fchdir(directory)
            if cage is not None:
                places.enter_context(cage.entered())
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


def prepare(*, users: bool) -> None:
    """Once, at our own start: what everything that we start inherits. `users`: apps have users of their own."""
    for number in SIGNALS:  # an ignored signal would be ignored in what we fork, too; one that is caught is not
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES)]
    if users:  # counted for each user: with one for all, it would be one count for all
        limits.append((resource.RLIMIT_NPROC, PROCESSES))
    for kind, wanted in limits:
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _run(launch: Launch, env: dict[str, str], stdout: int, stderr: int) -> int:
    """In the present directory. A plain command that the kernel does not take is the shell's, like every other."""
    start = _posix_spawn if launch.user is None else functools.partial(_spawn_as, launch.user)
    if launch.argv[0] == SHELL and (program := plain_command.resolve(launch.argv[-1], env["PATH"])):
        with contextlib.suppress(OSError):
            return start(*program, env, stdout, stderr)
    return start(launch.argv[0], launch.argv, env, stdout, stderr)


def _spawn_as(user: User, path: str, argv: tuple[str, ...], env: dict[str, str], stdout: int, stderr: int) -> int:
    """Its capabilities end with the uid 0 that it leaves, and no_new_privs, which it inherits, keeps them away."""
    import subprocess  # only where there are users; it costs half a megabyte

    with unfrozen():
        child = subprocess.Popen(
            argv,
            executable=path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            close_fds=False,  # all of ours close by themselves
            start_new_session=True,
            user=user.uid,
            group=user.gid,
            extra_groups=(),
            umask=0o077,
        )
    child.returncode = 0  # its end is ours to see: subprocess must neither wait for it nor complain
    return child.pid


@contextlib.contextmanager
def unfrozen() -> Iterator[None]:
    """While we wait for a child of ours to run its program, kill it when it is stopped.

    Between its drop and its program, a process of the same user may stop our child, and we would wait for ever.
    """
    before = signal.signal(signal.SIGALRM, lambda *_: kill_frozen())
    signal.setitimer(signal.ITIMER_REAL, FROZEN_S, FROZEN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def kill_frozen() -> None:
    """Kill what is stopped, our child, and still says that it is us."""
    words = _words("self")
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - rare, and names are all that is wanted
        with contextlib.suppress(OSError, ValueError):
            if procfs.stopped_child(int(name), os.getpid()) and _words(name) == words:
                os.kill(int(name), signal.SIGKILL)


def _words(pid: str) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
        return file.read()


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
        return os.open(file, flags, 0o640)
    except FileNotFoundError:
        _make_directory(str(file.parent))
        return os.open(file, flags, 0o640)


def _make_directory(path: str) -> None:
    if not os.path.isdir(path):  # noqa: PTH112 - once per start, and nearly always there
        pathlib.Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)


def _share(user: User, outputs: list[int], reader: int) -> None:
    """Let the program open its output again (/dev/stdout), which it may write and not read."""
    for fd in outputs:
        known = os.fstat(fd)
        if known.st_gid != user.gid and (stat.S_ISREG(known.st_mode) or stat.S_ISFIFO(known.st_mode)):
            os.fchown(fd, reader, user.gid)
            os.fchmod(fd, 0o620)


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


def _open_directory(tree: pathlib.Path, directory: str) -> tuple[int, str]:
    """Open, and its real path."""
    fd = _open_tree(tree)
    try:
        top = _real_path(fd)
        if directory in {"", "."}:
            return os.dup(fd), top
    finally:
        os.close(fd)
    fd = os.open(tree / directory, PASSING)
    real = _real_path(fd)
    if real != top and not real.startswith(f"{top}/"):
        os.close(fd)
        raise StartError(errno.EACCES, f"working_dir {directory!r} leads out of the release; name a directory in it")
    return fd, real


def _open_tree(tree: pathlib.Path) -> int:
    """The last two parts of its path are names that the agent makes: no link is followed there."""
    parent = os.open(tree.parent, PASSING | os.O_NOFOLLOW)
    try:
        return os.open(tree.name, PASSING | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        error.filename = str(tree)
        raise
    finally:
        os.close(parent)


def _real_path(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - once per start
