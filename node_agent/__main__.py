"""`dployr-agent`: the unprivileged half of the host side; `dployr-agent doctor` says what the host enforces."""

import asyncio
import sys
from collections.abc import Iterator

from node_agent import config, doctor, dumps, errors, logs, wiring


def main() -> int:
    """The exit code: 0 after a wished stop, 1 when it cannot work, 2 for bad settings."""
    dumps.forbid()
    if sys.argv[1:2] == ["doctor"]:
        return doctor.main(sys.argv[2:])
    try:
        settings = config.load(sys.argv[1:])
    except config.SettingsError as error:
        sys.stderr.write(f"dployr-agent: {error}\n")
        return 2
    logs.configure()
    failed: tuple[BaseException, ...] = ()
    try:
        asyncio.run(wiring.run(settings))
    except* errors.AgentError as group:
        failed = tuple(_leaves(group))
    for problem in failed:
        sys.stderr.write(f"dployr-agent: {problem}\n")
    return 1 if failed else 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for leaf in group.exceptions:
        if isinstance(leaf, BaseExceptionGroup):
            yield from _leaves(leaf)
        else:
            yield leaf


if __name__ == "__main__":
    sys.exit(main())
