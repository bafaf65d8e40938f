"""How git is run, for whatever it does: environment and options from scratch, limits, a deadline, its group killed."""

import dataclasses
import os
import pathlib
import resource
import shutil
from collections.abc import Callable

from node_agent import dumps
from node_agent.builder import children, git_sandbox
from node_agent.errors import ReleaseFailedError

PATH = "/usr/bin:/bin"
OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "credential.helper=",
    "http.followRedirects=false",
    "protocol.version=2",
    "transfer.fsckObjects=true",
    "transfer.bundleURI=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",  # git would leave a process of its own in the background
    "maintenance.auto=false",
    # A fetch becomes one file, so that a limit on files is one on fetches; and no blob is ever whole in memory.
    "transfer.unpackLimit=1",
    "core.bigFileThreshold=16m",
    "core.packedGitWindowSize=16m",
    "core.packedGitLimit=512m",
    "pack.threads=1",
)
LOCAL_S = 120.0
FILES = 256
MEMORY_BYTES = 2 << 30
LIMITS = {
    "fsize": resource.RLIMIT_FSIZE,
    "as": resource.RLIMIT_AS,
    "nofile": resource.RLIMIT_NOFILE,
    "core": resource.RLIMIT_CORE,
}
PACKAGES = {"prlimit": "util-linux", "bwrap": "bubblewrap"}


@dataclasses.dataclass(frozen=True, slots=True)
class Quota:
    """What one fetch or one source may take. `bytes`: of the pack that is received, and of all files together."""

    bytes: int = 2 << 30
    entries: int = 200_000
    depth: int = 64
    path: int = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class GitCommand:
    """Runs git with `root` as the place for all that it needs. `ca_file`: authorities that the operator trusts.

    `path` is where git and what it needs are looked for. `hidden`: the data of ours that it shall not see, where
    bubblewrap works.
    """

    root: pathlib.Path
    quota: Quota = Quota()
    ca_file: str = ""
    path: str = PATH
    hidden: pathlib.Path | None = None

    async def run(
        self,
        arguments: tuple[str, ...],
        place: dict[str, str],
        deadline_s: float = LOCAL_S,
        *,
        protocol: str = "none",
        options: tuple[str, ...] = (),
        cwd: pathlib.Path | None = None,
        sink: Callable[[bytes], None] | None = None,
    ) -> children.Ended:
        """`place` are the variables of this command; `protocol` the one transport that it may use.

        Raises ChildTimeoutError, ReleaseFailedError when there is no git.
        """
        words = [word for option in (*OPTIONS, *options) for word in ("-c", option)]
        own = {
            "PATH": self.path,
            "HOME": str(self.home()),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ALLOW_PROTOCOL": protocol,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_CEILING_DIRECTORIES": str(self.root),  # no repository around our directory is ever looked at
            **({"GIT_SSL_CAINFO": self.ca_file} if self.ca_file else {}),
            **place,
        }
        argv = (*self._limits(), *self._sandbox(place), self._program("git"), *words, *arguments)
        return await children.run(argv, own, deadline_s, cwd or self.home(), sink)

    def home(self) -> pathlib.Path:
        """An empty directory: HOME, and where git runs when there is nothing to run in."""
        home = self.root / "home"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home

    def _sandbox(self, place: dict[str, str]) -> tuple[str, ...]:
        if self.hidden is None:
            return ()
        return git_sandbox.words(self._program(git_sandbox.PROGRAM), self.hidden, self.home(), place)

    def _limits(self) -> tuple[str, ...]:
        """The kernel ends whoever writes a file beyond the quota, in the middle of it."""
        most = {"fsize": self.quota.bytes, "as": MEMORY_BYTES, "nofile": FILES, "core": dumps.CORE}
        return (self._program("prlimit"), *(f"--{kind}={_within(kind, value)}" for kind, value in most.items()), "--")

    def _program(self, name: str) -> str:
        found = shutil.which(name, path=self.path)
        if found is None:
            package = PACKAGES.get(name, name)
            raise ReleaseFailedError(
                "git_missing", f"cannot run {name}: it is not in {self.path}; install the package {package}"
            )
        return found


def _within(kind: str, most: int) -> int:
    """`most`, or the host's own limit, which only root may go beyond."""
    _, hard = resource.getrlimit(LIMITS[kind])
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def trusted_authorities() -> str:
    """The file that this host's operator set for all programs that speak TLS, or nothing."""
    return os.environ.get("SSL_CERT_FILE", "")
