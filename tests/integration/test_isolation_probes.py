"""What an app and a build can do to what is not theirs: tried by real programs under their own uids (T19, T20, T25, T26).

The data directory lies where other users may pass, which a test's own directory does not allow.
"""

import json
import os
import pathlib
import shutil
import socket
import stat
from collections.abc import AsyncIterator

import pytest

from node_agent.model.process import JobKind, ProcessId, ProcessSpec
from node_agent.supervisor.identities import Identity
from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import SERVICE, SupervisorHost, a_job, a_process, passable, reach
from tests.supervisor_host import open_host as open_host  # noqa: PLC0414 - the fixture `host`
from tests.waiting import wait_until, wait_until_async

PYTHON = "/usr/bin/python3"
NEIGHBOUR = "svc_" + "1" * 26
# Signals 32 and 33: the C library ignores them in what it spawns, so they come from whoever started the tests.
OF_THE_C_LIBRARY = 0b11 << 31
SECRET = "correct-horse-battery"
APP, BUILD, GROUP = 200000, 200001, 200000

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(PYTHON, os.X_OK), reason="needs root, and a Python that every user can run"
)

# One line of JSON: for each probe what came of it, an errno's name or "done".
PROBES = """
import ctypes, errno, json, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"x86_64": {"clone": 56}, "aarch64": {"clone": 220}}[os.uname().machine]
def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
def use(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags))
def attempt(probe):
    try:
        exec(probe)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
print(json.dumps({probe: attempt(probe) for probe in json.loads(sys.argv[1])}), flush=True)
"""


@pytest.fixture
async def client(host: SupervisorHost) -> AsyncIterator[SupervisorClient]:
    for tree in (host.tree, host.paths.release_tree(NEIGHBOUR, 1)):
        tree.mkdir(parents=True, exist_ok=True)
    host.start()
    found = SupervisorClient(host.paths)
    await found.connect(20)
    yield found
    await found.close()


async def seal(host: SupervisorHost, client: SupervisorClient, service_id: str = SERVICE, **files: str) -> pathlib.Path:
    """A release as the builder makes one, of these files."""
    build = host.paths.build_tree(service_id, 1)
    build.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in files.items():
        (build / name).write_text(text)
    result = await client.run_job(a_job("", service_id=service_id, kind=JobKind.SEAL))
    assert (result.outcome, result.code) == ("exited", 0), result
    final = host.paths.release(service_id, 1)
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir(mode=0o710, parents=True)
    os.chown(final, 0, build.stat().st_gid)
    build.rename(final / "tree")
    return final / "tree"


def lines(host: SupervisorHost, spec: ProcessSpec, stream: str = "stdout") -> list[str]:
    name = spec.id
    file = host.paths.log_file(name.service_id, name.name, name.release, stream)
    return file.read_text().splitlines() if file.exists() else []


async def run_probes(host: SupervisorHost, client: SupervisorClient, probes: list[str]) -> dict[str, str]:
    """Tried by the app."""
    await seal(host, client, probes=PROBES, words=json.dumps(probes))
    spec = a_process(f'{PYTHON} probes "$(cat words)"; exec sleep 1000')
    await client.start(spec)
    wait_until(lambda: lines(host, spec) or lines(host, spec, "stderr"))
    found = json.loads(lines(host, spec)[0])
    await client.stop(spec.id, 0.0)
    assert isinstance(found, dict)
    return found


async def start_neighbour(host: SupervisorHost, client: SupervisorClient) -> tuple[int, ProcessSpec]:
    """A service with a secret in its environment, its home, its release and its log."""
    tree = await seal(host, client, NEIGHBOUR, secret=SECRET)
    command = f"echo {SECRET} | tee $HOME/secret; exec sleep 1000"
    spec = a_process(command, id=ProcessId(NEIGHBOUR, 1, 0, "web.1"), env=(("TOKEN", SECRET),))
    status = await client.start(spec)
    await wait_until_async(lambda: lines(host, spec) == [SECRET])
    assert stat.S_IMODE(tree.stat().st_mode) == 0o750
    return status.pid, spec


async def test_an_app_runs_as_its_own_user_with_nothing_of_ours(host: SupervisorHost, client: SupervisorClient) -> None:
    await seal(host, client)
    spec = a_process("cat /proc/self/status; umask; ulimit -c; ulimit -n; ulimit -f; exec sleep 1000")
    await client.start(spec)
    wait_until(lambda: "unlimited" in lines(host, spec))
    told = dict(line.split(":\t", 1) for line in lines(host, spec) if ":\t" in line)
    assert told["Uid"].split() == told["Gid"].split() == [str(APP)] * 4
    assert told["Groups"].split() == []
    assert told["NoNewPrivs"] == "1"
    assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert int(told["SigIgn"], 16) & ~OF_THE_C_LIBRARY == 0
    umask, core, files, size = lines(host, spec)[-4:]
    assert (umask, core, size) == ("0077", "0", "unlimited")
    assert int(files) >= 1024
    await client.stop(spec.id, 0.0)


