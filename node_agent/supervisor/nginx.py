"""The managed nginx: its own check of a candidate, its start, its reload, its restart when it dies.

The proxy's directory is the contract: `generations/<n>/nginx.conf` is a whole configuration with `daemon off`, and
`current` is a link to the generation that shall serve. What is in them is nobody's business here: where there are
users, nginx has one of its own, master and workers, so that a configuration gives nobody more than that one may. Of
root's powers it keeps the one to bind ports below 1024.
"""

import contextlib
import functools
import os
import pathlib
import resource
import signal
import stat
from collections.abc import Callable

import failpoints
from node_agent import atomic, dumps
from node_agent.model import restart
from node_agent.supervisor import launch, procfs, spawn
from node_agent.supervisor.children import End
from node_agent.supervisor.host import Host, RefusedError
from node_agent.supervisor.identities import User
from node_agent.supervisor.loop import Timer, note

TEST = "proxy-test"
TEST_TIMEOUT_S = 20.0
QUIT_GRACE_S = 5.0
WORDS_LIMIT = 64 << 10
SETPRIV = "/usr/bin/setpriv"


def find_nginx(wanted: str) -> str:
    """The nginx program: the absolute path asked for, else that of PATH or of /usr/sbin; empty when there is none."""
    if wanted:
        places = [pathlib.Path(wanted)]
    else:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
        places = [pathlib.Path(directory, "nginx") for directory in path.split(":") if directory]
    return next((str(place) for place in places if place.is_absolute() and os.access(place, os.X_OK)), "")


