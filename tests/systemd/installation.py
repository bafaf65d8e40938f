"""dployr on a Machine, installed as docs/howto/install-with-systemd.md says: a wheel in /opt/dployr, three units.

A throw-away host forgets /etc/passwd when it is off, and all of them have this machine's boot id. A unit of the test,
which starts before ours, makes the user again, and drop-ins give each boot an id of its own. The packages that dployr needs are
those of the checkout, so that no network is needed.
"""

import contextlib
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

from tests.e2e.platform import EMAIL, Load, Platform, Repository
from tests.systemd import package
from tests.systemd.machine import Machine
from tests.waiting import wait_until

SUPERVISOR, AGENT, CONTROL_PLANE = "dployr-supervisor", "dployr-agent", "dployr-control-plane"
UNITS = (SUPERVISOR, AGENT, CONTROL_PLANE)
PREPARE = """\
[Unit]
Description=What a host that is switched on again would still have
Before=dployr-supervisor.service dployr-agent.service dployr-control-plane.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/test/prepare

[Install]
WantedBy=multi-user.target
"""
PREPARE_SCRIPT = """\
#!/bin/sh -e
install -D -m 644 /opt/test/sysusers.conf /usr/lib/sysusers.d/dployr.conf
install -D -m 644 /opt/test/tmpfiles.conf /usr/lib/tmpfiles.d/dployr.conf
systemd-sysusers
systemd-tmpfiles --create dployr.conf
"""
BOOT_ID = "/proc/sys/kernel/random/boot_id"
ENDPOINTS = "hub: 127.0.0.1:8443\nenrol: 127.0.0.1:8444\n"
PLACES = {
    "wheels": "/opt/wheels",
    "opt": "/opt/dployr",
    "etc": "/etc/dployr",
    "state": "/var/lib/dployr",
    "units": "/etc/systemd/system",
    "test": "/opt/test",
    "repositories": "/opt/repositories",
}


