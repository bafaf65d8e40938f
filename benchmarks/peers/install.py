"""Gets the peers into `.cache/bench-peers`, which git ignores: nothing is installed on the machine, no daemon is started.

A peer that cannot be had is left out and said; the next run tries again. What is there is used as it is.
"""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

CACHE = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "bench-peers"
CHILD = pathlib.Path(__file__).with_name("child.c")
DEBIAN = {"runit": ("runit",), "s6": ("s6", "libexecline2.9", "libs6-2.11", "libskarnet2.13")}
TRIPLET = "x86_64-linux-gnu"
LONGEST_S = 300


@dataclasses.dataclass(frozen=True, slots=True)
class Tools:
    """`child` is the supervised program; the others are directories, None for what cannot be had."""

    child: pathlib.Path
    python: pathlib.Path | None
    pm2: pathlib.Path | None
    runit: pathlib.Path | None
    s6: pathlib.Path | None


def prepare() -> Tools:
    """Raises SystemExit when there is no C compiler: without the child nothing can be measured."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return Tools(
        child=_child(),
        python=_got("supervisord and circus", _python),
        pm2=_got("pm2", _pm2),
        runit=_got("runit", lambda: _debian("runit")),
        s6=_got("s6", lambda: _debian("s6")),
    )


def _got(name: str, get: Callable[[], pathlib.Path]) -> pathlib.Path | None:
    try:
        return get()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"    {name}: skipped, it cannot be had here: {error}")
        return None


def _child() -> pathlib.Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("bench-supervisor: cannot compile the child of the bench: install a C compiler (gcc)")
    made = CACHE / "bench-child"
    subprocess.run([compiler, "-O2", "-static", "-o", made, CHILD], check=True)
    return made


def _python() -> pathlib.Path:
    made = CACHE / "python"
    if not (made / "bin" / "circusd").exists() or not (made / "bin" / "supervisord").exists():
        _run(sys.executable, "-m", "venv", "--without-pip", str(made))
        _run(sys.executable, "-m", "pip", "--python", str(made), "install", "--quiet", "supervisor", "circus")
    return made / "bin"


def _pm2() -> pathlib.Path:
    made = CACHE / "npm"
    program = made / "node_modules" / "pm2" / "bin" / "pm2"
    if not program.exists():
        made.mkdir(exist_ok=True)
        (made / "package.json").write_text('{"private": true}\n')
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", "pm2@latest", directory=made)
    return program


def _debian(name: str) -> pathlib.Path:
    """The packages unpacked, not installed."""
    made = CACHE / name
    if not (made / "usr").exists():
        packages = CACHE / f"{name}.packages"
        packages.mkdir(exist_ok=True)
        _run("apt-get", "download", "-qq", *DEBIAN[name], directory=packages)
        for package in sorted(packages.glob("*.deb")):
            _run("dpkg", "-x", str(package), str(made))
    return made / "usr" / "bin"


def library_path(programs: pathlib.Path) -> str:
    return str(programs.parent / "lib" / TRIPLET)


def _run(*command: str, directory: pathlib.Path | None = None) -> None:
    """With its complaints on standard error kept for the reason, should it fail."""
    done = subprocess.run(
        command,
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=LONGEST_S,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"{command[0]} ended with {done.returncode}"]
        raise OSError(last[0])
