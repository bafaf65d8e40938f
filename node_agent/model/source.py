"""What may be asked of git: the grammar of remotes, branches and commits. The wrapper refuses everything else."""

import dataclasses
import re

HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
NAME = r"[A-Za-z0-9._~%+@-]+"
SAFE_NAME = r"[A-Za-z0-9._~+][A-Za-z0-9._~%+@-]*"  # no option, should a server hand it to a program
USER = r"[a-z_][a-z0-9_-]{0,31}"
HTTPS = re.compile(rf"https://(?P<host>{HOST})(?::(?P<port>[0-9]{{1,5}}))?(?:/{NAME})+/?")
SSH = re.compile(rf"ssh://(?:{USER}@)?(?P<host>{HOST})(?::(?P<port>[0-9]{{1,5}}))?(?:/{SAFE_NAME})+/?")
SCP = re.compile(rf"{USER}@(?P<host>{HOST}):/?{SAFE_NAME}(?:/{SAFE_NAME})*/?")
FILE = re.compile(r"file://(/[A-Za-z0-9._~%+@-]+)+/?")
REF = re.compile(r"(?!-)(?!.*\.\.)[A-Za-z0-9._/-]{1,200}")
COMMIT = re.compile(r"[0-9a-f]{40}")
TOKEN = re.compile(r"[!-~]{1,1024}")
HOST_KEY = re.compile(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{16,2048}={0,2}")
PORTS = {"https": 443, "ssh": 22}
MAX_REMOTE = 2048


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """What opens a repository: a token for https, a key for ssh; and the key by which its ssh server is known."""

    token: str = dataclasses.field(default="", repr=False)
    key: str = dataclasses.field(default="", repr=False)
    host_key: str = ""


NO_ACCESS = Access()


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a remote is: its transport, and the machine."""

    scheme: str
    host: str = ""
    port: int = 0


def endpoint(remote: str) -> Endpoint:
    """Of a remote without an issue."""
    found = HTTPS.fullmatch(remote) or SSH.fullmatch(remote)
    if found is not None:
        scheme = remote.partition(":")[0]
        return Endpoint(scheme, found["host"].lower(), int(found["port"] or PORTS[scheme]))
    if copied := SCP.fullmatch(remote):
        return Endpoint("ssh", copied["host"].lower(), PORTS["ssh"])
    return Endpoint("file")


def remote_issue(remote: str, *, allow_file: bool, allow_ssh: bool = False) -> str:
    """Why `remote` must not be given to git; "" when it may."""
    if len(remote) > MAX_REMOTE:
        return f"it is longer than {MAX_REMOTE} characters"
    if remote.startswith("file://"):
        if not allow_file:
            return "file:// remotes are off on this host; use https://, or start with --allow-file-remotes"
        return "" if FILE.fullmatch(remote) and "/../" not in f"{remote}/" else "it is not a plain file:// address"
    if SSH.fullmatch(remote) or SCP.fullmatch(remote):
        off = "ssh remotes are off on this host; use https://, or start with --allow-ssh-remotes"
        return _port_issue(remote) if allow_ssh else off
    if "@" in remote.partition("://")[2].partition("/")[0]:
        return "it holds credentials; leave them out of the address"
    if not HTTPS.fullmatch(remote):
        return "it is not a plain https:// address of a git repository"
    return _port_issue(remote)


def _port_issue(remote: str) -> str:
    return "" if 1 <= endpoint(remote).port <= 65535 else "its port must be 1 to 65535"


def branch_issue(branch: str) -> str:
    """Why `branch` must not be given to git; "" when it may. Stricter than git check-ref-format."""
    parts = branch.split("/")
    bad = any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    return "it is not the name of a branch" if bad or not REF.fullmatch(branch) else ""


def is_commit(commit: str) -> bool:
    """True for a full commit id in lower case."""
    return COMMIT.fullmatch(commit) is not None


def commit_of(listing: str, branch: str) -> str | None:
    """The commit of `branch`, else of the tag of that name, in the output of ls-remote; git matches more than we ask."""
    refs: dict[str, str] = {}
    for line in listing.splitlines():
        commit, _, name = line.partition("\t")
        if is_commit(commit):
            refs[name] = commit
    wanted = (f"refs/heads/{branch}", f"refs/tags/{branch}^{{}}", f"refs/tags/{branch}")
    return next((refs[name] for name in wanted if name in refs), None)


def submodule_issue(url: str, *, allow_file: bool, allow_ssh: bool) -> str:
    """Why a submodule's address must not be fetched; "" when it may."""
    if url.startswith((".", "/")):
        return "it is relative; write the whole https:// address into .gitmodules"
    return remote_issue(url, allow_file=allow_file, allow_ssh=allow_ssh)
