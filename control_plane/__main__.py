"""`dployr-control-plane`: stores what is wanted, serves the API, and tells the agents; or keeps its data in order.

The first words choose a command: those of COMMANDS (`run` also without any), or one of WITH_OWN_FLAGS, which has flags of
its own.
"""

import argparse
import asyncio
import os
import pathlib
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from control_plane import audit_command, config, dumps, errors, maintenance, memory, wiring

COMMANDS: dict[str, Callable[[config.Settings], Coroutine[Any, Any, None]]] = {
    "run": wiring.run,
    "keys rotate-signing": maintenance.rotate_signing,
    "keys rotate-sealing": maintenance.rotate_sealing,
}
WITH_OWN_FLAGS: dict[str, Callable[[Sequence[str]], int]] = {"audit": audit_command.main}


def main() -> int:
    """The exit code: 0 after a wished stop, 1 when it cannot work, 2 for bad settings."""
    dumps.forbid()
    memory.give_back()
    own = WITH_OWN_FLAGS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if own is not None:
        return own(sys.argv[2:])
    try:
        command, settings = parsed(sys.argv[1:])
    except config.ConfigError as error:
        sys.stderr.write(f"dployr-control-plane: {error}\n")
        return 2
    try:
        asyncio.run(COMMANDS[command](settings))
    except (errors.DployrError, config.ConfigError, OSError) as error:
        sys.stderr.write(f"dployr-control-plane: {error}\n")
        return 1
    return 0


def parsed(argv: Sequence[str]) -> tuple[str, config.Settings]:
    """The command, and the settings from the flags over environment and file.

    Raises ConfigError; exits with 2 for unknown flags.
    """
    parser = argparse.ArgumentParser(
        prog="dployr-control-plane",
        description=f"The control plane of dployr. Other commands: {', '.join(WITH_OWN_FLAGS)}.",
    )
    parser.add_argument("command", nargs="*", default=["run"], help=" | ".join(COMMANDS))
    parser.add_argument("--config", type=pathlib.Path, help="YAML file with settings")
    for name in ("--data-dir", "--proxy-url", "--admin-email", "--admin-password-file", "--join-token-file"):
        parser.add_argument(name)
    for name in ("--api", "--hub", "--enrol"):
        parser.add_argument(name, metavar="HOST:PORT")
    for name in ("--allow-file-remotes", "--allow-ssh-remotes", "--local-instance"):
        parser.add_argument(name, action="store_const", const=True)
    given: dict[str, Any] = vars(parser.parse_args(argv))
    file = given.pop("config")
    command = " ".join(given.pop("command"))
    if command not in COMMANDS:
        parser.error(f"there is no command {command!r}; there are: {', '.join(COMMANDS)}")
    for key in ("api", "hub", "enrol"):
        given |= _address(key, given.pop(key))
    return command, config.load(file, os.environ, given)


def _address(key: str, text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise config.ConfigError(f"cannot use --{key} {text!r}: write HOST:PORT")
    return {f"{key}_port": port} | ({} if key == "enrol" else {f"{key}_host": host.strip("[]")})


if __name__ == "__main__":
    sys.exit(main())