class Installation(Platform):
    """The installed product; `call`, `get` and what stands on them happen in the host's network."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        self.api, self.proxy = 8080, 8081
        self._shared = {name: directory / name for name in PLACES}
        for place in self._shared.values():
            place.mkdir()
            place.chmod(0o755)
        self.repositories = self._shared["repositories"]
        shared = {self._shared[name]: place for name, place in PLACES.items()}
        self.machine = Machine(directory, {**shared, package.DEPENDENCIES: "/opt/dependencies"})

    # the host

    def install(self, wheel: pathlib.Path) -> None:
        """From nothing to three enabled units that run."""
        self._write_settings()
        self.boot()
        self.machine.run(str(package.interpreter()), "-m", "venv", "--without-pip", "/opt/dployr")
        (library,) = self._shared["opt"].glob("lib/python3.*/site-packages")
        (library / "dependencies.pth").write_text("/opt/dependencies\n")
        self.put_in(wheel)
        for unit in UNITS:
            shutil.copy(package.ROOT / "systemd" / f"{unit}.service", self._shared["units"])
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("chgrp", "dployr", "/etc/dployr/admin-password")
        self.machine.run("systemctl", "enable", "--now", *(f"{unit}.service" for unit in UNITS))
        wait_until(self.ready, 60, "the API")
        self.login()
        token = self.call("POST", "/v1/instances/join-tokens")["token"]
        secret = self._shared["etc"] / "join-token"
        secret.write_text(token)
        secret.chmod(0o640)
        self.machine.run("chgrp", "dployr-agent", "/etc/dployr/join-token")
        wait_until(self.is_online, 60, "the agent to join")

    def put_in(self, wheel: pathlib.Path) -> None:
        """Install a version, or another one over it; what runs is not touched."""
        shutil.copy(wheel, self._shared["wheels"])
        pip = ("/opt/dployr/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        self.machine.run(*pip, "--no-deps", "--no-index", f"/opt/wheels/{wheel.name}")

    def boot(self) -> None:
        """With a boot id that no other boot has."""
        (self._shared["test"] / "boot_id").write_text(f"{uuid.uuid4()}\n")
        self.machine.boot()

    def _write_settings(self) -> None:
        etc, test, units = self._shared["etc"], self._shared["test"], self._shared["units"]
        (etc / "admin-password").write_text(self.password)
        (etc / "admin-password").chmod(0o640)
        (etc / "control-plane.yaml").write_text(
            "data_dir: /var/lib/dployr/control-plane\nallow_file_remotes: true\n"
            f"admin_email: {EMAIL}\nadmin_password_file: /etc/dployr/admin-password\n"
            "rate_limit_user: 1000000\nrate_limit_anonymous: 1000000\n"
        )
        (etc / "agent.yaml").write_text(
            f"data_dir: /var/lib/dployr/agent\n{ENDPOINTS}proxy_listen: 127.0.0.1:{self.proxy}\n"
            "join_token_file: /etc/dployr/join-token\nallow_file_remotes: true\n"
        )
        for name in ("sysusers.conf", "tmpfiles.conf"):
            shutil.copy(package.ROOT / "systemd" / name, test)
        (test / "prepare").write_text(PREPARE_SCRIPT)
        (test / "prepare").chmod(0o755)
        (units / "test-prepare.service").write_text(PREPARE)
        for unit in (SUPERVISOR, AGENT):
            self._drop_in(unit, "boot").write_text(f"[Service]\nBindReadOnlyPaths=/opt/test/boot_id:{BOOT_ID}\n")
        wanted = units / "multi-user.target.wants"
        wanted.mkdir()
        (wanted / "test-prepare.service").symlink_to("/etc/systemd/system/test-prepare.service")

    def words(self) -> str:
        """What the three said, for a test that failed."""
        return "".join(f"--- {unit}\n{self.machine.journal(unit)}" for unit in UNITS)

    def close(self) -> None:
        self.machine.power_off()

    # the product

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        return self.machine.inside(super().call, method, path, body, headers)

    def get(self, domain: str, path: str = "/") -> tuple[int, str]:
        return self.machine.inside(super().get, domain, path)

    def publish(self, name: str, **files: str) -> pathlib.Path:
        """A repository of one commit, the agent's own: git refuses local ones of somebody else. Where the host has it."""
        Repository(self.repositories / name).commit(**files)
        self.machine.run("chown", "--recursive", "dployr-agent:", f"{PLACES['repositories']}/{name}")
        return pathlib.Path(PLACES["repositories"], name)

    def boot_id(self) -> str:
        """As the supervisor sees it."""
        pid = self.machine.main_pid(SUPERVISOR)
        return self.machine.run("nsenter", f"--target={pid}", "--mount", "cat", BOOT_ID).stdout

    def is_online(self) -> bool:
        return any(host["status"] == "online" for host in self.call("GET", "/v1/instances")["data"])

    def versions(self) -> set[str]:
        """Of control plane and agent, as they run."""
        (host,) = self.call("GET", "/v1/instances")["data"]
        return {host["agent_version"], self.call("GET", "/v1/version")["version"]}

    def load(self, domain: str) -> "InsideLoad":
        return InsideLoad(self, domain)

    @contextlib.contextmanager
    def short_watchdog(self, unit: str) -> Iterator[None]:
        """Half a second in place of the unit's own limit, so that a test need not wait for that."""
        drop_in = self._drop_in(unit, "short")
        drop_in.write_text("[Service]\nWatchdogSec=1\nTimeoutStopSec=1\n")
        self._reload(unit)
        try:
            yield
        finally:
            drop_in.unlink()
            self._reload(unit)

    def _drop_in(self, unit: str, name: str) -> pathlib.Path:
        place = self._shared["units"] / f"{unit}.service.d"
        place.mkdir(exist_ok=True)
        return place / f"{name}.conf"

    def _reload(self, unit: str) -> None:
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "restart", unit)
        wait_until(lambda: self.ready() and self.is_online(), 60, "the control plane and its agent")


class InsideLoad(Load):
    """Its threads are made in the host's network, so that each request is one hop."""

    def __init__(self, installed: Installation, domain: str) -> None:
        super().__init__(_Direct(installed.proxy), domain, rate=100, threads=4)
        self._machine = installed.machine

    def __enter__(self) -> Load:
        return self._machine.inside(super().__enter__)


class _Direct:
    """`Platform.get` without the way through the machine's own threads."""

    def __init__(self, proxy: int) -> None:
        self.proxy = proxy

    get = Platform.get
