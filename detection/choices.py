"""What was decided, and where each value came from."""

import dataclasses
from collections.abc import Iterator

REQUEST, FILE, DETECTED, DEFAULT = "given", "file", "detected", "default"
RELEASE = "release"  # the process that is none: it runs once, before the release is started
SINGLE = ("runtime", "version", "package_manager", "install", "build", "run", "static_dir", "working_dir", "port")


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """One value; `origin` is who said so, `reason` names the file and what stands in it."""

    value: str = ""
    origin: str = DEFAULT
    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.value)


NOTHING = Choice()


def found(value: str, reason: str) -> Choice:
    return Choice(value, DETECTED, reason) if value else Choice("", DEFAULT, reason)


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """All of one source. What is not decided is empty, and its reason says what to do.

    `version` is a version, a line of them, or a range. `package_manager` is `name` or `name@version`. `build` is what
    runs after `install`. `processes` are those beside `web`. `notes` tell what was seen and not used.
    """

    runtime: Choice = NOTHING
    version: Choice = NOTHING
    package_manager: Choice = NOTHING
    install: Choice = NOTHING
    build: Choice = NOTHING
    run: Choice = NOTHING
    static_dir: Choice = NOTHING
    working_dir: Choice = NOTHING
    port: Choice = NOTHING
    processes: tuple[tuple[str, Choice], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[str, ...]:
        """What must be said before it can be deployed: what it is, and how it is started when it is more than files."""
        runs = bool(self.run) or any(name != RELEASE for name, _ in self.processes)
        needs_run = self.runtime and self.runtime.value != "static" and not runs
        return (*(() if self.runtime else ("runtime",)), *(("run",) if needs_run else ()))

    def rows(self) -> Iterator[tuple[str, Choice]]:
        """Every value with its name, those that are empty for a reason too."""
        for name in SINGLE:
            choice: Choice = getattr(self, name)
            if choice or choice.reason:
                yield name, choice
        for name, choice in self.processes:
            yield f"processes.{name}", choice
