"""`dployr-control-plane audit verify`: walks the chain of the audit, beside a daemon that runs or without one."""

import argparse
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from control_plane import config, errors
from control_plane.domain import audit, values
from control_plane.store import audit_file

HEAD = re.compile(r"([0-9a-f]{64}):(0|[1-9][0-9]{0,17})")
HOLDS, BROKEN, CANNOT = 0, 1, 2


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 when the chain holds, 1 when it does not, 2 when it cannot be looked at."""
    given = _parser().parse_args(argv)
    try:
        settings = config.load(given.config, os.environ, {"data_dir": given.data_dir})
        with audit_file.opened(settings.database) as opened:
            last = opened.newest()
            walk = Walk(given.head)
            problem = audit.first_break(walk.over(opened.entries(last)), last) or walk.missing()
    except (errors.DployrError, config.ConfigError) as error:
        sys.stderr.write(f"dployr-control-plane: {error}\n")
        return CANNOT
    if problem:
        sys.stderr.write(f"dployr-control-plane: the audit does not hold: {problem}\n")
        return BROKEN
    sys.stdout.write(f"the audit holds: {walk.count} entries, head {walk.hash}:{walk.count}\n")
    return HOLDS


class Walk:
    """Remembers the head on the way, and whether the head that was known before is among the entries."""

    def __init__(self, known: tuple[str, int] | None) -> None:
        self.count, self.hash = 0, audit.GENESIS
        self._known = known
        self._found = audit.GENESIS if known is not None and known[1] == 0 else ""

    def over(self, entries: Iterable[values.AuditEntry]) -> Iterator[values.AuditEntry]:
        for entry in entries:
            self.count, self.hash = entry.sequence, entry.hash
            if self._known is not None and entry.sequence == self._known[1]:
                self._found = entry.hash
            yield entry

    def missing(self) -> str:
        """What is wrong with the end that was known before; "" when it is there."""
        if self._known is None or self._known == (self._found, self._known[1]):
            return ""
        if not self._found:
            return f"entries {self.count + 1} to {self._known[1]} are missing: the known head is not there"
        return f"entry {self._known[1]} is another one than the known head: the chain was written again"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dployr-control-plane audit verify",
        description="Walk the chain of the audit and say which entry was changed or is missing.",
    )
    parser.add_argument("verb", choices=["verify"])
    parser.add_argument("--config", type=pathlib.Path, help="YAML file with settings")
    parser.add_argument("--data-dir", help="the control plane's data directory")
    parser.add_argument(
        "--head",
        type=_head,
        metavar="HASH:SEQ",
        help="a head that an earlier run printed: that entry must still be there (only so is a cut-off end found)",
    )
    return parser


def _head(text: str) -> tuple[str, int]:
    found = HEAD.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("must be a head as an earlier run printed it, HASH:SEQ")
    return found[1], int(found[2])
