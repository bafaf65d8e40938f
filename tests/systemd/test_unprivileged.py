"""What the agent may do as installed: its work, and nothing of root's. Its files and verbs, tried as its own user."""

import contextlib
import json
import urllib.request

import pytest

from tests.e2e.platform import Refused
from tests.systemd.installation import AGENT, SUPERVISOR, Installation
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
DATA = "/var/lib/dployr/agent"
CAP_NET_BIND_SERVICE = 10
AS_AGENT = ("setpriv", "--reuid=dployr-agent", "--regid=dployr-agent", "--clear-groups", "--no-new-privs")
# For each probe what came of it: an errno's name, or "done".
PROBES = """
import errno, json, os, sys
def attempt(probe):
    try:
        exec(probe)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
print(json.dumps({probe: attempt(probe) for probe in json.loads(sys.argv[1])}))
"""
ASK = """
import json, socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
for number, request in enumerate(json.loads(sys.argv[2]), start=1):
    body = json.dumps({"id": number, **request}).encode()
    peer.sendall(len(body).to_bytes(4, "big") + body)
    stream = peer.makefile("rb")
    while True:
        answer = json.loads(stream.read(int.from_bytes(stream.read(4), "big")))
        if answer.get("id") == number:
            print(json.dumps(answer), flush=True)
            break
"""


def probe(installed: Installation, *probes: str) -> dict[str, str]:
    python = "/opt/dployr/bin/python"
    done = installed.machine.run(*AS_AGENT, python, "-I", "-S", "-c", PROBES, json.dumps(probes))
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def ask(installed: Installation, user: tuple[str, ...], *requests: dict[str, object]) -> list[dict[str, object]]:
    """The supervisor's answers."""
    words = (f"{DATA}/supervisor.sock", json.dumps(requests))
    done = installed.machine.run(*user, "/opt/dployr/bin/python", "-I", "-S", "-c", ASK, *words)
    return [json.loads(line) for line in done.stdout.splitlines()]


def status(installed: Installation, pid: int) -> dict[str, str]:
    text = installed.machine.run("cat", f"/proc/{pid}/status").stdout
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}


