"""`dployr-supervisor`: run it in the foreground for one data directory, or tell the running one to end everything.

SIGTERM and SIGINT end the supervisor alone: processes, jobs and nginx go on, and the next supervisor takes them over.
"""

import argparse
import os
import pathlib
import sys

SLACK_S = 30.0
START = pathlib.Path(__file__).with_name("start.py")


def main(argv: list[str] | None = None) -> int:
    """The command; its exit status. What serves is another program in this process, so that nothing of us stays."""
    parser = argparse.ArgumentParser(prog="dployr-supervisor", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=("run", "shutdown"), default="run")
    parser.add_argument("--data-dir", required=True, type=pathlib.Path, help="the directory shared with the agent")
    parser.add_argument("--nginx", default="", help="the nginx program (default: found on this host)")
    parser.add_argument(
        "--log-limits",
        default="512,4096,30",
        metavar="SERVICE,HOST,DAYS",
        help="MiB of the log of one service, MiB of all logs, days that a line is kept (default: %(default)s)",
    )
    parser.add_argument(
        "--uid-range",
        default="200000-265535",
        metavar="FIRST-LAST",
        help="uids for the apps and their builds, where the supervisor is root, or none (default: %(default)s)",
    )
    parser.add_argument("--agent-user", default="", help="the user of the agent (default: the one we run as)")
    parser.add_argument("--boot-id-file", default="", help=argparse.SUPPRESS)  # for tests of a reboot
    parser.add_argument("--rung", default="", choices=("", "v2", "v1", "none"), help=argparse.SUPPRESS)  # for tests
    options = parser.parse_args(argv)
    root = options.data_dir.resolve()
    if options.verb == "run":
        python = (sys.executable, "-S", "-I", str(START), str(START.parents[2]))
        started_as = ("-m", "node_agent.supervisor", "run", "--data-dir", str(root))  # by this it is found
        users = (options.uid_range, _numbers(parser, options.agent_user))
        given = (options.nginx, options.log_limits, *users, options.boot_id_file, options.rung)
        os.execv(python[0], (*python, *started_as, *given))
    return _shutdown(root)


def _numbers(parser: argparse.ArgumentParser, user: str) -> str:
    """The user as UID:GID: who serves has no way to look names up."""
    import pwd

    try:
        found = pwd.getpwnam(user) if user else None
    except KeyError:
        parser.error(
            f"cannot serve an agent that runs as {user!r}: there is no such user; make it with systemd-sysusers"
        )
    return f"{found.pw_uid}:{found.pw_gid}" if found else ""


def _shutdown(root: pathlib.Path) -> int:
    """Ask the running supervisor to end all; it is done when it closes the connection."""
    import socket  # the way to `run` is kept short

    from node_agent.paths import Paths
    from node_agent.supervisor import frames
    from node_agent.supervisor.verbs import SHUTDOWN_GRACE_S

    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(SHUTDOWN_GRACE_S + SLACK_S)
    with peer:
        try:
            with frames.address(Paths(root).supervisor_socket) as address:
                peer.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            sys.stderr.write(f"no supervisor runs for {root}\n")
            return 0
        except OSError as error:
            sys.stderr.write(f"cannot shut down the supervisor of {root}: {error}\n")
            return 1
        peer.sendall(frames.encode_frame({"id": 1, "verb": "shutdown"}))
        while peer.recv(64 << 10):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
