"""`dployr-agent`: the unprivileged half of the host side."""

import asyncio
import sys

from node_agent import config, errors, wiring


def main() -> int:
    """The exit code: 0 after a wished stop, 1 when it cannot work, 2 for bad settings."""
    try:
        settings = config.load(sys.argv[1:])
    except config.SettingsError as error:
        sys.stderr.write(f"dployr-agent: {error}\n")
        return 2
    try:
        asyncio.run(wiring.run(settings))
    except* errors.AgentError as group:
        for error in group.exceptions:
            sys.stderr.write(f"dployr-agent: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
