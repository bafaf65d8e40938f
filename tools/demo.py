"""`make demo`: the whole product on this machine with the three examples, driven through the public API and the CLI.

Everything is kept in .demo/ of this checkout and ended when the demo ends. DEMO_EXIT=1 ends it after every address has
answered 200 through the proxy; the exit code is 0 only then.
"""

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import FrameType

from dployr.stack.addresses import Address, free_port

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / ".demo"
DATA = DEMO / "data"
EMAIL = "admin@localhost"
HOST = "127.0.0.1"
READY_TIMEOUT_S = 90.0
ANSWER_TIMEOUT_S = 30.0
OK = 200
EXAMPLES = {
    "hello-node": (
        *("--runtime", "nodejs", "--version", "20", "--build-cmd", "npm ci", "--run-cmd", "npm start"),
        *("--port", "3000", "--health-path", "/"),
    ),
    "hello-python": (
        *("--runtime", "python", "--run-cmd", "python app.py"),
        *("--port", "3000", "--health-path", "/"),
    ),
    "hello-static": ("--runtime", "static", "--static-dir", "public"),
}


class DemoError(Exception):
    """The demo cannot go on."""


class Interrupted(Exception):  # noqa: N818 - not an error: the ordinary end
    """Ctrl-C or SIGTERM."""


def main() -> int:
    """The exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    ends_by_itself = os.environ.get("DEMO_EXIT", "") not in {"", "0"}
    try:
        with stack() as (api, proxy, up):
            show(api, proxy)
            if not ends_by_itself:
                say("Ctrl-C ends the demo and everything in it.")
                up.wait()
                raise DemoError("`dployr up` ended by itself; the reason stands above")
        return 0
    except Interrupted:
        return 1 if ends_by_itself else 0
    except DemoError as error:
        say(f"the demo failed: {error}")
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


@contextlib.contextmanager
def stack() -> Iterator[tuple[Address, Address, "subprocess.Popen[bytes]"]]:
    """The product, running on free ports; ended and said so at the end, whatever happened."""
    end_everything()  # left over from a demo that was killed
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir(mode=0o700)
    api, proxy = pick(8080), pick(8081)
    command = [*dployr("up"), "--data-dir", str(DATA), "--api", str(api), "--proxy", str(proxy)]
    up = subprocess.Popen([*command, "--admin-email", EMAIL, "--allow-file-remotes"], cwd=ROOT, start_new_session=True)
    try:
        wait_ready(up, api)
        yield api, proxy, up
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # ending is not interrupted
        say("ending everything …")
        end_everything()
        up.wait(30)
        say("everything is ended; nothing of the demo runs any more")


def pick(preferred: int) -> Address:
    """The preferred port, or a free one when it is taken (a second checkout)."""
    wanted = Address(HOST, preferred)
    return wanted if wanted.is_free() else Address(HOST, free_port())


def wait_ready(up: "subprocess.Popen[bytes]", api: Address) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while answer(api, "/ready", str(api)) != OK:
        if up.poll() is not None or time.monotonic() > deadline:
            raise DemoError("`dployr up` did not become ready; see above")
        time.sleep(0.2)


def show(api: Address, proxy: Address) -> None:
    """Sign in, deploy every example from a git repository of its own, and prove that each address answers."""
    environment = {**os.environ, "DPLOYR_SERVER": api.url()}
    environment.pop("DPLOYR_TOKEN", None)
    password_file = DATA / "admin-password"
    cli(environment, "login", "--email", EMAIL, "--password-file", str(password_file))
    addresses = []
    for name, options in EXAMPLES.items():
        say(f"deploying {name}")
        remote = repository(name).as_uri()
        domain = f"{name}.localhost"
        cli(environment, "deploy", "--name", name, "--remote", remote, "--domain", domain, *options)
        expect(proxy, domain)
        addresses.append(f"http://{domain}:{proxy.port}/")
    say("", "every address answered 200 through the proxy:", *(f"  {address}" for address in addresses))
    say(f"dashboard: {api.url()}/", f"sign in: {EMAIL}, password {password_file.read_text(encoding='utf-8').strip()}")
    say(f"command line: export DPLOYR_SERVER={api.url()}; .venv/bin/dployr --config {CREDENTIALS} list")


def repository(name: str) -> pathlib.Path:
    """A real git repository with a copy of the example."""
    place = DEMO / "repositories" / name
    shutil.copytree(ROOT / "examples" / name, place, ignore=shutil.ignore_patterns("node_modules", ".venv"))
    who = ("-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")
    steps = (("init", "--quiet", "--initial-branch=main"), ("add", "--all"), ("commit", "--quiet", "-m", "Begin"))
    for step in steps:
        if subprocess.run(["git", *who, *step], cwd=place, check=False).returncode != 0:
            raise DemoError(f"cannot make a git repository of {name}: git {step[0]} failed")
    return place


CREDENTIALS = DEMO / "credentials.json"


def dployr(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dployr", *arguments]


def cli(environment: dict[str, str], *arguments: str) -> None:
    """One command of the command line, its output shown."""
    command = dployr("--config", str(CREDENTIALS), *arguments)
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
        raise DemoError(f"`dployr {arguments[0]}` failed; see above")


def expect(proxy: Address, domain: str) -> None:
    """Wait for the domain's 200 through the proxy."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    status = 0
    while (status := answer(proxy, "/", domain)) != OK:
        if time.monotonic() > deadline:
            raise DemoError(f"http://{domain}:{proxy.port}/ answers {status or 'nothing'} instead of 200")
        time.sleep(0.2)


def answer(address: Address, path: str, host: str) -> int:
    """The status of one GET, 0 for none."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def end_everything() -> None:
    """`dployr down`: `up` too, wherever it was started."""
    if DATA.exists():
        subprocess.run(dployr("down", "--data-dir", str(DATA)), cwd=ROOT, check=False, stdout=subprocess.DEVNULL)


def say(*lines: str) -> None:
    with contextlib.suppress(OSError):  # the terminal went away: still end in order
        for line in lines:
            print(f"demo: {line}" if line else "", flush=True)


if __name__ == "__main__":
    sys.exit(main())
