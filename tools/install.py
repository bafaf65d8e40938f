"""`make install`: Debian packages, the virtual environment, the locked dependencies, and this project in it.

Standard library only: it runs before anything is installed. Safe to run again, beside itself, and after an interruption.
The virtual environment is trusted only with its stamp, which is written last.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "dployr-stamp"
UNFINISHED = VENV / "dployr-unfinished"
LOCK = ROOT / ".cache" / "install.lock"
POLICY = pathlib.Path("/usr/sbin/policy-rc.d")
OLDEST = (3, 11)
PROGRAMS = (("nginx", "nginx-light"), ("git", "git"))
TEST_PROGRAMS = (
    ("redis-server", "redis-server"),
    ("bwrap", "bubblewrap"),
    ("php", "php-cli"),
    ("ip", "iproute2"),
    ("systemd-analyze", "systemd"),
    ("dbus-daemon", "dbus"),
    ("strace", "strace"),
)  # wanted by tests, which are skipped without them
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class InstallError(Exception):
    """The set-up cannot go on; the message says what a person can do."""


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--force", action="store_true", help="make the virtual environment anew")
    parser.add_argument("--for-tests", action="store_true", help="also the packages that only tests want")
    arguments = parser.parse_args()
    try:
        if sys.version_info < OLDEST:
            raise InstallError(
                f"Python {platform_version(sys.version_info)} is too old: 3.11 or later is needed; "
                "install it, or name one with `make PYTHON=/path/to/python3.11`"
            )
        with only_one():
            install_packages(missing_packages())
            if arguments.for_tests:
                install_test_packages()
            install_environment(force=arguments.force)
    except InstallError as error:
        sys.stderr.write(f"install: {error}\n")
        return 1
    return 0


def platform_version(info: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in info[:2])


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Two `make` in one checkout do not collide: the second waits."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another install runs in this checkout; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        os.set_inheritable(file.fileno(), True)  # a pip that outlives a killed install still holds it
        yield


def missing_packages() -> list[str]:
    """The Debian packages that this machine lacks."""
    found = lacking(PROGRAMS)
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        found.append("python3-venv")
    return found


def lacking(programs: tuple[tuple[str, str], ...]) -> list[str]:
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    return [package for program, package in programs if shutil.which(program, path=path) is None]


def install_test_packages() -> None:
    """Those that tests want; without them the tests are fewer, so nothing fails here."""
    try:
        install_packages(lacking(TEST_PROGRAMS))
    except InstallError as error:
        say(f"some tests will be skipped: {error}")


def install_packages(packages: list[str]) -> None:
    """Install them with apt when root; never starts a daemon. Raises InstallError."""
    if not packages:
        return
    wanted = " ".join(packages)
    command = f"apt-get install --no-install-recommends {wanted}"
    if os.geteuid() != 0:
        raise InstallError(f"this machine lacks {wanted}; run as root: {command}")
    if shutil.which("apt-get") is None:
        raise InstallError(f"this machine lacks {wanted} and has no apt-get; install them its own way")
    say(f"installing Debian packages: {wanted}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with no_daemons():
        run(["apt-get", "update", "-qq"], "cannot read the package lists", environment)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        run(install, f"cannot install {wanted}; try yourself: {command}", environment)


@contextlib.contextmanager
def no_daemons() -> Iterator[None]:
    """Debian starts a service after its installation unless policy-rc.d forbids it: we run an nginx of our own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def install_environment(*, force: bool = False) -> None:
    """Bring .venv to the state that the lock file and the project describe. Raises InstallError."""
    wanted = fingerprint()
    if not force and is_current(wanted):
        return
    if VENV.exists() and (force or UNFINISHED.exists() or was_moved(wanted) or not is_working()):
        say("removing a .venv that is unfinished or of another place")
        shutil.rmtree(VENV)
    if not VENV.exists():
        say("making .venv")
        VENV.mkdir()
        UNFINISHED.touch()
        run([sys.executable, "-m", "venv", str(VENV)], "cannot make the virtual environment .venv")
    STAMP.unlink(missing_ok=True)
    UNFINISHED.touch()
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    say("installing the locked dependencies (once; about a minute)")
    run([*pip, "--require-hashes", "-r", str(ROOT / "requirements.lock")], "cannot install the locked dependencies")
    say("generating the wire code and installing dployr")
    project = ["--no-deps", "--no-build-isolation", "--no-index", "--editable", str(ROOT)]
    run([*pip, *project], "cannot install dployr itself")
    UNFINISHED.unlink()
    STAMP.write_text(wanted, encoding="ascii")


def is_current(wanted: str) -> bool:
    try:
        return STAMP.read_text(encoding="ascii") == wanted and not UNFINISHED.exists() and PYTHON.exists()
    except OSError:
        return False


def was_moved(wanted: str) -> bool:
    """Whether .venv was made by another interpreter or elsewhere: its scripts hold both."""
    return STAMP.exists() and STAMP.read_text(encoding="ascii").split()[:1] != wanted.split()[:1]


def is_working() -> bool:
    """Whether .venv has an interpreter with pip: its own may have been uninstalled."""
    try:
        command = [str(PYTHON), "-m", "pip", "--version"]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def fingerprint() -> str:
    """Two digests: of the place and its interpreter, and of the files that .venv is made from."""
    place = hashlib.sha256(f"{sys.version}\0{ROOT}".encode())
    sources = [ROOT / name for name in ("requirements.lock", "pyproject.toml", "setup.cfg", "protos/build_grpc.py")]
    digest = hashlib.sha256()
    for path in (*sources, *sorted((ROOT / "protos").glob("*.proto"))):
        digest.update(path.read_bytes())
    return f"{place.hexdigest()} {digest.hexdigest()}"


def run(command: list[str], failure: str, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, close_fds=False, check=False)
    except OSError as error:
        raise InstallError(f"{failure}: {error}") from error
    if done.returncode != 0:
        raise InstallError(f"{failure} (exit {done.returncode}); the reason stands above")


def say(line: str) -> None:
    print(f"install: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
