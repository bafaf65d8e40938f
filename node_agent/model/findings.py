"""What a host enforces of what dployr can, from facts about it; what is missing comes with what to do about it. Pure."""

import dataclasses
from collections.abc import Mapping

WATCHES, OPEN_FILES, FREE_BYTES = 8192, 8192, 1 << 30
START = "start it: systemctl start dployr-supervisor, or `dployr up`"


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """`capabilities` are the supervisor's own words, None while it does not answer; `uid` is its user, and of the limits
    those that it has. Versions and paths are empty for what is not there.
    """

    capabilities: Mapping[str, str] | None
    silence: str
    uid: int
    cgroups: str
    user_namespaces: bool
    nginx: str
    git: str
    holes: bool
    inotify_watches: int
    open_files: int
    clock_is_set: bool
    free_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One line: `what` is enforced here or not, `how`, and what to `do` about it when it is not."""

    what: str
    enforced: bool
    how: str
    do: str = ""


def findings(facts: Facts) -> tuple[Finding, ...]:
    """All of them, those that other ones rest on first."""
    return (
        _supervisor(facts),
        *_told(facts),
        _private_mounts(facts),
        _row("builds from git", bool(facts.git), facts.git or "git is not installed", "apt-get install git"),
        _row("logs within their budget", facts.holes, _holes(facts), "keep the data directory on ext4, xfs or btrfs"),
        _number(
            "wake-ups for logs", facts.inotify_watches, WATCHES, "inotify watches", "sysctl fs.inotify.max_user_watches"
        ),
        _number("open files", facts.open_files, OPEN_FILES, "files", "LimitNOFILE= of dployr-supervisor"),
        _number(
            "free disk space", facts.free_bytes, FREE_BYTES, "bytes", "free space, or move the data directory to have"
        ),
        _row("a clock that is right", facts.clock_is_set, _clock(facts), "install systemd-timesyncd or chrony"),
    )


def _supervisor(facts: Facts) -> Finding:
    return _row("supervision", facts.capabilities is not None, facts.silence or "dployr-supervisor answers", START)


def _told(facts: Facts) -> tuple[Finding, ...]:
    """What only the supervisor can say: it has tried."""
    isolation, agent, limits, proxy = (_said(facts, name) for name in ("isolation", "agent_user", "limits", "proxy"))
    rung, calls = _said(facts, "limits_rung"), _said(facts, "build_calls")
    lacking = [name for name in ("memory", "cpu", "pids") if name not in limits.split(",")]
    return (
        _row("a user for each application", not _is_none(isolation), isolation or "unknown", _isolate(facts)),
        _row("an agent that is not root", not _is_none(agent), agent or "unknown", _unprivileged(facts)),
        _row("limits of memory, cpu and pids", not lacking, _limited(lacking, rung), _limit(facts)),
        _row("the end of whole process trees", rung.startswith("cgroup"), rung or "unknown", _limit(facts)),
        _row("what builds may not call", not _is_none(calls), calls or "unknown", _refuse(facts)),
        _row("the proxy", not _is_none(proxy), _proxy(facts, proxy), _proxy_do(facts)),
    )


def _private_mounts(facts: Facts) -> Finding:
    able = facts.uid == 0 or facts.user_namespaces
    how = "mount namespaces can be made" if able else "neither root nor user namespaces"
    return _row("private mounts", able, how, "run dployr-supervisor as root, or allow user namespaces")


def _isolate(facts: Facts) -> str:
    if facts.capabilities is None:
        return START
    return (
        "run dployr-supervisor as root"
        if facts.uid
        else "see the reason; the data directory must be open to pass, 0711"
    )


def _unprivileged(facts: Facts) -> str:
    return START if facts.capabilities is None else "run both by their units: dployr-supervisor with --agent-user"


def _limit(facts: Facts) -> str:
    if facts.capabilities is None:
        return START
    if not facts.cgroups:
        return "mount control groups: boot with systemd"
    return "run dployr-supervisor under systemd with Delegate=yes, as its unit does"


def _refuse(facts: Facts) -> str:
    if facts.capabilities is None:
        return START
    return "run dployr-supervisor as root, and mount cgroup v2: boot with systemd"


def _limited(lacking: list[str], rung: str) -> str:
    return f"{rung or 'unknown'}; not {', '.join(lacking)}" if lacking else rung


def _proxy(facts: Facts, said: str) -> str:
    return (
        said or (facts.nginx and f"{facts.nginx} is there, the supervisor does not answer") or "nginx is not installed"
    )


def _proxy_do(facts: Facts) -> str:
    if not facts.nginx:
        return "apt-get install nginx-light, then restart dployr-supervisor"
    return START if facts.capabilities is None else "restart dployr-supervisor: nginx came after it"


def _holes(facts: Facts) -> str:
    return "old lines give their room back" if facts.holes else "the file system cannot make holes in a file"


def _clock(facts: Facts) -> str:
    return (
        "it is kept right"
        if facts.clock_is_set
        else "nothing keeps it right: certificates and times of logs may be wrong"
    )


def _number(what: str, found: int, wanted: int, unit: str, where: str) -> Finding:
    return _row(what, found >= wanted, f"{found} {unit}", f"{where} at least {wanted}")


def _said(facts: Facts, name: str) -> str:
    return (facts.capabilities or {}).get(name, "")


def _is_none(words: str) -> bool:
    return not words or words.startswith("none")


def _row(what: str, enforced: bool, how: str, do: str) -> Finding:
    return Finding(what, enforced, how, "" if enforced else do)
