"""How git reaches a repository by ssh: one fixed set of options, a key of the deployment, and no trust on first use."""

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Iterator

from node_agent.model import source

SSH = "/usr/bin/ssh"
PREFIX = "ssh-"
OPTIONS = (
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "CheckHostIP=no",
    "CanonicalizeHostname=no",
    "ProxyCommand=none",
    "ProxyJump=none",
    "PermitLocalCommand=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "Tunnel=no",
    "ControlMaster=no",
    "ControlPath=none",
    "AddKeysToAgent=no",
    "RequestTTY=no",
    "EscapeChar=none",
    "ConnectTimeout=30",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "LogLevel=ERROR",
)
PROGRAM = """#!{python} -I
import os, sys
words = {words!r}
os.execv(words[0], [*words, *sys.argv[1:]])
"""


@contextlib.contextmanager
def prepared(
    directory: pathlib.Path,
    target: source.Endpoint,
    address: str,
    access: source.Access,
    known_hosts: pathlib.Path | None,
    ssh: str = SSH,
) -> Iterator[dict[str, str]]:
    """The variables for one git command; key and program are on disk only as long as it runs.

    git gives a command for ssh to a shell, a program it starts itself: so ours is a program. `address` is dialled, the
    host's key is looked for under the host's name.
    """
    with tempfile.TemporaryDirectory(dir=directory, prefix=PREFIX) as scratch:
        place = pathlib.Path(scratch)
        name = target.host if target.port == source.PORTS["ssh"] else f"[{target.host}]:{target.port}"
        key, known, program = place / "key", place / "known_hosts", place / "ssh"
        trusted = known_hosts.read_bytes() if known_hosts else b""  # as it is: it may hold comments in any encoding
        _write(key, (access.key if access.key.endswith("\n") else f"{access.key}\n").encode(), 0o600)
        _write(known, f"{name} {access.host_key}\n".encode() if access.host_key else trusted, 0o600)
        own = (f"IdentityFile={key}", f"UserKnownHostsFile={known}", f"HostKeyAlias={name}", f"HostName={address}")
        words = [ssh, "-F", "/dev/null", *(word for option in (*OPTIONS, *own) for word in ("-o", option))]
        _write(program, PROGRAM.format(python=sys.executable, words=words).encode(), 0o700)
        yield {"GIT_SSH": str(program), "GIT_SSH_VARIANT": "ssh"}


def _write(path: pathlib.Path, data: bytes, mode: int) -> None:
    path.touch(mode=mode, exist_ok=False)
    path.write_bytes(data)