async def test_an_app_reaches_nothing_of_what_its_neighbour_and_we_run(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    pid, neighbour = await start_neighbour(host, client)
    both = (pid, host.process.pid)
    refused = {
        **{f"use('/proc/{who}/{name}')": "EACCES" for who in both for name in ("environ", "mem", "maps")},
        **{f"os.listdir('/proc/{who}/fd')": "EACCES" for who in both},
        **{f"os.readlink('/proc/{who}/{name}')": "EACCES" for who in both for name in ("cwd", "root", "exe")},
        f"use('/proc/{pid}/fd/1', os.O_WRONLY)": "EACCES",
        f"use('/proc/{pid}/cwd/secret')": "EACCES",
        **{f"os.kill({who}, signal.SIGKILL)": "EPERM" for who in both},
        **{f"os.setpriority(os.PRIO_PROCESS, {who}, 19)": "EPERM" for who in both},
        f"call('prlimit', {pid}, 7, None, ctypes.create_string_buffer(16))": "EPERM",
    }
    assert len(refused) >= 20
    assert await run_probes(host, client, list(refused)) == refused
    await client.stop(neighbour.id, 0.0)


async def test_an_app_reaches_no_file_of_its_neighbour(host: SupervisorHost, client: SupervisorClient) -> None:
    _, neighbour = await start_neighbour(host, client)
    paths = host.paths
    output = paths.log_file(NEIGHBOUR, "web.1", 1, "stdout")
    places = (
        *(paths.service(NEIGHBOUR), paths.releases(NEIGHBOUR), paths.release_tree(NEIGHBOUR, 1)),
        *(paths.home(NEIGHBOUR), paths.logs(NEIGHBOUR), paths.builds(NEIGHBOUR), paths.build_home(NEIGHBOUR)),
    )
    files = (
        *(paths.release_tree(NEIGHBOUR, 1) / "secret", paths.home(NEIGHBOUR) / "secret"),
        *(output, paths.log_index(NEIGHBOUR)),
    )
    refused = {
        **{f"os.listdir({str(place)!r})": "EACCES" for place in places},
        **{f"use({str(file)!r})": "EACCES" for file in files},
        f"use({str(output)!r}, os.O_WRONLY | os.O_APPEND)": "EACCES",
        f"os.mkdir({str(paths.service(NEIGHBOUR) / 'x')!r})": "EACCES",
    }
    assert await run_probes(host, client, list(refused)) == refused
    await client.stop(neighbour.id, 0.0)


async def test_an_app_reaches_no_file_of_ours(host: SupervisorHost, client: SupervisorClient) -> None:
    paths = host.paths
    (paths.identity).mkdir(mode=0o700, exist_ok=True)
    (paths.identity / "key.pem").write_text(SECRET)
    paths.journal.touch(0o600)
    places = (paths.root, paths.services, paths.records, paths.identity, paths.proxy, paths.cache)
    files = (paths.identity / "key.pem", paths.journal, paths.identities)
    refused = {
        **{f"os.listdir({str(place)!r})": "EACCES" for place in places},
        **{f"use({str(file)!r})": "EACCES" for file in files},
        f"use({str(paths.supervisor_lock)!r}, os.O_WRONLY)": "EACCES",
        f"socket.socket(socket.AF_UNIX).connect({str(paths.supervisor_socket)!r})": "EACCES",
        **{f"os.mkdir({str(place / 'x')!r})": "EACCES" for place in (paths.root, paths.services, paths.toolchains)},
    }
    assert await run_probes(host, client, list(refused)) == refused


async def test_an_app_uses_its_own_files_and_changes_neither_its_release_nor_its_log(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    log = host.paths.log_file(SERVICE, "web.1", 1, "stdout")
    expected = {
        "use('probes', os.O_WRONLY)": "EACCES",
        "os.unlink('probes')": "EACCES",
        "use('x', os.O_WRONLY | os.O_CREAT)": "EACCES",
        "os.chmod('probes', 0o666)": "EPERM",
        f"use({str(log)!r})": "EACCES",
        "use('/proc/self/fd/1')": "EACCES",
        "os.unlink(os.readlink('/proc/self/fd/1'))": "EACCES",
        "use('probes')": "done",
        "use('/proc/self/fd/1', os.O_WRONLY | os.O_APPEND)": "done",
        "use(os.path.expanduser('~/x'), os.O_WRONLY | os.O_CREAT)": "done",
    }
    assert await run_probes(host, client, list(expected)) == expected


async def test_an_app_gains_no_privilege(host: SupervisorHost, client: SupervisorClient) -> None:
    pid, neighbour = await start_neighbour(host, client)
    refused = {
        "os.setuid(0)": "EPERM",
        "os.setgid(0)": "EPERM",
        "os.setresuid(0, 0, 0)": "EPERM",
        f"os.setuid({BUILD})": "EPERM",
        "os.setgroups([0])": "EPERM",
        f"call('ptrace', 16, {pid}, None, None)": "EPERM",
        f"call('ptrace', 16, {host.process.pid}, None, None)": "EPERM",
        "call('mount', b'none', b'/tmp', b'tmpfs', 0, None)": "EPERM",
        "call('umount2', b'/proc', 0)": "EPERM",
        "call('unshare', 0x00020000)": "EPERM",
        "call('unshare', 0x40000000)": "EPERM",
        "call('unshare', 0x10000000)": "EPERM",
        "call('unshare', 0x10020000)": "EPERM",
        "call('syscall', NUMBERS['clone'], 0x10000000 | 17, None, None, None, None)": "EPERM",
        "call('syscall', 435, ctypes.create_string_buffer(88), 88)": "ENOSYS",
        "call('chroot', b'/')": "EPERM",
        "call('sethostname', b'x', 1)": "EPERM",
        "os.mknod(os.path.expanduser('~/null'), 0o20666, os.makedev(1, 3))": "EPERM",
        "os.chown(os.path.expanduser('~'), 0, 0)": "EPERM",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))": "EPERM",
        "call('prctl', 24, 1, 0, 0, 0)": "EPERM",
    }
    assert await run_probes(host, client, list(refused)) == refused
    await client.stop(neighbour.id, 0.0)


