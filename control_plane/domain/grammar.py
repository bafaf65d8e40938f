"""The allow-list grammars of what a user may write. Each `*_issue` answers what is wrong, "" when nothing is."""

import posixpath
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
SAFE_NAME = r"[A-Za-z0-9._~+][A-Za-z0-9._~%+@-]*"
USER = r"[a-z_][a-z0-9_-]{0,31}"
HTTPS = re.compile(rf"https://{HOST}(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9._~%+@-]+)+/?")
SSH = re.compile(
    rf"ssh://(?:{USER}@)?{HOST}(?::[0-9]{{1,5}})?(?:/{SAFE_NAME})+/?|{USER}@{HOST}:/?{SAFE_NAME}(?:/{SAFE_NAME})*/?"
)
HOST_KEY = re.compile(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{16,2048}={0,2}")
FILE = re.compile(r"file://(/[A-Za-z0-9._~%+@-]+)+/?")
REF = re.compile(r"(?!-)(?!.*\.\.)[A-Za-z0-9._/-]{1,200}")
COMMIT = re.compile(r"[0-9A-Fa-f]{7,64}")
SEGMENT = re.compile(r"[A-Za-z0-9._@+~-][A-Za-z0-9._@+~ -]{0,254}")
ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
MAX_REMOTE = 2048
MAX_DIR = 1024
MAX_ENV_VALUE = 32 * 1024
MAX_ENV = 128 * 1024
MAX_LABELS = 64
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
MAX_LABEL_VALUE = 255
PROCESS = re.compile(r"[a-z][a-z0-9-]{0,31}")
MAX_PROCESSES = 32
RELEASE = "release"  # the process that runs once, before a release starts
GIT_TOKEN = re.compile(r"[\x21-\x7e]{0,1024}")
RESERVED = frozenset({"PORT", "HOME", "PATH"})
RESERVED_PREFIX = "DPLOYR_"


def is_text(text: str) -> bool:
    """No control characters but tab and line feed, and it can be written as UTF-8."""
    return all(c in "\t\n" or unicodedata.category(c) not in {"Cc", "Cs"} for c in text)


def remote_issue(remote: str, *, allow_file: bool = False, allow_ssh: bool = False) -> str:
    if not remote:
        return "is required"
    if is_ssh(remote):
        return "" if allow_ssh else "by ssh is off; its operator can set allow_ssh_remotes, or use the https:// address"
    if allow_file and FILE.fullmatch(remote) and len(remote) <= MAX_REMOTE and "/../" not in remote + "/":
        return ""
    if "@" in remote.partition("://")[2].partition("/")[0]:
        return "must not hold credentials"
    if len(remote) > MAX_REMOTE or not HTTPS.fullmatch(remote):
        return "must be an https:// address of a git repository"
    return ""


def is_ssh(remote: str) -> bool:
    """Whether `remote` is a repository that is reached by ssh, in either spelling."""
    return len(remote) <= MAX_REMOTE and SSH.fullmatch(remote) is not None


def host_key_issue(key: str) -> str:
    """Of a server's public key, as its file in /etc/ssh and known_hosts have it, without the host's name."""
    return "" if not key or HOST_KEY.fullmatch(key) else "must be a public key such as ssh-ed25519 AAAA…"


def branch_issue(branch: str) -> str:
    """The rules of git check-ref-format, over a smaller alphabet."""
    parts = branch.split("/")
    bad = any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    return "must be the name of a branch" if bad or not REF.fullmatch(branch) else ""


def commit_issue(commit: str) -> str:
    return "" if not commit or COMMIT.fullmatch(commit) else "must be 7 to 64 hexadecimal digits"


def dir_issue(path: str) -> str:
    """A relative path that stays inside the source."""
    if not path:
        return ""
    segments = [segment for segment in path.split("/") if segment]
    if path.startswith("/") or len(path) > MAX_DIR or ".." in segments:
        return "must be a relative path inside the source"
    return "" if all(SEGMENT.fullmatch(segment) for segment in segments) else "has characters that are not allowed"


def normal_dir(path: str) -> str:
    """One spelling for one directory; "" is the root of the source."""
    normal = posixpath.normpath(path) if path else ""
    return "" if normal == "." else normal


def token_issue(token: str) -> str:
    """Of a password for git. The text itself is in no message."""
    return "" if GIT_TOKEN.fullmatch(token) else "must be at most 1024 printable ASCII characters without spaces"


def env_problems(env: Mapping[str, str], field: str = "env") -> list[dict[str, Any]]:
    problems = [
        {"field": f"{field}.{key[:128]}", "issue": issue}
        for key, value in env.items()
        if (issue := _env_issue(key, value))
    ]
    if not problems and env_size(env) > MAX_ENV:
        problems.append({"field": field, "issue": f"must be at most {MAX_ENV} bytes together"})
    return problems


def env_size(env: Mapping[str, str]) -> int:
    """In bytes, as a process gets it."""
    return sum(len(key) + len(value.encode()) + 2 for key, value in env.items())


def label_problems(field: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of labels: names of letters, digits and . _ / -, short printable values."""
    found = [
        {"field": f"{field}.{key[:64]}", "issue": issue}
        for key, value in labels.items()
        if (issue := _label_issue(key, value))
    ]
    return found or ([{"field": field, "issue": f"must be at most {MAX_LABELS}"}] if len(labels) > MAX_LABELS else [])


def _label_issue(key: str, value: str) -> str:
    if not LABEL.fullmatch(key):
        return "the key must be 1 to 63 letters, digits and . _ / -, with a letter or digit at both ends"
    if len(value) > MAX_LABEL_VALUE or "\n" in value or not is_text(value):
        return f"the value must be at most {MAX_LABEL_VALUE} printable characters"
    return ""


def process_problems(processes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of processes beside `web`, which is run_cmd."""
    found = []
    for name, command in processes.items():
        if issue := process_name_issue(name, "run_cmd"):
            found.append({"field": f"processes.{name[:64]}", "issue": issue})
        elif not command.strip():
            found.append({"field": f"processes.{name}", "issue": "must be a command"})
    if len(processes) > MAX_PROCESSES:
        found.append({"field": "processes", "issue": f"must be at most {MAX_PROCESSES}"})
    return found


def process_name_issue(name: str, of_web: str) -> str:
    """Of a process beside `web`; `of_web` is the field that says the same of that one."""
    if name == "web":
        return f"is {of_web}; give it there"
    return "" if PROCESS.fullmatch(name) else "the name must be a letter, then up to 31 of a-z, 0-9 and -"


def _env_issue(key: str, value: str) -> str:
    return env_key_issue(key) or env_value_issue(value)


def env_key_issue(key: str) -> str:
    if not ENV_KEY.fullmatch(key):
        return "the key must be letters, digits and _, not beginning with a digit"
    if key in RESERVED or key.startswith(RESERVED_PREFIX):
        return "the key is reserved: the platform sets it"
    return ""


def env_value_issue(value: str) -> str:
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        return "the value must be text without NUL"
    return "" if len(value.encode()) <= MAX_ENV_VALUE else f"the value must be at most {MAX_ENV_VALUE} bytes"
