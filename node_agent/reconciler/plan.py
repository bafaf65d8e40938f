"""What to do next for one service: a pure decision over the wish and the facts.

It never waits and never asks; `Facts` holds everything that it may use. Short actions are carried out in order; a long
one (build, check, drain) goes on beside them for as long as every new plan still names it.
"""

import dataclasses

from node_agent import ports
from node_agent.model import actions, spec
from node_agent.model.actions import Action, Target

KEPT_RELEASES = 5


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessFact:
    """`port` is where the process was told to listen."""

    target: Target
    state: str
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What is true on this host of one service.

    `sealed` are the releases complete on disk, with the static root of those that need no process. `passed` are the
    targets whose gate was passed, `failed` those that can never go live, `served` the releases that went live once.
    `site` is what the proxy answers with.
    """

    sealed: tuple[ports.Artifact, ...] = ()
    processes: tuple[ProcessFact, ...] = ()
    passed: frozenset[Target] = frozenset()
    failed: frozenset[Target] = frozenset()
    live: Target | None = None
    site: ports.Site | None = None
    forgotten: bool = False
    served: frozenset[int] = frozenset()

    def artifact(self, release: int) -> ports.Artifact | None:
        return next((artifact for artifact in self.sealed if artifact.release == release), None)

    def process(self, target: Target) -> ProcessFact | None:
        return next((process for process in self.processes if process.target == target), None)

    def upstream(self, target: Target) -> ports.Upstream | None:
        """Where requests for `target` would go; None while there is nothing to send them to."""
        artifact = self.artifact(target.release)
        if artifact is not None and artifact.static_root is not None:
            return ports.Upstream(target.release, static_root=artifact.static_root)
        process = self.process(target)
        return ports.Upstream(target.release, port=process.port) if process else None


def is_cancelled(wish: spec.ServiceSpec, facts: Facts) -> bool:
    """Shall the wished release never go live? One that did already stays."""
    if not wish.cancelled or wish.release is None:
        return False
    number = wish.release.number
    return number not in facts.served and (facts.live is None or facts.live.release != number)


def goal_of(wish: spec.ServiceSpec, facts: Facts) -> Target | None:
    """What should serve in the end. A release that failed before, or is cancelled, leaves the live one (restarted)."""
    if wish.run is not spec.Run.RUNNING or wish.release is None:
        return None
    number = wish.release.number
    failed = any(target.release == number for target in facts.failed)
    cancelled = is_cancelled(wish, facts)
    if (failed or cancelled) and facts.live is not None and facts.live.release != number:
        return Target(facts.live.release, wish.restart)
    return None if cancelled else Target(number, wish.restart)


def plan(wish: spec.ServiceSpec, facts: Facts) -> tuple[Action, ...]:
    """The next actions, each with its reason; empty when the facts are as wished."""
    if wish.run is not spec.Run.RUNNING:
        return _take_down(wish, facts)
    goal = goal_of(wish, facts)
    if goal is None:
        return _silence(facts, "the release is cancelled, and nothing serves")
    return (*_keep_live(wish, facts), *_advance(facts, goal), *_clean(wish, facts, goal))


def _keep_live(wish: spec.ServiceSpec, facts: Facts) -> tuple[Action, ...]:
    live = facts.live
    if live is None:
        return ()
    upstream = facts.upstream(live)
    if upstream is None:
        return (actions.Start(live, "the live release does not run"),) if facts.artifact(live.release) else ()
    if facts.site != ports.Site(wish.service_id, upstream, wish.routes):
        return (actions.Switch(live, "the routes are not what is wished"),)
    return ()


def _advance(facts: Facts, goal: Target) -> tuple[Action, ...]:
    if goal == facts.live or goal in facts.failed:
        return ()
    artifact = facts.artifact(goal.release)
    if artifact is None:
        return (actions.Build(goal.release, "not built yet"),)
    if facts.upstream(goal) is None:
        return (actions.Start(goal, "not started yet"),)
    if artifact.static_root is None and goal not in facts.passed:
        return (actions.Check(goal, "not known to be healthy"),)
    return (actions.Switch(goal, "built, running and healthy"),)


def _clean(wish: spec.ServiceSpec, facts: Facts, goal: Target) -> tuple[Action, ...]:
    wanted = {facts.live} if goal in facts.failed else {facts.live, goal}
    stops = tuple(
        actions.Drain(process.target, "no longer serves") for process in facts.processes if process.target not in wanted
    )
    if stops or not (goal == facts.live or goal in facts.failed):
        return stops
    numbers = sorted((artifact.release for artifact in facts.sealed), reverse=True)
    keep = frozenset(numbers[:KEPT_RELEASES]) | {target.release for target in wanted if target is not None}
    keep |= {wish.release.build_of} if wish.release is not None and wish.release.build_of in numbers else set()
    return (actions.Prune(keep, "old releases"),) if set(numbers) - keep else ()


def _take_down(wish: spec.ServiceSpec, facts: Facts) -> tuple[Action, ...]:
    reason = f"wished {wish.run.value}"
    if steps := _silence(facts, reason):
        return steps
    if wish.run is spec.Run.REMOVED:
        return () if facts.forgotten else (actions.Forget(reason),)
    return (actions.Settle(reason),) if facts.live is not None or facts.failed else ()


def _silence(facts: Facts, reason: str) -> tuple[Action, ...]:
    """First no route, then no process."""
    if facts.site is not None:
        return (actions.Unroute(reason),)
    return tuple(actions.Drain(process.target, reason) for process in facts.processes)