async def test_a_setuid_program_of_root_gives_an_app_nothing(host: SupervisorHost, client: SupervisorClient) -> None:
    await seal(host, client)
    program = host.paths.root.parent / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    spec = a_process(f"{program} -u; exec sleep 1000")
    await client.start(spec)
    wait_until(lambda: lines(host, spec))
    assert lines(host, spec) == [str(APP)]
    await client.stop(spec.id, 0.0)


async def test_a_build_has_another_user_than_the_app_and_reaches_nothing_of_it(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    await seal(host, client)
    spec = a_process("echo x > $HOME/secret; echo ready; exec sleep 1000", env=(("TOKEN", SECRET),))
    pid = (await client.start(spec)).pid
    wait_until(lambda: lines(host, spec))
    host.build_tree.mkdir(parents=True)
    await client.run_job(a_job("", kind=JobKind.OPEN))
    tries = (
        f"cat /proc/{pid}/environ",
        f"kill -9 {pid}",
        f"cat {host.paths.home(SERVICE)}/secret",
        f"ls {host.paths.releases(SERVICE)}",
        f"ls {host.paths.logs(SERVICE)}",
        f"ls {host.paths.cache}",
        f"touch {host.paths.release_tree(SERVICE, 1)}/x",
    )
    command = "; ".join([f"{{ {words}; }} 2>/dev/null && exit 9" for words in tries])
    result = await client.run_job(a_job(f"{command}; id -u; id -g; touch made $HOME/made"))
    assert (result.outcome, result.code) == ("exited", 0), result
    assert result.last_lines[-2:] == (str(BUILD), str(GROUP))
    assert (host.build_tree / "made").stat().st_uid == BUILD
    assert os.listdir(host.paths.build_home(SERVICE)) == ["made"]
    await client.stop(spec.id, 0.0)


async def test_a_sealed_tree_is_ours_and_the_services_to_read(host: SupervisorHost, client: SupervisorClient) -> None:
    await client.run_job(a_job("", kind=JobKind.OPEN))
    await client.run_job(a_job("mkdir -m 0 d; touch f; chmod 4777 f; mkdir e; touch e/x; chmod 1 e/x; ln -s /etc l"))
    tree = await seal(host, client)
    modes = {"d": 0o750, "f": 0o750, "e": 0o750, "e/x": 0o440 | 0o000}
    assert {name: stat.S_IMODE((tree / name).stat().st_mode) for name in modes} == modes
    assert {(tree / name).stat().st_uid for name in modes} == {0}
    assert {(tree / name).stat().st_gid for name in modes} == {GROUP}


async def test_a_second_name_of_somebody_elses_file_is_not_handed_over(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    await client.run_job(a_job("", kind=JobKind.OPEN))
    theirs = host.paths.root / "theirs"
    theirs.write_text(SECRET)
    theirs.chmod(0o600)
    (host.build_tree / "mine").hardlink_to(theirs)
    result = await client.run_job(a_job("", kind=JobKind.SEAL))
    assert (result.outcome, result.code) == ("exited", 2)
    assert "second name" in result.last_lines[-1]
    assert (theirs.stat().st_gid, stat.S_IMODE(theirs.stat().st_mode)) == (0, 0o600)


async def test_a_file_that_a_build_gave_two_names_is_sealed_under_both(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    """As the installers of some packages do with their programs."""
    await client.run_job(a_job("", kind=JobKind.OPEN))
    await client.run_job(a_job("mkdir a; touch a/program; chmod 700 a/program; ln a/program program"))
    tree = await seal(host, client)
    states = [(tree / name).stat() for name in ("a/program", "program")]
    assert {(state.st_uid, stat.S_IMODE(state.st_mode), state.st_nlink) for state in states} == {(0, 0o750, 2)}


async def test_what_an_app_holds_open_of_its_services_build_is_not_sealed(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    """They are of one group: a build can let the app in, and the app would write into the release later on."""
    await client.run_job(a_job("", kind=JobKind.OPEN))
    await client.run_job(a_job("umask 0; touch f; chmod 777 . f"))
    spec = a_process(f"exec 9<>{host.build_tree}/f && echo open; exec sleep 1000")
    await client.start(spec)
    wait_until(lambda: lines(host, spec) == ["open"])
    result = await client.run_job(a_job("", kind=JobKind.SEAL))
    assert (result.outcome, result.code) == ("exited", 2), result
    assert "./f is open to write" in result.last_lines[-1]
    await client.stop(spec.id, 0.0)
    assert (await client.run_job(a_job("", kind=JobKind.SEAL))).code == 0


async def test_a_port_that_one_service_listens_on_is_not_taken_by_another(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = "import socket, sys, time\ns = socket.socket()\ns.setsockopt(1, 15, 1)\ntry:\n"
    text += " s.bind((sys.argv[1], int(sys.argv[2])))\n s.listen()\n print('has it', flush=True)\n"
    text += "except OSError as error:\n print(error.errno, flush=True)\ntime.sleep(1000)\n"
    await seal(host, client, NEIGHBOUR, bind=text)
    victim = a_process(f"exec {PYTHON} bind 127.0.0.1 {port}", id=ProcessId(NEIGHBOUR, 1, 0, "web.1"))
    await client.start(victim)
    wait_until(lambda: lines(host, victim) == ["has it"])
    await seal(host, client, bind=text)
    for number, address in enumerate(("127.0.0.1", "0.0.0.0"), 1):
        thief = a_process(f"exec {PYTHON} bind {address} {port}", id=ProcessId(SERVICE, 1, 0, f"web.{number}"))
        await client.start(thief)
        wait_until(lambda thief=thief: lines(host, thief))
        assert lines(host, thief) == ["98"], address
        await client.stop(thief.id, 0.0)
    await client.stop(victim.id, 0.0)


HOSTILE = (
    ("LD_PRELOAD", "{home}/evil.so"),
    ("LD_LIBRARY_PATH", "{home}"),
    ("LD_AUDIT", "{home}/evil.so"),
    ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
    ("PATH", "/nowhere"),
    ("PYTHONPATH", "{home}"),
    ("PYTHONSTARTUP", "{home}/evil.py"),
    ("BASH_ENV", "{home}/evil.sh"),
    ("ENV", "{home}/evil.sh"),
    ("IFS", "/"),
    ("a.b-c", "odd name"),
    ("NEWLINE", "one\ntwo"),
    ("LARGE", "x" * 100_000),
)


async def test_a_hostile_environment_reaches_the_app_alone(host: SupervisorHost, client: SupervisorClient) -> None:
    """Whatever a loader or a shell obeys in it, it obeys under the app's uid."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no compiler to make a library with")
    await seal(host, client)
    home = host.paths.home(SERVICE)
    source = home / "evil.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        "__attribute__((constructor)) static void evil(void) {\n"
        '  FILE *f = fopen(getenv("WITNESS"), "a");\n'
        '  if (f) { fprintf(f, "%d %d\\n", getuid(), geteuid()); fclose(f); }\n}\n'
    )
    host_words = [compiler, "-shared", "-fPIC", "-o", str(home / "evil.so"), str(source)]
    assert os.spawnv(os.P_WAIT, compiler, host_words) == 0
    (home / "evil.so").chmod(0o755)
    witness = host.paths.root.parent / "witness"
    witness.touch()
    witness.chmod(0o666)
    env = (*((key, value.format(home=home)) for key, value in HOSTILE), ("WITNESS", str(witness)))
    spec = a_process(f"echo ready; {PYTHON} -c 'import os; print(os.environb[b\"a.b-c\"])'; exec sleep 1000", env=env)
    await client.start(spec)
    wait_until(lambda: len(lines(host, spec)) >= 2)
    assert lines(host, spec)[0] == "ready"
    assert set(witness.read_text().split("\n")) == {f"{APP} {APP}", ""}
    job = await client.run_job(a_job("echo built", env=env))
    assert job.outcome in {"exited", "start_failed"}
    assert set(witness.read_text().split("\n")) <= {f"{APP} {APP}", f"{BUILD} {BUILD}", ""}
    await client.stop(spec.id, 0.0)


async def test_a_uid_comes_back_after_a_restart_and_is_another_ones_only_when_all_is_gone(
    host: SupervisorHost, client: SupervisorClient
) -> None:
    await seal(host, client)
    spec = a_process("id -u; exec sleep 1000")
    await client.start(spec)
    wait_until(lambda: lines(host, spec) == [str(Identity(APP).app)])
    host.kill()
    host.start()
    await reach(host, client)
    other = a_process("id -u; exec sleep 1000", id=ProcessId(SERVICE, 1, 1, "web.2"))
    await client.start(other)
    wait_until(lambda: lines(host, other) == [str(APP)])
    for each in (spec, other):
        await client.stop(each.id, 0.0)
    await client.forget(SERVICE)
    await seal(host, client, NEIGHBOUR)
    third = a_process("id -u; exec sleep 1000", id=ProcessId(NEIGHBOUR, 1, 0, "web.1"))
    await client.start(third)
    wait_until(lambda: lines(host, third) == [str(APP + 2)])
    await client.stop(third.id, 0.0)


async def test_an_app_and_a_build_have_a_tmp_of_their_own() -> None:
    with passable("/run") as root:
        host = SupervisorHost(root / "data")
        client = SupervisorClient(host.paths)
        try:
            host.start()
            await client.connect(20)
            if dict((await client.hello()).capabilities)["private_tmp"].startswith("none"):
                pytest.skip("no mount namespaces here")
            await seal(host, client)
            spec = a_process("ls /tmp | wc -l; touch /tmp/app; ls /tmp /var/tmp; pwd; exec sleep 1000")
            await client.start(spec)
            wait_until(lambda: len(lines(host, spec)) == 7)
            assert lines(host, spec) == ["0", "/tmp:", "app", "", "/var/tmp:", "app", str(host.tree)]
            assert [entry.name for entry in host.paths.tmp(SERVICE).iterdir()] == ["app"]
            host.build_tree.mkdir(parents=True)
            await client.run_job(a_job("", kind=JobKind.OPEN))
            job = await client.run_job(a_job("touch /tmp/build; ls /tmp"))
            assert job.last_lines == ("build",)
            assert not pathlib.Path("/tmp/build").exists()
            check = a_job("test -e /tmp/app", kind=JobKind.CHECK, port=spec.port)
            assert (await client.run_job(check)).code == 0
            mounts = pathlib.Path(f"/proc/{host.process.pid}/mounts").read_text()
            assert " /tmp " not in mounts or " /tmp " in pathlib.Path("/proc/self/mounts").read_text()
            await client.stop(spec.id, 0.0)
        finally:
            await client.close()
            host.close()


async def test_what_is_enforced_is_said(host: SupervisorHost, client: SupervisorClient) -> None:
    told = dict((await client.hello()).capabilities)
    assert told["isolation"].endswith("; no user namespaces")
    assert told["isolation"].startswith("users: ")
    assert told["private_tmp"].startswith("none: the data directory lies in /tmp")


async def test_a_data_directory_that_others_cannot_reach_is_said_and_nothing_is_isolated(
    tmp_path: pathlib.Path,
) -> None:
    tmp_path.chmod(0o700)
    closed = SupervisorHost(tmp_path / "data")
    client = SupervisorClient(closed.paths)
    try:
        closed.start()
        await client.connect(20)
        words = dict((await client.hello()).capabilities)["isolation"]
        assert words.startswith("none: other users cannot enter ")
        assert not closed.paths.identities.exists()
    finally:
        await client.close()
        closed.close()