class Nginx:
    """At most one master. It outlives the supervisor and is found again by its marker."""

    def __init__(self, host: Host, program: str) -> None:
        self._host, self._program = host, program
        self._wish = host.paths.records / "proxy"
        self._pid = 0
        self._started = 0.0
        self._history = restart.History()
        self._retry: Timer | None = None
        self._waiting: list[Callable[[bool], None]] = []
        self._tests = 0

    @property
    def available(self) -> bool:
        return bool(self._program)

    def adopt(self, members: list[procfs.Member]) -> None:
        """Once at start: take over the running master, or start one when one is wished."""
        for member in members:
            if self._host.children.adopt(member.pid, member.started, functools.partial(self._ended, member.pid)):
                self._pid, self._started = member.pid, self._host.clock.monotonic()
                note("proxy.adopted", pid=member.pid)
                return
        if self._wish.exists():
            self._end_rest(self._former_leader(), self._start)

    def ensure(self, done: Callable[[bool], None]) -> None:
        """Make it run; `done(True)` when it had to be started. Raises RefusedError."""
        self._demand()
        if self._pid:
            done(False)
            return
        try:
            atomic.write_text(self._wish, "")
        except OSError as error:
            raise RefusedError(f"cannot record that nginx shall run: {error}; free some disk space") from error
        self._waiting.append(done)
        self._cancel_retry()
        self._end_rest(0, self._start)

    @failpoints.around("nginx.reload")
    def reload(self) -> None:
        """SIGHUP. Raises RefusedError when it does not run."""
        if not self._pid:
            raise RefusedError("cannot reload nginx: it does not run; start it with proxy_ensure")
        os.kill(self._pid, signal.SIGHUP)

    @failpoints.around("nginx.test")
    def test(self, generation: int, done: Callable[[bool, str], None]) -> None:
        """nginx's own check of a generation and its words. Raises RefusedError."""
        self._demand()
        conf = self._host.paths.proxy / "generations" / str(generation) / "nginx.conf"
        self._tests += 1
        marker = f"{TEST}-{self._tests}"
        words = os.memfd_create(marker)
        try:
            self._give_place()
            pid = spawn.spawn(self._launch(marker, str(conf), "-t"), words)
        except (launch.StartError, OSError) as error:
            os.close(words)
            raise RefusedError(f"cannot run nginx -t: {error}") from error
        kill = self._host.endings.begin
        timer = self._host.loop.later(TEST_TIMEOUT_S, lambda: kill(marker, pid, 0.0, lambda: None))

        def ended(end: End) -> None:
            timer.cancel()
            text = os.pread(words, WORDS_LIMIT, 0).decode(errors="replace")
            os.close(words)
            done(end.status == 0, text or f"nginx -t {end}")

        self._host.children.expect(pid, ended)

    def stop(self, done: Callable[[], None]) -> None:
        """SIGQUIT, a grace, kill; `done` when nothing is left. It is no longer wished then."""
        with contextlib.suppress(OSError):
            self._wish.unlink()
        self._cancel_retry()
        pid, self._pid = self._pid, 0
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
        self._host.endings.begin(procfs.PROXY, pid, QUIT_GRACE_S if pid else 0.0, done)

    def _start(self) -> None:
        """Nothing of a former one is left."""
        if self._pid or not self._wish.exists():
            self._tell(started=False)
            return
        try:
            self._remove_sockets()
            self._give_place()
            conf = self._host.paths.proxy / "current" / "nginx.conf"
            pid = spawn.spawn(self._launch(procfs.PROXY, str(conf)))
        except (launch.StartError, OSError) as error:
            note("proxy.start_failed", error=error)
            self._started = self._host.clock.monotonic()
            self._tell(started=True)
            self._again()
            return
        self._host.children.expect(pid, lambda end: self._ended(pid, end))
        # No core with the keys of certificates; its workers inherit that. One that has dropped to its user is out of our
        # reach, and has what it inherited from us: none either.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_CORE, (dumps.CORE, dumps.CORE))
        self._pid, self._started = pid, self._host.clock.monotonic()
        with contextlib.suppress(OSError):  # it is only a help to find workers that outlived their master
            atomic.write_text(self._wish, f"{self._host.boot_id} {pid}")
        note("proxy.started", pid=pid)
        self._tell(started=True)

    def _remove_sockets(self) -> None:
        """A killed nginx leaves its unix sockets, and the next one cannot bind them. Nobody listens on them now."""
        for file in os.scandir(self._host.paths.nginx):
            if stat.S_ISSOCK(file.stat(follow_symlinks=False).st_mode):
                os.unlink(file.path)  # noqa: PTH108 - scandir speaks of os paths

    def _give_place(self) -> None:
        """To nginx's user what one of root's wrote, of a version before there were users; not what may have another name
        elsewhere. Raises OSError.

        Also its log, which it opens again by its name, for the agent to read.
        """
        household, paths = self._host.isolation.household, self._host.paths
        user = household.proxy
        if user is None:
            return
        for file in os.scandir(paths.nginx):
            known = file.stat(follow_symlinks=False)
            if known.st_uid != user.uid and (known.st_nlink == 1 or stat.S_ISDIR(known.st_mode)):
                os.chown(file.path, user.uid, user.gid, follow_symlinks=False)
        log = spawn.open_output(paths.nginx_log)
        try:
            os.fchown(log, household.agent.uid, user.gid)
            os.fchmod(log, 0o620)
        finally:
            os.close(log)

    def _tell(self, *, started: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(started)

    def _ended(self, pid: int, end: End) -> None:
        note("proxy.ended", pid=pid, exit=end)
        if pid == self._pid:
            self._pid = 0
            self._again(pid)
        self._host.endings.hurry()

    def _again(self, leader: int = 0) -> None:
        """End the workers that a killed master leaves (they hold its ports), then start by policy."""
        life = restart.Exit(self._started, self._host.clock.monotonic())
        following = restart.next_restart(self._history, life, self._host.chance.random())
        self._history = following.history
        self._cancel_retry()
        self._retry = self._host.loop.later(following.after_s, lambda: self._end_rest(leader, self._start))

    def _end_rest(self, leader: int, then: Callable[[], None]) -> None:
        self._host.endings.begin(procfs.PROXY, leader, 0.0, then)

    def _former_leader(self) -> int:
        """The pid of the master that ended while no supervisor looked: its workers are still in its session."""
        try:
            boot_id, pid = self._wish.read_text().split()
        except (OSError, ValueError):
            return 0
        return int(pid) if boot_id == self._host.boot_id and not procfs.started(int(pid)) else 0

    def _launch(self, marker: str, conf: str, *options: str) -> launch.Launch:
        paths, user = self._host.paths, self._host.isolation.household.proxy
        argv = (self._program, *options, "-p", str(paths.proxy), "-c", conf)
        return launch.program_launch(paths, _drop(user) + argv, marker, paths.nginx_log)

    def _demand(self) -> None:
        if not self._program:
            raise RefusedError("cannot use nginx: it is not installed on this host; install the package nginx")

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None


def _drop(user: User | None) -> tuple[str, ...]:
    """The words before a program's own that make it run as `user`. No library is loaded by orders of an app here."""
    if user is None:
        return ()
    powers = [f"--{kind}-caps=-all,+net_bind_service" for kind in ("inh", "ambient")]
    return (SETPRIV, f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", *powers, "--")
