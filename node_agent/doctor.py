"""`dployr-agent doctor`: what this host enforces, what is missing, and what to do about it. Changes nothing."""

import argparse
import asyncio
import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence

from node_agent import config, raw_log
from node_agent.errors import SupervisorRefusedError, SupervisorUnavailableError
from node_agent.model.findings import Facts, Finding, findings
from node_agent.model.process import SupervisorInfo
from node_agent.paths import Paths
from node_agent.supervisor_client import SupervisorClient

ANSWER_S = 5.0
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
TIME_ERROR = 5
TIMEX_BYTES = 512  # more than any kernel's struct timex; all zero asks, and changes nothing


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 when all is enforced, 1 when something is missing, 2 for bad settings."""
    parser = argparse.ArgumentParser(prog="dployr-agent doctor", description=__doc__)
    parser.add_argument("--config", type=pathlib.Path, help="the agent's settings file")
    parser.add_argument("--data-dir", type=pathlib.Path, help="the agent's data directory, when there is no file")
    parser.add_argument("--json", action="store_true", help="a JSON array instead of a table")
    given = parser.parse_args(argv)
    try:
        data_dir = given.data_dir or config.data_dir(given.config)
    except config.SettingsError as error:
        sys.stderr.write(f"dployr-agent doctor: {error}\n")
        return 2
    rows = findings(probe(Paths(data_dir.absolute())))
    sys.stdout.write(as_json(rows) if given.json else as_table(rows))
    return 0 if all(row.enforced for row in rows) else 1


def as_table(rows: Sequence[Finding]) -> str:
    width = max(len(row.what) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{'enforced' if row.enforced else 'missing ':8}  {row.what:{width}}  {row.how}")
        if row.do:
            lines.append(f"{'':8}  {'':{width}}  → {row.do}")
    return "\n".join(lines) + "\n"


def as_json(rows: Sequence[Finding]) -> str:
    return json.dumps([dataclasses.asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n"


def probe(paths: Paths) -> Facts:
    """Look at this host, and ask its supervisor."""
    info, silence = asyncio.run(_asked(paths))
    uid, open_files = _of_process(info.pid if info else os.getpid())
    return Facts(
        capabilities=dict(info.capabilities) if info else None,
        silence=silence,
        uid=uid,
        cgroups=_cgroups(),
        user_namespaces=_number("/proc/sys/user/max_user_namespaces") > 0
        and _number("/proc/sys/kernel/unprivileged_userns_clone", 1) > 0,
        nginx=shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}") or "",
        git=_version_of_git(),
        holes=raw_log.can_punch(paths.own if paths.own.is_dir() else paths.root),  # that the agent may write to
        inotify_watches=_number("/proc/sys/fs/inotify/max_user_watches"),
        open_files=open_files,
        clock_is_set=_clock_is_set(),
        free_bytes=_free(paths.root),
    )


async def _asked(paths: Paths) -> tuple[SupervisorInfo | None, str]:
    """The supervisor's words, or why there are none."""
    client = SupervisorClient(paths)
    try:
        await client.connect(timeout=ANSWER_S)
        return await client.hello(), ""
    except (SupervisorUnavailableError, SupervisorRefusedError) as error:
        return None, str(error)
    finally:
        await client.close()


def _of_process(pid: int) -> tuple[int, int]:
    """Its user and how many files it may open, as everybody may read it; our own when it is hidden."""
    try:
        uid = int(_words_behind(f"/proc/{pid}/status", "Uid:")[0])
        return uid, int(_words_behind(f"/proc/{pid}/limits", "Max open files")[1])
    except (OSError, IndexError, ValueError):
        return os.geteuid(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _words_behind(file: str, begin: str) -> list[str]:
    """Of the line that begins so; none when there is none."""
    lines = pathlib.Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.removeprefix(begin).split() for line in lines if line.startswith(begin)), [])


def _cgroups() -> str:
    """v2, v1, or empty."""
    kinds = {line.split()[2] for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()}
    return "v2" if "cgroup2" in kinds else "v1" if "cgroup" in kinds else ""


def _version_of_git() -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    return ""


def _free(directory: pathlib.Path) -> int:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(directory).free
    return 0


def _clock_is_set() -> bool:
    """As the kernel was told by whoever keeps it right."""
    asked = ctypes.create_string_buffer(TIMEX_BYTES)
    return int(ctypes.CDLL(None, use_errno=True).adjtimex(asked)) not in {-1, TIME_ERROR}


def _number(file: str, default: int = 0) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(pathlib.Path(file).read_text(encoding="ascii"))
    return default
