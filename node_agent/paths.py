"""Every directory and file that the host side owns, by id. Ids are checked here, so that no text becomes a path."""

import dataclasses
import pathlib
import re

ID = re.compile(r"^[a-z]{3}_[0-9A-HJKMNP-TV-Z]{26}$")
NAME = re.compile(r"^[a-z][a-z0-9-]*(\.[0-9]+)?$")
VOLUME = re.compile(r"[a-z][a-z0-9-]{0,31}")
CRON = "cron."  # before the name of an entry: what its lines are logged by
CRON_ENTRY = re.compile(r"^[a-z][a-z0-9-]{0,28}$")
TOOLCHAIN = re.compile(r"^[a-z]+-[0-9][0-9A-Za-z.+-]*$")


def checked_id(value: str) -> str:
    """`value` when it is an id of ours, else ValueError."""
    if not ID.fullmatch(value):
        raise ValueError(f"cannot use {value!r} as an id")
    return value


@dataclasses.dataclass(frozen=True, slots=True)
class Paths:
    """`root` is the data directory that supervisor and agent share; what is in it belongs to one of the two. Where apps
    have users of their own, they may pass through it and through `services`, and see nothing else in it than
    `toolchains`.
    """

    root: pathlib.Path

    @property
    def supervisor_socket(self) -> pathlib.Path:
        return self.root / "supervisor.sock"

    @property
    def supervisor_lock(self) -> pathlib.Path:
        return self.root / "supervisor.lock"

    @property
    def records(self) -> pathlib.Path:
        """One JSON record per process, owned by the supervisor."""
        return self.root / "records"

    @property
    def identities(self) -> pathlib.Path:
        """Which service has which uids, owned by the supervisor."""
        return self.root / "identities"

    @property
    def own(self) -> pathlib.Path:
        """What is nobody's but the agent's."""
        return self.root / "agent"

    @property
    def journal(self) -> pathlib.Path:
        return self.own / "journal.db"

    @property
    def identity(self) -> pathlib.Path:
        """The agent's key, certificate and CA."""
        return self.own / "identity"

    @property
    def proxy(self) -> pathlib.Path:
        """The proxy's configuration, as the agent writes it."""
        return self.root / "proxy"

    @property
    def nginx_log(self) -> pathlib.Path:
        return self.root / "nginx" / "error.log"

    @property
    def nginx(self) -> pathlib.Path:
        """What nginx itself writes: its pid, its sockets, bodies of requests."""
        return self.root / "nginx" / "run"

    @property
    def toolchains(self) -> pathlib.Path:
        return self.root / "toolchains"

    @property
    def cache(self) -> pathlib.Path:
        """Git mirrors and package caches; may be deleted at any time."""
        return self.root / "cache"

    @property
    def trash(self) -> pathlib.Path:
        """What is being deleted: renamed here first, so that a name is free at once."""
        return self.root / "trash"

    @property
    def archives(self) -> pathlib.Path:
        return self.root / "archives"

    def archive(self, service_id: str, release: int) -> pathlib.Path:
        """The uploaded source of a release, while it is unpacked."""
        return self.archives / f"{checked_id(service_id)}.r{int(release)}"

    @property
    def runs(self) -> pathlib.Path:
        """Pipes between one-off commands and the agent."""
        return self.root / "runs"

    def run_pipe(self, run_id: str, stream: str) -> pathlib.Path:
        if stream not in {"stdout", "stderr"}:
            raise ValueError(f"cannot name a pipe for {stream!r}")
        return self.runs / f"{checked_id(run_id)}.{stream}"

    def toolchain(self, name: str) -> pathlib.Path:
        if not TOOLCHAIN.fullmatch(name):
            raise ValueError(f"cannot use {name!r} as a toolchain")
        return self.toolchains / name

    def run_archive(self, run_id: str) -> pathlib.Path:
        """What a volume is restored from, while it is."""
        return self.runs / f"{checked_id(run_id)}.archive"

    @property
    def services(self) -> pathlib.Path:
        return self.root / "services"

    def service(self, service_id: str) -> pathlib.Path:
        return self.services / checked_id(service_id)

    def builds(self, service_id: str) -> pathlib.Path:
        return self.service(service_id) / "builds"

    def build_tree(self, service_id: str, release: int) -> pathlib.Path:
        return self.builds(service_id) / str(int(release))

    def releases(self, service_id: str) -> pathlib.Path:
        return self.service(service_id) / "releases"

    def release(self, service_id: str, release: int) -> pathlib.Path:
        """A sealed release; the source tree is in `tree/`, the manifest beside it in `manifest.json`."""
        return self.releases(service_id) / str(int(release))

    def release_tree(self, service_id: str, release: int) -> pathlib.Path:
        return self.release(service_id, release) / "tree"

    def home(self, service_id: str) -> pathlib.Path:
        """HOME of the service's processes."""
        return self.service(service_id) / "home"

    def volumes(self, service_id: str) -> pathlib.Path:
        """Directories of the service that outlive its releases."""
        return self.service(service_id) / "volumes"

    def volume(self, service_id: str, name: str) -> pathlib.Path:
        if not VOLUME.fullmatch(name):
            raise ValueError(f"cannot use {name!r} as a volume")
        return self.volumes(service_id) / name

    def volume_draft(self, service_id: str, name: str) -> pathlib.Path:
        """What a volume is restored into, until it is whole."""
        volume = self.volume(service_id, name)
        return volume.with_name(f".{volume.name}.new")

    def volume_former(self, service_id: str, name: str) -> pathlib.Path:
        """What a volume was before it was restored, until it is deleted."""
        volume = self.volume(service_id, name)
        return volume.with_name(f".{volume.name}.former")

    def build_home(self, service_id: str) -> pathlib.Path:
        """HOME and package caches of the service's builds, where they have a user of their own."""
        return self.service(service_id) / "build-home"

    def tmp(self, service_id: str) -> pathlib.Path:
        """The temporary files of the service's processes, where they have a place of their own for them."""
        return self.service(service_id) / "tmp"

    def build_tmp(self, service_id: str) -> pathlib.Path:
        """Those of its builds."""
        return self.service(service_id) / "build-tmp"

    def logs(self, service_id: str) -> pathlib.Path:
        return self.service(service_id) / "logs"

    def log_index(self, service_id: str) -> pathlib.Path:
        return self.logs(service_id) / "index"

    def log_positions(self, service_id: str) -> pathlib.Path:
        """How far each raw file is indexed, written down now and then."""
        return self.logs(service_id) / "positions"

    def log_file(self, service_id: str, process: str, release: int, stream: str) -> pathlib.Path:
        """The raw file that a process appends to; `process` is `web.1`, `build` or `cron.ENTRY`, `stream` is stdout or stderr."""
        is_entry = process.startswith(CRON) and CRON_ENTRY.fullmatch(process.removeprefix(CRON))
        if not (NAME.fullmatch(process) or is_entry) or stream not in {"stdout", "stderr"}:
            raise ValueError(f"cannot name a log file for {process!r} {stream!r}")
        return self.logs(service_id) / f"{process}.r{int(release)}.{stream}"
