"""What to do next for one service: a pure decision over the wish and the facts.

It never waits and never asks; `Facts` holds everything that it may use. Short actions are carried out in order; a long
one (build, check, drain) goes on beside them for as long as every new plan still names it.
"""

import dataclasses

from node_agent import ports
from node_agent.model import actions, formation, spec
from node_agent.model.actions import Action, Target

KEPT_RELEASES = 5


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessFact:
    """`port` is where the process was told to listen, `owned` whether it was seen to, and nobody else, and may have requests.

    `unhealthy` says why its health check failed, "" when it did not.
    """

    target: Target
    name: str
    state: str
    port: int
    owned: bool = True
    unhealthy: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Sealed:
    """A release complete on disk: the names of the processes it runs as, and the directory that the proxy serves of it.

    `prepared`: it has no release command, or that was run.
    """

    release: int
    members: tuple[str, ...]
    static_root: str | None = None
    prepared: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What is true on this host of one service.

    `sealed` are the releases complete on disk. `passed` are the targets whose gate was passed, `failed` those that can never
    go live, `served` the releases that went live once.
    `site` is what the proxy answers with. `trial` is the canary and its percent of the requests now, `proven` those that
    had their whole trial. `busy` are the releases in whose trees cron entries run now.
    """

    sealed: tuple[Sealed, ...] = ()
    processes: tuple[ProcessFact, ...] = ()
    passed: frozenset[Target] = frozenset()
    failed: frozenset[Target] = frozenset()
    live: Target | None = None
    site: ports.Site | None = None
    forgotten: bool = False
    served: frozenset[int] = frozenset()
    proven: frozenset[Target] = frozenset()
    trial: tuple[Target, int] | None = None
    busy: frozenset[int] = frozenset()

    def release(self, number: int) -> Sealed | None:
        return next((sealed for sealed in self.sealed if sealed.release == number), None)

    def missing(self, target: Target) -> tuple[str, ...]:
        """The processes of `target` that do not exist; none when the release is not on disk."""
        sealed = self.release(target.release)
        there = {process.name for process in self.processes if process.target == target}
        return tuple(name for name in sealed.members if name not in there) if sealed else ()

    def upstream(self, target: Target) -> ports.Upstream | None:
        """Where requests for `target` would go; None when no process of it takes any.

        A process without a port of its own gets none: somebody else may listen there.
        """
        sealed = self.release(target.release)
        if sealed is not None and sealed.static_root is not None:
            return ports.Upstream(target.release, static_root=sealed.static_root)
        there = [one for one in self.processes if one.target == target and formation.is_routed(one.name)]
        if not there and not any(map(formation.is_routed, sealed.members if sealed else ())):
            return None
        return ports.Upstream(target.release, tuple(sorted(one.port for one in there if one.owned)))

    def is_down(self, target: Target) -> bool:
        """Does it take requests, and could none of its processes have one now?"""
        found = self.upstream(target)
        return found is not None and found.static_root is None and not found.ports

    def site_of(self, wish: spec.ServiceSpec, target: Target) -> ports.Site | None:
        """What the proxy should answer with while `target` serves."""
        upstream = self.upstream(target)
        if upstream and target == self.live:
            upstream = dataclasses.replace(upstream, canary=self._canary())
        return ports.Site(wish.service_id, upstream, wish.routes) if upstream else None

    def _canary(self) -> ports.Canary | None:
        found = self.upstream(self.trial[0]) if self.trial and self.trial[0] not in self.failed else None
        return ports.Canary(found.release, found.ports, self.trial[1]) if found and found.ports and self.trial else None


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
    if facts.live is None and facts.site is not None and facts.site.upstream != facts.upstream(goal):
        # the agent was killed between the answer of the proxy and its own note of it
        return (actions.Unroute("nothing is live, and what has the requests is down"),)
    if _takes_turns(wish, facts, goal):
        return (*_take_turns(wish, facts, goal), *_clean(wish, facts, goal))
    steps = _advance(facts, goal, trial=_wants_trial(wish, facts, goal))
    if not any(isinstance(step, actions.Switch) for step in steps):  # else the live release serves no longer anyway
        steps = (*_keep_live(wish, facts), *steps)
    return (*steps, *_clean(wish, facts, goal))


def standing(wish: spec.ServiceSpec, facts: Facts, steps: tuple[Action, ...]) -> tuple[Action, ...]:
    """What goes on beside `steps` for as long as nothing ends it: what serves is watched."""
    live = facts.live
    if wish.run is not spec.Run.RUNNING or live is None or facts.missing(live) or actions.Vacate(live) in steps:
        return ()
    routed = any(one.target == live and formation.is_routed(one.name) for one in facts.processes)
    return (actions.Watch(live, "serves"),) if routed and facts.release(live.release) is not None else ()


def _wants_trial(wish: spec.ServiceSpec, facts: Facts, goal: Target) -> bool:
    """Is the goal to be a canary first? There must be a former release to compare it with, and processes on both sides.

    Whether they answer just now does not matter: a canary that crashes must not get all requests for it.
    """
    if wish.release is None or wish.release.strategy.kind != "canary" or facts.live is None or goal in facts.proven:
        return False
    both = (facts.upstream(facts.live), facts.upstream(goal))
    return goal.release != facts.live.release and all(found and found.static_root is None for found in both)


def _takes_turns(wish: spec.ServiceSpec, facts: Facts, goal: Target) -> bool:
    """Is this the moment, with the goal built and not yet live, in which nothing else may run?"""
    turns = wish.release is not None and wish.release.takes_turns
    sealed = facts.release(goal.release)
    ready = sealed is not None and sealed.prepared and goal not in facts.failed
    return turns and ready and goal != facts.live


def _take_turns(wish: spec.ServiceSpec, facts: Facts, goal: Target) -> tuple[Action, ...]:
    """The live release ends, then what failed or was overtaken (`_clean` ends it), then the goal begins.

    Requests leave each process that ends: its port is anybody's. But where the goal has them already, they stay.
    """
    live, running = facts.live, _running(facts)
    moved = facts.site is None or facts.site.upstream == facts.upstream(goal)
    steps = () if live is None or moved else _route(wish, facts, live)
    if live is not None and live in running:
        return (*steps, actions.Vacate(live, "makes room for the new release"))
    return steps if set(running) - {goal} else (*steps, *_advance(facts, goal))


def _keep_live(wish: spec.ServiceSpec, facts: Facts) -> tuple[Action, ...]:
    """First the routes: nothing may have the port of a process that is gone."""
    live = facts.live
    if live is None:
        return ()
    steps = _route(wish, facts, live)
    if not facts.missing(live):
        return steps
    if wish.release is not None and wish.release.takes_turns and set(_running(facts)) - {live}:
        return steps  # what failed in its place must end first
    return (*steps, actions.Start(live, "the live release does not run"))


def _route(wish: spec.ServiceSpec, facts: Facts, live: Target) -> tuple[Action, ...]:
    if facts.release(live.release) is None and facts.upstream(live) is None:
        return ()
    if facts.site == facts.site_of(wish, live):
        return ()
    return (actions.Switch(live, "the routes are not what is wished"),)


def _advance(facts: Facts, goal: Target, *, trial: bool = False) -> tuple[Action, ...]:
    if goal == facts.live or goal in facts.failed:
        return ()
    sealed = facts.release(goal.release)
    if sealed is None:
        return (actions.Build(goal.release, "not built yet"),)
    if not sealed.prepared:
        return (actions.Prepare(goal.release, "has a command to run before it starts"),)
    if facts.missing(goal):
        return (actions.Start(goal, "not started yet"),)
    if trial and facts.trial is not None and facts.trial[0] == goal:
        return (actions.Try(goal, "on trial"),)  # whoever watches it judges also what it does when it is down
    if sealed.members and (goal not in facts.passed or facts.is_down(goal)):
        return (actions.Check(goal, "not known to be healthy"),)
    if trial:
        return (actions.Try(goal, "healthy, and to be tried on some requests first"),)
    return (actions.Switch(goal, "built, running and healthy"),)


def _clean(wish: spec.ServiceSpec, facts: Facts, goal: Target) -> tuple[Action, ...]:
    wanted = {facts.live} if goal in facts.failed else {facts.live, goal}
    stops = tuple(actions.Drain(target, "no longer serves") for target in _running(facts) if target not in wanted)
    if stops or not (goal == facts.live or goal in facts.failed):
        return stops
    numbers = sorted((sealed.release for sealed in facts.sealed), reverse=True)
    keep = _kept(wish, facts, numbers) | facts.busy | {target.release for target in wanted if target is not None}
    return (actions.Prune(keep, "old releases"),) if set(numbers) - keep else ()


def _kept(wish: spec.ServiceSpec, facts: Facts, numbers: list[int]) -> frozenset[int]:
    """Of the sealed releases, newest first: the last ones, the one that served before, those pinned, and what the wish
    builds on.
    """
    live = facts.live.release if facts.live else 0
    served = [number for number in numbers if number in facts.served and number != live]
    base = wish.release.build_of if wish.release is not None else 0
    return frozenset({*numbers[:KEPT_RELEASES], *served[:1], *({base, *wish.pinned} & set(numbers))})


def _take_down(wish: spec.ServiceSpec, facts: Facts) -> tuple[Action, ...]:
    reason = f"wished {wish.run.value}"
    runs = (actions.EndRuns(reason),) if facts.busy else ()
    if steps := (*_silence(facts, reason), *runs):
        return steps
    if wish.run is spec.Run.REMOVED:
        return () if facts.forgotten else (actions.Forget(reason),)
    return (actions.Settle(reason),) if facts.live is not None or facts.failed else ()


def _silence(facts: Facts, reason: str) -> tuple[Action, ...]:
    """First no route, then no process."""
    if facts.site is not None:
        return (actions.Unroute(reason),)
    return tuple(actions.Drain(target, reason) for target in _running(facts))


def _running(facts: Facts) -> tuple[Target, ...]:
    """Each target that has a process, once."""
    return tuple(dict.fromkeys(process.target for process in facts.processes))
