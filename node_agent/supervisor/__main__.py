"""`dployr-supervisor`: run it in the foreground for one data directory, or tell the running one to end everything.

SIGTERM and SIGINT end the supervisor alone: processes, jobs and nginx go on, and the next supervisor takes them over.
"""

import argparse
import ctypes
import fcntl
import os
import pathlib
import signal
import socket
import sys

from node_agent import clock, dumps, paths
from node_agent.supervisor import adoption, ladder, procfs, protocol
from node_agent.supervisor.children import Children
from node_agent.supervisor.endings import Endings
from node_agent.supervisor.host import Host
from node_agent.supervisor.jobs import JOB_SUFFIXES, Jobs
from node_agent.supervisor.logs import LogStore
from node_agent.supervisor.loop import Loop, note
from node_agent.supervisor.nginx import TEST, Nginx, find_nginx
from node_agent.supervisor.processes import Processes
from node_agent.supervisor.records import Records
from node_agent.supervisor.server import Server
from node_agent.supervisor.verbs import SHUTDOWN_GRACE_S, Verbs

PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 38, 36
SHUTDOWN_TIMEOUT_S = SHUTDOWN_GRACE_S + 30.0


def main(argv: list[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="dployr-supervisor", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=("run", "shutdown"), default="run")
    parser.add_argument("--data-dir", required=True, type=pathlib.Path, help="the directory shared with the agent")
    parser.add_argument("--nginx", default="", help="the nginx program (default: found on this host)")
    parser.add_argument("--boot-id-file", default=procfs.BOOT_ID, help=argparse.SUPPRESS)  # for tests of a reboot
    options = parser.parse_args(argv)
    root = paths.Paths(options.data_dir.resolve())
    try:
        return _shutdown(root) if options.verb == "shutdown" else _run(root, options)
    except OSError as error:
        sys.stderr.write(f"cannot {options.verb} the supervisor of {root.root}: {error}\n")
        return 1


def _run(root: paths.Paths, options: argparse.Namespace) -> int:
    program = find_nginx(options.nginx)
    root.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(root.supervisor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"cannot run the supervisor: another one already serves {root.root}\n")
        return 3
    _prepare(root)
    system = clock.SystemClock()
    loop = Loop(system)
    server = Server(loop, root)
    host = _host(root, loop, system, server, procfs.boot_id(options.boot_id_file))
    processes, jobs, proxy = Processes(host), Jobs(host), Nginx(host, program)
    host.children.orphan_ended = host.endings.hurry
    loop.on_signals(
        {signal.SIGCHLD: host.children.reap, signal.SIGTERM: loop.stop, signal.SIGINT: loop.stop},
    )
    _adopt(host, processes, jobs, proxy)
    server.listen(Verbs(host, processes, jobs, proxy, loop.stop))
    note("supervisor.ready", pid=os.getpid(), socket=root.supervisor_socket)
    loop.run()
    server.close()
    host.cages.close()
    note("supervisor.ended", pid=os.getpid())
    return 0


def _prepare(root: paths.Paths) -> None:
    """What holds for this process and, where the kernel hands it down, for everything it starts."""
    dumps.hide()
    os.chdir("/")
    os.umask(0o022)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for directory in (root.records, root.proxy, root.cache):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    for option in (PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS):
        if libc.prctl(option, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) is refused")


def _host(root: paths.Paths, loop: Loop, system: clock.Clock, server: Server, boot_id: str) -> Host:
    children = Children(loop)
    return Host(
        loop=loop,
        clock=system,
        chance=clock.SystemChance(),
        paths=root,
        boot_id=boot_id,
        children=children,
        cages=ladder.open_cages(root.root),
        endings=Endings(loop, system, str(root.root), children.reap),
        logs=LogStore(loop, root, system),
        records=Records(loop, root.records),
        changed=server.tell_changed,
    )


def _adopt(host: Host, processes: Processes, jobs: Jobs, proxy: Nginx) -> None:
    """Take over what a former supervisor started, before anything new can be."""
    snapshot = procfs.take_snapshot(str(host.paths.root))
    found = adoption.find(host, snapshot)
    proxy.adopt(found.pop(procfs.PROXY, []))
    jobs.clear([marker for marker in found if marker.endswith(JOB_SUFFIXES) or marker.startswith(TEST)])
    processes.adopt(host.records.load(), found, snapshot)
    host.logs.catch_up()


def _shutdown(root: paths.Paths) -> int:
    """Ask the running supervisor to end all; it is done when it closes the connection."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(SHUTDOWN_TIMEOUT_S)
    with peer:
        try:
            with protocol.address(root.supervisor_socket) as address:
                peer.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            sys.stderr.write(f"no supervisor runs for {root.root}\n")
            return 0
        peer.sendall(protocol.encode_frame({"id": 1, "verb": "shutdown"}))
        while peer.recv(64 << 10):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