def test_the_agent_is_a_user_of_its_own_without_any_power(installed: Installation) -> None:
    found = status(installed, installed.machine.main_pid(AGENT))
    assert "0" not in found["Uid"].split() + found["Gid"].split()
    assert {int(found[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert found["NoNewPrivs"] == "1"


def test_the_proxy_is_a_user_of_its_own_that_may_bind_low_ports_and_nothing_else(installed: Installation, app) -> None:
    assert installed.get(app)[0] == 200
    masters = installed.machine.run("pgrep", "--full", "nginx: master process").stdout.split()
    workers = installed.machine.run("pgrep", "--full", "nginx: worker process").stdout.split()
    assert len(masters) == 1
    assert workers
    for pid in (*masters, *workers):
        found = status(installed, int(pid))
        assert {int(uid) for uid in found["Uid"].split()} == {265534}
        assert {int(found[f"Cap{which}"], 16) for which in ("Prm", "Eff")} == {1 << CAP_NET_BIND_SERVICE}


def test_a_static_site_is_built_served_and_removed_without_a_trace(installed: Installation) -> None:
    repository = installed.publish("site", index__html="made by hand")
    made, domain = installed.live("site", repository, runtime="static", build_cmd="echo by a build > page.html")
    assert installed.get(domain)[1] == "made by hand"
    assert installed.get(domain, "/page.html") == (200, "by a build\n")
    tree = f"{DATA}/services/{made['service_id']}/releases/1/tree"
    home = f"{DATA}/services/{made['service_id']}/home"
    group = installed.machine.run("stat", "--format=%g", home).stdout.strip()
    assert installed.machine.run("stat", "--format=%U %g %a", tree).stdout == f"dployr-agent {group} 750\n"
    assert run_once(installed, made["service_id"], "cat page.html") == "by a build\n"
    installed.call("DELETE", "/v1/deployments/site")
    service = f"{DATA}/services/{made['service_id']}"
    wait_until(lambda: installed.machine.run("test", "-e", service, check=False).returncode, 60, "the end of its files")


def run_once(installed: Installation, service: str, command: str) -> str:
    """All that a one-off command wrote."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{installed.api}/v1/services/{service}/run",
        data=json.dumps({"command": command}).encode(),
        headers={"Authorization": f"Bearer {installed.token}", "Content-Type": "application/json"},
    )

    def read() -> list[dict[str, str]]:
        with urllib.request.urlopen(request, timeout=60) as response:
            return [json.loads(line) for line in response if line.strip()]

    return "".join(piece.get("data", "") for piece in installed.machine.inside(read))


def test_what_builds_processes_and_one_off_commands_say_and_use_is_told(installed: Installation) -> None:
    command = "echo begun; exec python3 -m http.server $PORT"
    check = {"kind": "command", "command": "test -n $PORT"}
    repository = installed.publish("words", text="inside")
    made, _ = installed.live(
        "words",
        repository,
        runtime="python",
        run_cmd=command,
        build_cmd="echo built; echo aside >&2",
        health_check=check,
    )
    service = made["service_id"]

    def said(path: str) -> set[str]:
        return {line["line"] for line in installed.call("GET", f"{path}/logs?tail=500")["data"]}

    wait_until(lambda: "begun" in said(f"/v1/services/{service}"), 20, "the process's words")
    assert {"built", "aside"} <= said("/v1/deployments/words/releases/1")
    assert (
        run_once(installed, service, "cat text; id -u")
        == "inside" + installed.machine.run("stat", "--format=%u", f"{DATA}/services/{service}/home").stdout
    )

    def used() -> int:
        (host,) = installed.call("GET", "/v1/instances")["data"]
        with contextlib.suppress(Refused):  # nothing was measured yet
            latest = installed.call("GET", f"/v1/instances/{host['id']}/metrics")["latest"]["families"]
            return int(latest["services"].get(service, {"rss_bytes": 0})["rss_bytes"])
        return 0

    wait_until(used, 40, "what the service uses")
    installed.call("DELETE", "/v1/deployments/words")
    gone = f"{DATA}/services/{service}"
    wait_until(lambda: installed.machine.run("test", "-e", gone, check=False).returncode, 60, "the end of its files")


def test_as_its_user_nothing_of_an_app_and_nothing_of_roots_is_open(installed: Installation, app: str) -> None:
    service = installed.call("GET", "/v1/deployments/app")["service_id"]
    (pid,) = installed.pids("app")
    supervisor = installed.machine.main_pid(SUPERVISOR)
    place = f"{DATA}/services/{service}"
    refused = [
        f"open('/proc/{pid}/environ').read()",
        f"os.listdir('/proc/{pid}/fd')",
        f"os.listdir('/proc/{pid}/cwd/')",
        f"open('/proc/{pid}/mem', 'rb').read(1)",
        f"os.kill({pid}, 0)",
        f"open('/proc/{supervisor}/environ').read()",
        f"os.kill({supervisor}, 0)",
        f"os.listdir('{place}')",
        f"os.listdir('{place}/home')",
        f"os.listdir('{place}/build-home')",
        f"open('{place}/logs/new', 'w')",
        f"open('{place}/logs/index', 'r+')",
        f"os.rename('{place}/logs', '{DATA}/agent/logs')",
        f"os.symlink('/etc', '{place}/other')",
        f"os.mkdir('{DATA}/services/svc_{'1' * 26}')",
        f"os.listdir('{DATA}/records')",
        f"open('{DATA}/identities').read()",
        f"open('{DATA}/supervisor.lock')",
        f"os.unlink('{DATA}/supervisor.sock')",
        f"os.rename('{DATA}/records', '{DATA}/agent/records')",
        f"open('{DATA}/new', 'w')",
        f"open('{DATA}/nginx/run/new', 'w')",
        "open('/etc/dployr/new', 'w')",
        "open('/opt/dployr/new', 'w')",
        "open('/etc/dployr/admin-password').read()",
        "os.listdir('/var/lib/dployr/control-plane')",
        "os.setuid(0)",
    ]
    came = probe(installed, *refused)
    assert {words for words, result in came.items() if result not in {"EACCES", "EPERM"}} == set()
    allowed = [
        f"open('{place}/logs/index', 'rb').read()",
        f"os.listdir('{place}/releases')",
        f"open('{DATA}/agent/new', 'w')",
        f"os.unlink('{DATA}/agent/new')",
    ]
    assert set(probe(installed, *allowed).values()) == {"done"}


def test_the_supervisor_takes_from_the_agent_its_verbs_with_ids_and_nothing_else(installed: Installation, app) -> None:
    service = installed.call("GET", "/v1/deployments/app")["service_id"]
    pids = installed.pids("app")
    job = {"command": "", "env": [], "toolchain": "", "working_dir": "", "deadline_s": 10.0, "release": 0}
    answers = ask(
        installed,
        AS_AGENT,
        {"verb": "hello"},
        {"verb": "exec", "path": "/bin/sh"},
        {"verb": "prepare_build", "service_id": "../../etc", "release": 1},
        {"verb": "seal_release", **job, "service_id": "/etc"},
        {"verb": "forget", "service_id": service},
        {"verb": "remove_files", **job, "service_id": service},
    )
    assert "ok" in answers[0]
    assert all("error" in answer for answer in answers[1:]), answers
    nobody = ("setpriv", "--reuid=65534", "--regid=dployr-agent", "--clear-groups")
    with pytest.raises(AssertionError):  # let in by the group of the socket's file, sent away by the uid
        ask(installed, nobody, {"verb": "hello"})
    assert installed.pids("app") == pids


def test_a_tree_that_is_not_the_agents_or_the_builds_is_never_handed_over(installed: Installation, app: str) -> None:
    """An agent that is somebody else's puppet names its own service, and puts a link where the tree should be."""
    service = installed.call("GET", "/v1/deployments/app")["service_id"]
    builds = f"{DATA}/services/{service}/builds"
    before = installed.machine.run("stat", "--format=%u %g %a", "/etc", "/opt/test").stdout
    job = {"command": "", "env": [], "toolchain": "", "working_dir": "", "deadline_s": 10.0, "service_id": service}
    made = [f"os.symlink('/etc', '{builds}/90')", f"os.mkdir('{builds}/91')", f"os.symlink('/etc', '{builds}/91/deep')"]
    assert set(probe(installed, *made).values()) == {"done"}
    followed, given, taken = ask(
        installed,
        AS_AGENT,
        {"verb": "seal_release", **job, "release": 90},
        {"verb": "open_build", **job, "release": 91},
        {"verb": "seal_release", **job, "release": 91},
    )
    assert followed["ok"]["outcome"] == "start_failed"
    assert given["ok"]["code"] == taken["ok"]["code"] == 0
    assert installed.machine.run("stat", "--format=%u %g %a", "/etc", "/opt/test").stdout == before
    ask(
        installed,
        AS_AGENT,
        {"verb": "remove_files", **job, "release": 91},
        {"verb": "remove_files", **job, "release": 90},
    )
    assert installed.machine.run("ls", builds).stdout == ""
    assert installed.machine.run("test", "-e", "/etc/dployr/agent.yaml").returncode == 0
