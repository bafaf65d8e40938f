"""The steps that a plan is made of. Each carries its reason, so that a plan can be read aloud."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Target:
    """What shall serve: a release, and which copy of it (a wished restart makes a new copy)."""

    release: int
    restart: int


@dataclasses.dataclass(frozen=True, slots=True)
class Build:
    """Make the release complete on disk. Long; ends when the plan no longer asks for it."""

    release: int
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Prepare:
    """Run the release command. Long."""

    release: int
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    target: Target
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """The health gate. Long."""

    target: Target
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Switch:
    """Send the service's routes to the target, and see it answer."""

    target: Target
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Try:
    """Send the target a rising share of the requests, and watch how they end. Long."""

    target: Target
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Watch:
    """The health checks of the target, which serves. Long; goes on for as long as it does."""

    target: Target
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Drain:
    """Let running requests end, then stop the target's process. Long."""

    target: Target
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Vacate:
    """Stop the target's processes, which still get requests, so that another release can take their place. Long."""

    target: Target
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class EndRuns:
    """End what runs of the service's cron entries. Long."""

    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Unroute:
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Settle:
    """Nothing runs and nothing is routed any more: forget what was live and what failed."""

    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Prune:
    keep: frozenset[int]
    reason: str = dataclasses.field(compare=False, default="")


@dataclasses.dataclass(frozen=True, slots=True)
class Forget:
    """Carry the tombstone out: files, logs, records; then confirm."""

    reason: str = dataclasses.field(compare=False, default="")


LongAction = Build | Prepare | Check | Try | Watch | Drain | Vacate | EndRuns
Action = LongAction | Start | Switch | Unroute | Settle | Prune | Forget
LONG = (Build, Prepare, Check, Try, Watch, Drain, Vacate, EndRuns)
