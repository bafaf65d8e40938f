"""The fields of a manifest: how each is written, and the one text that it is kept as. Pure.

A rule takes what stands in the file and gives that text, or raises ValueError with what is wrong and what is right.
"""

import itertools
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from detection import choices, versions
from schedules import cron
from schedules.entries import LONGEST_S, NAME, NAME_ISSUE, OVERLAPS, SHORTEST_S

Rule = Callable[[Any], str]
ALIASES = {"node": "nodejs", "golang": "go"}
RUNTIMES = ("nodejs", "python", "go", "php", "ruby", "java", "dotnet", "static", "custom")
ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
RESERVED = frozenset({"PORT", "HOME", "PATH"})
RESERVED_PREFIX = "DPLOYR_"
PROCESS = re.compile(r"[a-z][a-z0-9-]{0,31}")
PROCESS_NAME = "the name must be a letter, then up to 31 of a-z, 0-9 and -"
SEGMENT = re.compile(r"[A-Za-z0-9 ._@+~-]{1,128}")
DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(ms|s|m|h)?")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)([KMGT])?(?:iB|B|i)?")
BYTES = {None: 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MAX_COMMAND, MAX_ENV_VALUE, MAX_REPLICAS = 4096, 32 << 10, 100
MAX_VOLUMES = 10


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("must be text")


def runtime(value: Any) -> str:
    found = ALIASES.get(text(value).strip(), text(value).strip())
    if found not in RUNTIMES:
        raise ValueError(f"must be one of {', '.join(RUNTIMES)}")
    return found


def version(value: Any) -> str:
    if isinstance(value, float):
        raise ValueError('must be text: write it in quotes, such as "3.10"')  # noqa: TRY004 - rules raise this one
    found = text(value).strip()
    if not found or not versions.is_request(found):
        raise ValueError('must be a version such as 22 or 3.12.1, or a range such as ">=20 <23"')
    return found


def command(value: Any) -> str:
    found = value.strip() if isinstance(value, str) else ""
    if not is_command(found):
        raise ValueError(f"must be a command of at most {MAX_COMMAND} printable characters")
    return found


def directory(value: Any) -> str:
    found = text(value)
    segments = [segment for segment in found.split("/") if segment]
    if not found or found.startswith("/") or ".." in segments or not all(map(SEGMENT.fullmatch, segments)):
        raise ValueError("must be a relative path inside the source")
    return posixpath.normpath(found)


def seconds(low: float, high: float) -> Rule:
    def rule(value: Any) -> str:
        match = DURATION.fullmatch(text(value))
        found = float(match[1]) * SECONDS[match[2]] if match else -1.0
        if not low <= found <= high:
            raise ValueError(f'must be {low:g} to {high:g} seconds, such as "30s"')
        return repr(found)

    return rule


def whole(low: int, high: int) -> Rule:
    def rule(value: Any) -> str:
        found = text(value)
        if not (found.isascii() and found.isdigit() and len(found) < 10 and low <= int(found) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return str(int(found))

    return rule


def size(least: int) -> Rule:
    def rule(value: Any) -> str:
        match = SIZE.fullmatch(text(value))
        found = int(float(match[1]) * BYTES[match[2]]) if match else -1
        if not least <= found <= 1 << 50:
            raise ValueError(f"must be a size such as 512M, at least {least >> 20}M")
        return str(found)

    return rule


def processors(value: Any) -> str:
    found = text(value)
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", found) or not 0.01 <= float(found) <= 1024:
        raise ValueError("must be 0.01 to 1024 processors")
    return repr(float(found))


def word(*words: str) -> Rule:
    def rule(value: Any) -> str:
        if text(value) not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text(value)

    return rule


def path(value: Any) -> str:
    found = text(value)
    if not re.fullmatch(r"/[A-Za-z0-9._~%/?&=+@:,;!$'()*-]{0,1023}", found):
        raise ValueError("must be a path such as /ready")
    return found


def variable(key: str, value: Any) -> str:
    if not ENV_KEY.fullmatch(key):
        raise ValueError("the key must be letters, digits and _, not beginning with a digit")
    if key in RESERVED or key.startswith(RESERVED_PREFIX):
        raise ValueError("the key is reserved: the platform sets it")
    found = text(value)
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in found) or len(found.encode()) > MAX_ENV_VALUE:
        raise ValueError(f"the value must be text without NUL, of at most {MAX_ENV_VALUE} bytes")
    return found


def process(key: str, value: Any) -> str:
    if key == "web":
        raise ValueError("is run_cmd; give it there")
    if not PROCESS.fullmatch(key):
        raise ValueError(PROCESS_NAME)
    return command(value)


def process_replicas(key: str, value: Any) -> str:
    if key == "web":
        raise ValueError("is replicas of the deployment; give it there")
    if key == choices.RELEASE:
        raise ValueError("runs once, before the release starts; leave its replicas out")
    if not PROCESS.fullmatch(key):
        raise ValueError(PROCESS_NAME)
    return whole(0, MAX_REPLICAS)(value)


def volumes(value: Any) -> dict[str, str]:
    """The mount of each volume by its name, of a list such as [{name: data, mount: data}]. Raises ValueError."""
    if not isinstance(value, list) or not all(
        isinstance(one, Mapping) and set(one) == {"name", "mount"} for one in value
    ):
        raise ValueError("must be a list of volumes, each with a name and a mount")
    found = {str(one["name"]): _mount(one["mount"]) for one in value}
    if len(value) > MAX_VOLUMES or len(found) < len(value):
        raise ValueError(f"must be at most {MAX_VOLUMES} volumes, each of another name")
    if bad := next((name for name in found if not PROCESS.fullmatch(name)), ""):
        raise ValueError(f"{bad[:64]}: {PROCESS_NAME}")
    places = sorted(f"{mount}/" for mount in found.values())
    if any(after.startswith(before) for before, after in itertools.pairwise(places)):
        raise ValueError("no volume can be in another one")
    return found


def _mount(value: Any) -> str:
    found = directory(value)
    if found == ".":
        raise ValueError("must name a directory inside working_dir, and not that one itself")
    return found


def schedule(value: Any) -> str:
    """Raises ValueError as every rule does."""
    found = text(value)
    cron.parse(found)
    return cron.normal(found)


def entry_name(key: str) -> str:
    if not NAME.fullmatch(key):
        raise ValueError(NAME_ISSUE)
    return key


def check_problems(said: Mapping[str, str]) -> list[str]:
    """What the values of a health check do not say together."""
    kind, has_command = said.get("health_check.kind", ""), "health_check.command" in said
    if kind == "command" and not has_command:
        return ["health_check.kind: needs a command; give health_check.command"]
    if kind not in {"", "command"} and has_command:
        return ["health_check.command: is for the kind command; delete it, or the kind"]
    return []


def is_command(found: str) -> bool:
    return 0 < len(found) <= MAX_COMMAND and all(char.isprintable() or char in "\n\t" for char in found)


PLAIN: Mapping[str, Rule] = {
    "runtime": runtime,
    "version": version,
    "build_cmd": command,
    "run_cmd": command,
    "working_dir": directory,
    "static_dir": directory,
    "port": whole(1, 65535),
}
NESTED: Mapping[str, Mapping[str, Rule]] = {
    "health_check": {
        "kind": word("http", "tcp", "command"),
        "path": path,
        "command": command,
        "interval": seconds(0.05, 300),
        "timeout": seconds(0.05, 300),
        "retries": whole(1, 20),
        "start_period": seconds(1, 3600),
    },
    "resources": {
        "memory": size(4 << 20),
        "cpu": processors,
        "pids": whole(2, 4_194_304),
        "disk": size(1 << 20),
        "strict": word("true", "false"),
    },
}
# Fields that hold entries by name, and what each entry holds.
ENTRIES: Mapping[str, Mapping[str, Rule]] = {
    "cron": {
        "schedule": schedule,
        "command": command,
        "overlap": word(*OVERLAPS),
        "timeout": seconds(SHORTEST_S, LONGEST_S),
    },
}
BY_KEY: Mapping[str, Callable[[str, Any], str]] = {
    "env": variable,
    "processes": process,
    "process_replicas": process_replicas,
}
# Forms that the fields may be written in besides: the nested field, and what each of its keys is.
FORMS: Mapping[str, Mapping[str, str]] = {
    "runtime": {"type": "runtime", "version": "version"},
    "build": {"command": "build_cmd", "working_dir": "working_dir"},
    "run": {"command": "run_cmd", "port": "port"},
    "remote": {"url": "remote", "branch": "branch", "commit_hash": "commit"},
}
# The same of a field that holds keys: what the value of a key may hold, and which field that is of the same key.
KEY_FORMS: Mapping[str, Mapping[str, str]] = {"processes": {"command": "processes", "replicas": "process_replicas"}}
RENAMED = {"env_vars": "env"}
# What a deployment is called and where its source is: the request said so, or the source would not be there. Not used.
ABOUT = frozenset({"name", "project", "description", "labels", "source", "remote", "branch", "commit"})
# Settled before the source is read: where and how it is rolled out. In a file these would do nothing, so they are refused.
SETTLED = frozenset(
    {"image", "git_host_key", "submodules", "poll", "instance", "placement"}
    | {"replicas", "strategy", "port_mode", "auto_rollback"}
)
PRIVATE = frozenset({"secrets", "git_token"})
VOLUMES = "volumes"
KNOWN = frozenset({VOLUMES, *PLAIN, *NESTED, *ENTRIES, *BY_KEY, *FORMS, *RENAMED, *ABOUT, *SETTLED, *PRIVATE})
