"""Who runs for a data directory, by the environment that each process was started with."""

import dataclasses
import os
import pathlib

CGROUPS = pathlib.Path("/sys/fs/cgroup")


@dataclasses.dataclass(frozen=True)
class Running:
    pid: int
    service: str  # empty: of the host side itself
    marker: str
    started: int  # in ticks since boot
    words: tuple[str, ...]


def of(root: pathlib.Path) -> list[Running]:
    """Everything that was started for the data directory `root` and is alive at one moment; zombies are not."""
    looked = (_look(int(name), str(root)) for name in os.listdir("/proc") if name.isdigit())
    found = [running for running in looked if running is not None]
    return [running for running in found if _look(running.pid, str(root)) == running]  # one may have followed another


def every_pid(root: pathlib.Path) -> set[int]:
    """Those of `of`, and the workers of a proxy: they write their title over their environment, and stand in its directory."""
    return {running.pid for running in of(root)} | {
        int(name) for name in os.listdir("/proc") if name.isdigit() and _place(name).startswith(f"{root}/")
    }


def _place(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _look(pid: int, root: str) -> Running | None:
    directory = pathlib.Path("/proc", str(pid))
    try:
        status = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
        environment = dict(
            word.partition("=")[::2] for word in (directory / "environ").read_text(errors="replace").split("\0")
        )
        words = (directory / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return None
    is_ours = environment.get("DPLOYR_ROOT") == root or any(root in word for word in words)
    if status[0] in "ZX" or not is_ours:
        return None
    service = environment.get("DPLOYR_SERVICE", "")
    return Running(pid, service, environment.get("DPLOYR_PROCESS", ""), int(status[19]), tuple(words))


def groups(names: tuple[str, ...]) -> list[pathlib.Path]:
    """The cgroups of every hierarchy that are named after one of `names`."""
    found = []
    for directory, below, _ in os.walk(CGROUPS):
        found += [pathlib.Path(directory, name) for name in below if any(wanted in name for wanted in names)]
    return found
