"""The parts of the supervisor put together, and its life from the lock to the last answer."""

import ctypes
import fcntl
import gc
import os
import pathlib
import signal
import sys

from node_agent import clock, dumps, former_places, paths
from node_agent.model.log_space import Budgets
from node_agent.supervisor import adoption, ladder, notify, priority, procfs, spawn
from node_agent.supervisor.cages import Cages
from node_agent.supervisor.calls import Calls, NoCalls, open_calls
from node_agent.supervisor.children import Children
from node_agent.supervisor.endings import Endings
from node_agent.supervisor.host import Host
from node_agent.supervisor.isolation import Isolation, NoIsolation, open_isolation
from node_agent.supervisor.jobs import JOB_SUFFIXES, Jobs
from node_agent.supervisor.logs import LogStore
from node_agent.supervisor.loop import Loop, note
from node_agent.supervisor.nginx import TEST, Nginx, find_nginx
from node_agent.supervisor.processes import Processes
from node_agent.supervisor.records import Records
from node_agent.supervisor.server import Server
from node_agent.supervisor.verbs import Verbs

PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 38, 36


def serve(data_dir: str, nginx: str, log_limits: str, uids: str, agent: str, boot_id_file: str, rung: str) -> int:
    """Until a signal or a shutdown; the exit status. Raises OSError, and ValueError for limits or users that are none."""
    root = paths.Paths(pathlib.Path(data_dir))
    program, budgets = find_nginx(nginx), Budgets.parse(log_limits)
    root.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(root.supervisor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"cannot run the supervisor: another one already serves {root.root}\n")
        return 3
    _prepare(root)
    system = clock.SystemClock()
    isolated = open_isolation(root, uids, system, agent)
    own_group = isolated.household.agent.gid
    os.setresgid(own_group, own_group, own_group)  # what we let the agent read, it reads by its group
    spawn.prepare(users=not isinstance(isolated, NoIsolation))
    loop = Loop(system)
    server = Server(loop, root, isolated.household.agent.uid)
    boot_id = procfs.boot_id(boot_id_file or procfs.BOOT_ID)
    rungs, calls = ladder.open_cages(root.root, rung), open_calls(root.root)
    host = build_host(root, loop, system, server, boot_id, rungs, budgets, isolated, calls)
    processes, jobs, proxy = Processes(host), Jobs(host), Nginx(host, program)
    host.children.orphan_ended = host.endings.orphan_ended
    loop.on_signals(
        {signal.SIGCHLD: host.children.reap, signal.SIGTERM: loop.stop, signal.SIGINT: loop.stop},
    )
    _adopt(host, processes, jobs, proxy)
    server.listen(Verbs(host, processes, jobs, proxy, loop.stop))
    note(
        "supervisor.ready",
        pid=os.getpid(),
        socket=root.supervisor_socket,
        limits=host.cages.words,
        users=isolated.words,
    )
    gc.collect()
    gc.freeze()  # what is here now stays: no collection looks at it again, in the middle of a hundred starts
    manager = notify.begin(loop)
    loop.run()
    manager.stopping()
    server.close()
    host.cages.close()
    host.calls.tidy()
    note("supervisor.ended", pid=os.getpid())
    return 0


def _prepare(root: paths.Paths) -> None:
    """What holds for this process and, where the kernel hands it down, for everything it starts."""
    dumps.hide()
    os.chdir("/")
    os.umask(0o022)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    former_places.leave(root)
    for directory in (root.records, root.proxy, root.cache, root.nginx):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    for option in (PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS):
        if libc.prctl(option, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) is refused")
    priority.prefer_us()


def build_host(
    root: paths.Paths,
    loop: Loop,
    system: clock.Clock,
    server: Server,
    boot_id: str,
    cages: Cages,
    budgets: Budgets | None = None,
    isolated: Isolation | None = None,
    calls: Calls | NoCalls | None = None,
) -> Host:
    """What the parts share; they are of `root` and run on `loop`."""
    children = Children(loop)
    return Host(
        loop=loop,
        clock=system,
        chance=clock.SystemChance(),
        paths=root,
        boot_id=boot_id,
        children=children,
        cages=cages,
        endings=Endings(loop, system, str(root.root), children.reap),
        logs=LogStore(loop, root, system, budgets),
        records=Records(loop, root.records),
        changed=server.tell_changed,
        isolation=isolated or NoIsolation("nobody asked for it", root),
        calls=calls or NoCalls("nobody asked for it"),
    )


def _adopt(host: Host, processes: Processes, jobs: Jobs, proxy: Nginx) -> None:
    """Take over what a former supervisor started, before anything new can be."""
    snapshot = procfs.take_snapshot(str(host.paths.root))
    found = adoption.find(host, snapshot)
    proxy.adopt(found.pop(procfs.PROXY, []))
    jobs.clear([marker for marker in found if marker.endswith(JOB_SUFFIXES) or marker.startswith(TEST)])
    processes.adopt(host.records.load(), found, snapshot)
    host.logs.catch_up()
