"""`dployr up`: supervisor, control plane and agent in the foreground, in order, until a signal.

Ending never touches the supervisor, the applications or nginx: `dployr.stack.down` does.
"""

import dataclasses
import http.client
import importlib.util
import pathlib
import time
from collections.abc import Callable

from dployr.errors import StackError
from dployr.stack import processes
from dployr.stack.addresses import Address
from dployr.stack.daemons import Daemon, Program
from dployr.stack.directory import Directory
from dployr.stack.signals import Signals

READY_TIMEOUT_S = 60.0
LOOK_S = 0.2
SETTINGS_EXIT = 2  # of a daemon that will never accept its settings
PATIENCE = 3  # deaths of one daemon before anything was ready
OK = 200
PARTS = ("flask", "uvicorn", "grpc", "psutil")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What the person asked for."""

    data_dir: pathlib.Path
    api: Address
    proxy: Address
    admin_email: str
    admin_password_file: pathlib.Path | None
    allow_file_remotes: bool
    allow_ssh_remotes: bool = False


Say = Callable[[str], None]


class Stack:
    """One run of `dployr up`. `say` takes the lines for the person."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._directory = Directory(settings.data_dir)
        self._ready = False

    def run(self) -> None:
        """Start everything and stay until a signal. Raises StackError when it does not become ready."""
        _check_installed()
        self._directory.make()
        with self._directory.owned(), Signals() as signals:
            processes.end_daemon("node_agent", self._directory.agent)  # left over from an `up` that was killed
            processes.end_daemon("control_plane", self._directory.control_plane)
            self._check_addresses()
            self._prepare()
            try:
                self._begin()
                self._stay(signals)
            finally:
                self._agent.end()
                self._control_plane.end()
                self._supervisor.release()
        self._say(
            "stopped; applications, supervisor and nginx keep running: "
            f"`dployr down --data-dir {self._directory.root}` ends them"
        )

    def _check_addresses(self) -> None:
        if not self._settings.api.is_free():
            raise StackError(f"cannot listen on {self._settings.api}: it is in use; give another --api HOST:PORT")
        ours = processes.mentions(str(self._directory.agent), "nginx: master process")
        if not ours and not self._settings.proxy.is_free():
            raise StackError(f"cannot listen on {self._settings.proxy}: it is in use; give another --proxy HOST:PORT")

    def _prepare(self) -> None:
        directory = self._directory
        password_file = self._settings.admin_password_file
        if password_file is None:
            password = directory.new_password()
            password_file = directory.password if directory.password.exists() else None
            if password:
                self._say(
                    f"first admin: {self._settings.admin_email}, password {password} (kept in {directory.password})"
                )
        hub, enrol = directory.ports()
        found = programs(self._settings, directory, f"127.0.0.1:{hub}", f"127.0.0.1:{enrol}", password_file)
        self._supervisor, self._control_plane, self._agent = (Daemon(program, directory) for program in found)

    def _begin(self) -> None:
        now = time.monotonic()
        if self._supervisor.adopt(now):
            self._say("supervisor runs already, with its applications")
        else:
            self._supervisor.start(now)
        self._control_plane.start(now)
        self._deadline = now + READY_TIMEOUT_S
        self._agent.due = None
        self._agent_wanted = False

    def _stay(self, signals: Signals) -> None:
        while not signals.stop:
            now = time.monotonic()
            self._tend(now)
            if not self._ready:
                self._advance(now)
            daemons = self._daemons()
            dues = [daemon.due - now for daemon in daemons if daemon.due is not None]
            pause = LOOK_S if not self._ready else min(dues, default=None)
            signals.wait(pause, [fd for daemon in daemons for fd in daemon.watched()])
        self._say("stopping")

    def _tend(self, now: float) -> None:
        """Notice what died, and start again what is due."""
        for daemon in self._daemons():
            name = daemon.program.name
            if daemon.notice_end(now):
                self._say(f"{name} ended (exit {daemon.exit_code}); starting it again, see {self._log(name)}")
                if not self._ready and (daemon.exit_code == SETTINGS_EXIT or daemon.deaths >= PATIENCE):
                    raise StackError(self._failure(f"the {name} cannot work"))
            if daemon.due is not None and daemon.due <= now:
                daemon.start(now)

    def _advance(self, now: float) -> None:
        """One step towards ready: the agent needs a control plane that answers."""
        if not self._agent_wanted and self._answers("/health"):
            self._agent_wanted = True
            self._agent.start(now)
        if self._agent_wanted and self._answers("/ready"):
            self._ready = True
            self._say(f"ready: API and dashboard {self._settings.api.url()}, applications {self._settings.proxy.url()}")
        elif now > self._deadline:
            raise StackError(self._failure(f"the stack is not ready after {READY_TIMEOUT_S:.0f} s"))

    def _answers(self, path: str) -> bool:
        address = self._settings.api.reachable()
        connection = http.client.HTTPConnection(address.host, address.port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _daemons(self) -> tuple[Daemon, ...]:
        return self._supervisor, self._control_plane, self._agent

    def _log(self, name: str) -> pathlib.Path:
        return self._directory.logs / f"{name}.log"

    def _failure(self, sentence: str) -> str:
        """The sentence with the last lines of the logs."""
        parts = [sentence + "; the last lines of the logs:"]
        for daemon in self._daemons():
            name = daemon.program.name
            parts += [f"{self._log(name)}:", *(f"  {line}" for line in self._directory.log_tail(name))]
        return "\n".join(parts)


def programs(
    settings: Settings, directory: Directory, hub: str, enrol: str, password_file: pathlib.Path | None
) -> tuple[Program, Program, Program]:
    """Supervisor, control plane and agent with their options."""
    remotes: tuple[str, ...] = ("--allow-file-remotes",) if settings.allow_file_remotes else ()
    remotes += ("--allow-ssh-remotes",) if settings.allow_ssh_remotes else ()
    wire = ("--hub", hub, "--enrol", enrol, "--join-token-file", str(directory.join_token))
    admin: tuple[str, ...] = ("--admin-email", settings.admin_email)
    if password_file:
        admin += ("--admin-password-file", str(password_file.absolute()))
    control_plane = ("--api", str(settings.api), *wire, "--proxy-url", settings.proxy.url(), "--local-instance", *admin)
    agent = (*wire, "--proxy-listen", str(settings.proxy))
    return (
        Program("supervisor", "node_agent.supervisor", directory.agent),
        Program("control-plane", "control_plane", directory.control_plane, control_plane + remotes),
        Program("agent", "node_agent", directory.agent, agent + remotes),
    )


def _check_installed() -> None:
    missing = [part for part in PARTS if importlib.util.find_spec(part) is None]
    if missing:
        raise StackError(
            f"cannot start: {', '.join(missing)} is not installed; install the whole product: pip install 'dployr[server,agent]'"
        )
