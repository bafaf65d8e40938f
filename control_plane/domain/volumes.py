"""Directories that outlive the releases of a service: how they are declared, and as we keep them. Pure.

A mount is relative to the working directory of the application; the name is what a directory is known by on its host.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from control_plane.domain import grammar, values

MAX_VOLUMES = 10
KEYS = ("name", "mount")

Given = Sequence[Mapping[str, Any]]
Volumes = tuple[tuple[str, str], ...]
Problem = dict[str, Any]


def problems(given: Given) -> list[Problem]:
    """What is wrong with each volume, and with all of them together."""
    found = [problem for at, one in enumerate(given) for problem in _of_one(f"volumes.{at}", one)]
    if len(given) > MAX_VOLUMES:
        found.append({"field": "volumes", "issue": f"must be at most {MAX_VOLUMES}"})
    return found or _among(given)


def parsed(given: Given) -> Volumes:
    """(name, mount) of volumes without a problem, sorted by name."""
    return tuple(sorted((str(one["name"]), grammar.normal_dir(one["mount"])) for one in given))


def declared(kept: Volumes) -> list[dict[str, str]]:
    """What `parsed` reads back to the same, and the API shows."""
    return [{"name": name, "mount": mount} for name, mount in kept]


def decided(rows: Iterable[values.Decided]) -> Volumes:
    """Those that a source asked for."""
    return tuple(
        sorted((row.field.partition(".")[2], row.value) for row in rows if row.field.partition(".")[0] == "volumes")
    )


def variable(name: str) -> str:
    """The environment variable that holds the directory's absolute path."""
    return f"DPLOYR_VOLUME_{name.upper().replace('-', '_')}"


def _of_one(field: str, one: Mapping[str, Any]) -> list[Problem]:
    issues = {key: "unknown field" for key in one if key not in KEYS}
    issues["name"] = name_issue(one.get("name"))
    issues["mount"] = mount_issue(one.get("mount"))
    return [{"field": f"{field}.{key[:64]}", "issue": issue} for key, issue in issues.items() if issue]


def name_issue(name: Any) -> str:
    if name is None:
        return "is required"
    right = isinstance(name, str) and grammar.PROCESS.fullmatch(name)
    return "" if right else "must be a letter, then up to 31 of a-z, 0-9 and -"


def mount_issue(mount: Any) -> str:
    if mount is None:
        return "is required"
    if not isinstance(mount, str):
        return "must be a string"
    if mount.startswith("/"):
        return (
            "must be relative to the app's working directory, such as data: an absolute path would be the host's; "
            "the app finds that of the volume in DPLOYR_VOLUME_<NAME>"
        )
    if not grammar.normal_dir(mount):
        return "must name a directory inside the app's working directory, and not that one itself"
    return grammar.dir_issue(mount).replace("inside the source", "inside the app's working directory")


def _among(given: Given) -> list[Problem]:
    """Two volumes of one name, and one volume in another one."""
    found: list[Problem] = []
    kept = [(str(one["name"]), grammar.normal_dir(one["mount"])) for one in given]
    for at, (name, mount) in enumerate(kept):
        if name in {other for other, _ in kept[:at]}:
            found.append({"field": f"volumes.{at}.name", "issue": f"is given twice: {name}"})
        if inside := [other for other, path in kept[:at] if _overlap(path, mount)]:
            issue = f"cannot be the same directory as that of the volume {inside[0]}, in it, or around it"
            found.append({"field": f"volumes.{at}.mount", "issue": issue})
    return found


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
