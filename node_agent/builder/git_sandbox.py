"""A git process that sees nothing of ours but what it works on, and takes all that it started along when it ends.

Where bubblewrap works: it needs root or user namespaces.
"""

import pathlib

from node_agent.builder import children

PROGRAM = "bwrap"
# The whole host, to be read; no other process, no power.
ROOM = (
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--cap-drop", "ALL"),
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--die-with-parent", "--new-session"),
)
PROBE_S = 10.0
HOLDS = {"GIT_DIR": False, "GIT_WORK_TREE": False, "GIT_INDEX_FILE": True, "GIT_SSH": True}  # itself, or its directory


def words(program: str, hidden: pathlib.Path, home: pathlib.Path, place: dict[str, str]) -> tuple[str, ...]:
    """What to put before git, whose variables are `place`: of `hidden`, our data, it gets what those name."""
    named = [(pathlib.Path(place[key]), within) for key, within in HOLDS.items() if key in place]
    own = [str(path.parent if within else path) for path, within in named]
    binds = (word for path in (*own, str(home)) for word in ("--bind", path, path))
    return (program, *ROOM, "--tmpfs", str(hidden), *binds, "--chdir", place.get("GIT_WORK_TREE", str(home)), "--")


async def works(program: str | None, hidden: pathlib.Path) -> bool:
    """Tried once: that it is installed proves nothing."""
    if program is None:
        return False
    argv = (program, *ROOM, "--tmpfs", str(hidden), "--", "/bin/true")
    try:
        return (await children.run(argv, {}, PROBE_S)).code == 0
    except (OSError, children.ChildTimeoutError):
        return False
