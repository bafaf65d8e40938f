"""The planner: what comes next for a service, as two values and an equality, and as properties over all of them."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent import ports
from node_agent.model import actions, spec
from node_agent.model.actions import Target
from node_agent.reconciler.plan import KEPT_RELEASES, Facts, ProcessFact, Sealed, plan, standing

SERVICE = "svc_01HZZZZZZZZZZZZZZZZZZZZZZZ"
ROUTES = (spec.RouteSpec("rte_01HZZZZZZZZZZZZZZZZZZZZZZZ", "app.test"),)


def a_release(number: int = 1, runtime: spec.Runtime = spec.Runtime.NODEJS) -> spec.ReleaseSpec:
    return spec.ReleaseSpec(
        number, "https://git.test/x", "main", "", runtime, "20", "", "npm start", "", "", 3000, (), spec.HealthCheck()
    )


def a_wish(release: int = 1, run: spec.Run = spec.Run.RUNNING, restart: int = 0, routes=ROUTES) -> spec.ServiceSpec:
    return spec.ServiceSpec(SERVICE, 7, "app", run, restart, a_release(release), routes)


def a_sealed(release: int = 1, static_root: str | None = None, members=("web.1",)) -> Sealed:
    return Sealed(release, () if static_root else members, static_root)


def a_site(release: int, port: int, routes=ROUTES) -> ports.Site:
    return ports.Site(SERVICE, ports.Upstream(release, (port,)), routes)


def serving(release: int = 1, port: int = 20001) -> Facts:
    target = Target(release, 0)
    return Facts(
        sealed=(a_sealed(release),),
        processes=(ProcessFact(target, "web.1", "running", port),),
        passed=frozenset({target}),
        live=target,
        site=a_site(release, port),
    )


def test_a_new_release_is_built_first() -> None:
    assert plan(a_wish(), Facts()) == (actions.Build(1),)


def test_a_built_release_is_started_then_checked_then_switched_to() -> None:
    target = Target(1, 0)
    facts = Facts(sealed=(a_sealed(),))
    assert plan(a_wish(), facts) == (actions.Start(target),)
    facts = dataclasses.replace(facts, processes=(ProcessFact(target, "web.1", "running", 20001),))
    assert plan(a_wish(), facts) == (actions.Check(target),)
    facts = dataclasses.replace(facts, passed=frozenset({target}))
    assert plan(a_wish(), facts) == (actions.Switch(target),)


def test_a_static_release_needs_no_process() -> None:
    assert plan(a_wish(), Facts(sealed=(a_sealed(static_root="public"),))) == (actions.Switch(Target(1, 0)),)


def test_nothing_is_planned_when_all_is_as_wished() -> None:
    assert plan(a_wish(), serving()) == ()


def test_the_old_release_serves_until_the_new_one_passed_its_gate() -> None:
    new = Target(2, 0)
    facts = serving()
    facts = dataclasses.replace(
        facts,
        sealed=(*facts.sealed, a_sealed(2)),
        processes=(*facts.processes, ProcessFact(new, "web.1", "running", 20002)),
    )
    assert plan(a_wish(2), facts) == (actions.Check(new),)


def test_after_the_switch_the_old_release_drains() -> None:
    facts = serving(2, 20002)
    facts = dataclasses.replace(
        facts, processes=(*facts.processes, ProcessFact(Target(1, 0), "web.1", "running", 20001))
    )
    assert plan(a_wish(2), facts) == (actions.Drain(Target(1, 0)),)


def test_a_failed_release_is_stopped_and_the_live_one_untouched() -> None:
    bad = Target(2, 0)
    facts = serving()
    facts = dataclasses.replace(
        facts, processes=(*facts.processes, ProcessFact(bad, "web.1", "running", 20002)), failed=frozenset({bad})
    )
    assert plan(a_wish(2), facts) == (actions.Drain(bad),)


def test_a_restart_after_a_failed_release_restarts_the_live_one() -> None:
    facts = dataclasses.replace(serving(), failed=frozenset({Target(2, 0)}))
    assert plan(a_wish(2, restart=1), facts) == (actions.Start(Target(1, 1)),)


def test_a_changed_route_is_applied_while_a_build_goes_on() -> None:
    facts = dataclasses.replace(serving(), site=a_site(1, 20001, ()))
    assert plan(a_wish(2), facts) == (actions.Switch(Target(1, 0)), actions.Build(2))


def test_a_live_release_that_does_not_run_loses_its_requests_and_is_started_again() -> None:
    facts = dataclasses.replace(serving(), processes=())
    assert facts.site_of(a_wish(), Target(1, 0)).upstream == ports.Upstream(1)
    assert plan(a_wish(), facts) == (actions.Switch(Target(1, 0)), actions.Start(Target(1, 0)))
    facts = dataclasses.replace(facts, site=facts.site_of(a_wish(), Target(1, 0)))
    assert plan(a_wish(), facts) == (actions.Start(Target(1, 0)),)


def test_what_ended_after_its_gate_has_to_pass_it_again_before_it_gets_requests() -> None:
    new = Target(2, 0)
    facts = dataclasses.replace(serving(), sealed=(a_sealed(1), a_sealed(2)), passed=frozenset({Target(1, 0), new}))
    down = ProcessFact(new, "web.1", "backoff", 20002, owned=False)
    facts = dataclasses.replace(facts, processes=(*facts.processes, down))
    assert plan(a_wish(2), facts) == (actions.Check(new),)


def test_a_first_release_keeps_requests_that_a_killed_agent_gave_it_while_it_owns_its_port() -> None:
    facts = dataclasses.replace(serving(), live=None, passed=frozenset())
    assert plan(a_wish(), facts) == (actions.Check(Target(1, 0)),)
    down = ProcessFact(Target(1, 0), "web.1", "backoff", 20001, owned=False)
    assert plan(a_wish(), dataclasses.replace(facts, processes=(down,))) == (actions.Unroute(),)
    failed = dataclasses.replace(facts, processes=(), failed=frozenset({Target(1, 0)}))
    assert plan(a_wish(), failed) == (actions.Unroute(),)


def test_what_is_to_be_switched_from_is_not_routed_anew_before() -> None:
    new = Target(2, 0)
    facts = dataclasses.replace(serving(), sealed=(a_sealed(1), a_sealed(2)), passed=frozenset({Target(1, 0), new}))
    facts = dataclasses.replace(
        facts, processes=(*facts.processes, ProcessFact(new, "web.1", "running", 20002)), site=a_site(1, 20001, ())
    )
    assert plan(a_wish(2), facts) == (actions.Switch(new),)


def test_what_serves_is_watched_whatever_else_goes_on() -> None:
    watch = (actions.Watch(Target(1, 0)),)
    assert standing(a_wish(), serving(), ()) == watch
    assert standing(a_wish(2), serving(), plan(a_wish(2), serving())) == watch


def test_nothing_is_watched_that_does_not_serve_or_is_about_to_end() -> None:
    facts = serving()
    assert standing(a_wish(run=spec.Run.STOPPED), facts, ()) == ()
    assert standing(a_wish(), Facts(), ()) == ()
    assert standing(a_wish(), dataclasses.replace(facts, processes=()), ()) == ()
    assert standing(a_wish(), facts, (actions.Vacate(Target(1, 0)),)) == ()
    static = Facts(sealed=(a_sealed(static_root="public"),), live=Target(1, 0))
    assert standing(a_wish(), static, ()) == ()
    worker = dataclasses.replace(
        facts,
        sealed=(a_sealed(members=("mail.1",)),),
        processes=(ProcessFact(Target(1, 0), "mail.1", "running", 20001),),
    )
    assert standing(a_wish(), worker, ()) == ()


def test_old_releases_are_pruned_but_never_the_live_one() -> None:
    sealed = tuple(a_sealed(number) for number in range(1, 10))
    facts = dataclasses.replace(serving(), sealed=sealed)
    (prune,) = plan(a_wish(), facts)
    assert isinstance(prune, actions.Prune)
    assert prune.keep == {1, *range(10 - KEPT_RELEASES, 10)}


def test_the_release_that_served_before_is_kept_however_many_failed_since() -> None:
    sealed = tuple(a_sealed(number) for number in range(1, 12))
    facts = dataclasses.replace(serving(3), sealed=sealed, served=frozenset({1, 2, 3}))
    (prune,) = plan(a_wish(3), facts)
    assert isinstance(prune, actions.Prune)
    assert prune.keep == {2, 3, *range(12 - KEPT_RELEASES, 12)}


def test_the_build_that_the_wished_release_uses_again_is_never_pruned() -> None:
    sealed = tuple(a_sealed(number) for number in range(1, 10))
    wish = a_wish(9)
    wish = dataclasses.replace(wish, release=dataclasses.replace(wish.release, build_of=2))
    (prune,) = plan(wish, dataclasses.replace(serving(9, 20009), sealed=sealed))
    assert prune.keep == {2, *range(10 - KEPT_RELEASES, 10)}


def test_pinned_releases_are_never_pruned() -> None:
    sealed = tuple(a_sealed(number) for number in range(1, 10))
    wish = dataclasses.replace(a_wish(9), pinned=(2, 77))
    (prune,) = plan(wish, dataclasses.replace(serving(9, 20009), sealed=sealed))
    assert prune.keep == {2, *range(10 - KEPT_RELEASES, 10)}


def cancelled(wish: spec.ServiceSpec) -> spec.ServiceSpec:
    return dataclasses.replace(wish, cancelled=True)


def test_a_cancelled_release_is_stopped_and_the_live_one_untouched() -> None:
    new = Target(2, 0)
    facts = dataclasses.replace(serving(), sealed=(a_sealed(1), a_sealed(2)))
    assert plan(cancelled(a_wish(2)), facts) == ()
    facts = dataclasses.replace(facts, processes=(*facts.processes, ProcessFact(new, "web.1", "running", 20002)))
    assert plan(cancelled(a_wish(2)), facts) == (actions.Drain(new),)


def test_a_cancelled_release_with_nothing_live_leaves_nothing() -> None:
    facts = Facts(sealed=(a_sealed(),), processes=(ProcessFact(Target(1, 0), "web.1", "running", 20001),))
    assert plan(cancelled(a_wish()), facts) == (actions.Drain(Target(1, 0)),)
    assert plan(cancelled(a_wish()), Facts()) == ()


def test_cancelling_what_went_live_changes_nothing() -> None:
    assert plan(cancelled(a_wish()), serving()) == ()
    stopped_meanwhile = Facts(sealed=(a_sealed(),), served=frozenset({1}))
    assert plan(cancelled(a_wish()), stopped_meanwhile) == (actions.Start(Target(1, 0)),)


@pytest.mark.parametrize("run", [spec.Run.STOPPED, spec.Run.REMOVED])
def test_taking_down_goes_from_routes_to_processes(run: spec.Run) -> None:
    facts = serving()
    assert plan(a_wish(run=run), facts) == (actions.Unroute(),)
    facts = dataclasses.replace(facts, site=None)
    assert plan(a_wish(run=run), facts) == (actions.Drain(Target(1, 0)),)


def test_a_tombstone_ends_with_everything_forgotten() -> None:
    wish = a_wish(run=spec.Run.REMOVED)
    assert plan(wish, Facts()) == (actions.Forget(),)
    assert plan(wish, Facts(forgotten=True)) == ()


def test_every_action_says_why() -> None:
    for action in plan(a_wish(2), dataclasses.replace(serving(), site=None)):
        assert action.reason


CANARY = spec.Strategy("canary", 10, (50,), 1.0)
WAYS = tuple(
    dataclasses.replace(a_release(number), **changes)
    for number in (1, 2, 3)
    for changes in ({}, {"strategy": spec.Strategy("recreate")}, {"port_mode": "fixed"}, {"strategy": CANARY})
)
MEMBERS = ("web.1", "web.2", "worker.1")
targets = st.builds(Target, st.integers(1, 3), st.integers(0, 1))
formations = st.lists(st.sampled_from(MEMBERS), unique=True).map(lambda names: tuple(sorted(names)))
sealed_releases = st.lists(
    st.builds(Sealed, st.integers(1, 3), formations, st.sampled_from((None, None, "public")), st.booleans()),
    unique_by=lambda one: one.release,
)


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    running = draw(st.lists(st.tuples(targets, st.sampled_from(MEMBERS)), unique=True, max_size=6))
    live = draw(st.none() | targets)
    routed = draw(st.none() | st.integers(1, 3))
    return Facts(
        sealed=tuple(draw(sealed_releases)),
        processes=tuple(
            ProcessFact(target, name, "running", 20000 + i, owned=draw(st.booleans()))
            for i, (target, name) in enumerate(running)
        ),
        passed=frozenset(draw(st.lists(targets))),
        failed=frozenset(draw(st.lists(targets, max_size=2))) - {live},
        live=live,
        site=a_site(routed, 20000) if routed else None,
        served=frozenset(draw(st.lists(st.integers(1, 3)))) | ({live.release} if live else set()),
    )


@given(any_facts(), st.sampled_from([spec.Run.STOPPED, spec.Run.REMOVED]), st.integers(1, 3))
def test_what_shall_not_run_gets_no_start_and_no_route(facts: Facts, run: spec.Run, release: int) -> None:
    for action in plan(a_wish(release, run), facts):
        assert not isinstance(action, actions.Build | actions.Start | actions.Check | actions.Switch)


@given(any_facts(), st.integers(1, 3), st.integers(0, 1))
def test_the_live_release_is_never_drained_while_it_shall_run(facts: Facts, release: int, restart: int) -> None:
    drained = {a.target for a in plan(a_wish(release, restart=restart), facts) if isinstance(a, actions.Drain)}
    assert facts.live not in drained


@given(any_facts(), st.integers(1, 3), st.integers(0, 1))
def test_no_process_is_started_twice(facts: Facts, release: int, restart: int) -> None:
    for action in plan(a_wish(release, restart=restart), facts):
        if isinstance(action, actions.Start):
            assert facts.missing(action.target)


@given(any_facts(), st.sampled_from(WAYS), st.integers(0, 1))
def test_nothing_new_starts_before_its_release_command_was_run(
    facts: Facts, way: spec.ReleaseSpec, restart: int
) -> None:
    wish = dataclasses.replace(a_wish(way.number, restart=restart), release=way)
    for action in plan(wish, facts):
        if isinstance(action, actions.Start | actions.Switch | actions.Vacate) and action.target != facts.live:
            sealed = facts.release(action.target.release)
            assert sealed is not None and sealed.prepared
        if isinstance(action, actions.Vacate):
            goal = facts.release(way.number)
            assert goal is None or goal.prepared or any(target.release == way.number for target in facts.failed)


@given(any_facts(), st.integers(1, 3), st.integers(0, 1))
def test_traffic_never_moves_to_a_release_that_did_not_pass(facts: Facts, release: int, restart: int) -> None:
    for action in plan(a_wish(release, restart=restart), facts):
        if isinstance(action, actions.Switch):
            sealed = facts.release(action.target.release)
            unguarded = sealed is not None and not sealed.members
            healthy = action.target in facts.passed and not facts.is_down(action.target)
            assert action.target == facts.live or healthy or unguarded


def apply(wish: spec.ServiceSpec, facts: Facts, action: actions.Action) -> Facts:
    """A host on which every step succeeds."""
    match action:
        case actions.Build(release):
            return dataclasses.replace(
                facts, sealed=(*facts.sealed, dataclasses.replace(a_sealed(release), prepared=False))
            )
        case actions.Prepare(release):
            sealed = (dataclasses.replace(one, prepared=one.prepared or one.release == release) for one in facts.sealed)
            return dataclasses.replace(facts, sealed=tuple(sealed))
        case actions.Start(target):
            first = 20000 + 100 * target.release + 10 * target.restart
            new = (ProcessFact(target, name, "running", first + i) for i, name in enumerate(facts.missing(target)))
            return dataclasses.replace(facts, processes=(*facts.processes, *new))
        case actions.Check(target):
            seen = (dataclasses.replace(one, owned=one.owned or one.target == target) for one in facts.processes)
            return dataclasses.replace(facts, passed=facts.passed | {target}, processes=tuple(seen))
        case actions.Switch(target):
            return dataclasses.replace(facts, live=target, site=facts.site_of(wish, target))
        case actions.Try(target):
            return dataclasses.replace(facts, proven=facts.proven | {target})
        case actions.Drain(target) | actions.Vacate(target):
            return dataclasses.replace(facts, processes=tuple(p for p in facts.processes if p.target != target))
        case actions.Unroute():
            return dataclasses.replace(facts, site=None)
        case actions.Settle():
            return dataclasses.replace(facts, live=None, failed=frozenset())
        case actions.Prune(keep):
            return dataclasses.replace(facts, sealed=tuple(a for a in facts.sealed if a.release in keep))
        case actions.Forget():
            return Facts(forgotten=True)


@given(any_facts(), st.integers(1, 3), st.integers(0, 1))
def test_a_cancelled_release_is_never_built_started_or_switched_to(facts: Facts, release: int, restart: int) -> None:
    wish = cancelled(a_wish(release, restart=restart))
    if release in facts.served:
        return
    for action in plan(wish, facts):
        assert action != actions.Build(release)
        if isinstance(action, actions.Start | actions.Check | actions.Switch):
            assert action.target.release != release


@given(any_facts(), st.sampled_from(WAYS), st.integers(0, 1), st.sampled_from(list(spec.Run)), st.booleans())
def test_applying_plans_reaches_a_state_with_nothing_left_to_do(
    facts: Facts, way: spec.ReleaseSpec, restart: int, run: spec.Run, cancel: bool
) -> None:
    wish = dataclasses.replace(a_wish(way.number, run, restart), release=way, cancelled=cancel)
    for _ in range(40):
        steps = plan(wish, facts)
        if not steps:
            break
        facts = apply(wish, facts, steps[0])
    else:
        raise AssertionError(f"no end: {steps} {facts}")
    if run is not spec.Run.RUNNING:
        assert facts.processes == ()
        assert facts.site is None


def taking_turns(release: int = 2) -> spec.ServiceSpec:
    wish = a_wish(release)
    return dataclasses.replace(wish, release=dataclasses.replace(wish.release, strategy=spec.Strategy("recreate")))


def test_with_recreate_the_former_release_ends_when_the_new_one_is_built_and_before_it_starts() -> None:
    assert plan(taking_turns(), serving()) == (actions.Build(2),)
    facts = dataclasses.replace(serving(), sealed=(a_sealed(1), a_sealed(2)))
    assert plan(taking_turns(), facts) == (actions.Vacate(Target(1, 0)),)
    facts = dataclasses.replace(facts, processes=())
    assert plan(taking_turns(), facts) == (actions.Switch(Target(1, 0)), actions.Start(Target(2, 0)))
    facts = dataclasses.replace(facts, site=facts.site_of(taking_turns(), Target(1, 0)))
    assert plan(taking_turns(), facts) == (actions.Start(Target(2, 0)),)


def test_a_release_command_runs_before_the_start_and_before_the_former_release_makes_room() -> None:
    unprepared = dataclasses.replace(a_sealed(2), prepared=False)
    facts = dataclasses.replace(serving(), sealed=(a_sealed(1), unprepared))
    assert plan(a_wish(2), facts) == (actions.Prepare(2),)
    assert plan(taking_turns(2), facts) == (actions.Prepare(2),)


@given(any_facts(), st.integers(1, 3))
def test_by_turns_nothing_is_started_beside_another(facts: Facts, release: int) -> None:
    """From whatever a daemon finds that was killed in the middle."""
    for action in plan(taking_turns(release), facts):
        if isinstance(action, actions.Start):
            assert {process.target for process in facts.processes} <= {action.target}


def test_by_turns_a_release_waits_for_the_end_of_the_one_that_it_overtook() -> None:
    overtaken = Target(2, 0)
    facts = dataclasses.replace(
        serving(),
        sealed=tuple(map(a_sealed, (1, 2, 3))),
        processes=(ProcessFact(overtaken, "web.1", "running", 20002),),
        site=ports.Site(SERVICE, ports.Upstream(1), ROUTES),
    )
    assert plan(taking_turns(3), facts) == (actions.Drain(overtaken),)
    assert plan(taking_turns(3), dataclasses.replace(facts, live=None, site=None)) == (actions.Drain(overtaken),)


def test_by_turns_requests_stay_where_the_goal_has_them_already() -> None:
    """The agent was killed after the proxy answered and before the journal knew."""
    new = Target(2, 0)
    facts = dataclasses.replace(
        serving(),
        sealed=(a_sealed(1), a_sealed(2)),
        processes=(ProcessFact(new, "web.1", "running", 20002),),
        site=a_site(2, 20002),
    )
    assert plan(taking_turns(), facts) == (actions.Check(new),)


def test_with_recreate_the_former_release_comes_back_when_the_new_one_fails() -> None:
    bad = Target(2, 0)
    process = ProcessFact(bad, "web.1", "running", 20002)
    facts = dataclasses.replace(
        serving(), sealed=(a_sealed(1), a_sealed(2)), processes=(process,), failed=frozenset({bad})
    )
    assert plan(taking_turns(), facts) == (actions.Switch(Target(1, 0)), actions.Drain(bad))
    facts = dataclasses.replace(facts, site=facts.site_of(taking_turns(), Target(1, 0)))
    assert plan(taking_turns(), facts) == (actions.Drain(bad),)
    assert plan(taking_turns(), dataclasses.replace(facts, processes=())) == (actions.Start(Target(1, 0)),)


def tried(release: int = 2) -> spec.ServiceSpec:
    wish = a_wish(release)
    return dataclasses.replace(wish, release=dataclasses.replace(wish.release, strategy=CANARY))


def test_a_canary_gets_its_share_of_the_requests_then_all_of_them() -> None:
    new = Target(2, 0)
    facts = dataclasses.replace(serving(), sealed=(a_sealed(1), a_sealed(2)), passed=frozenset({Target(1, 0), new}))
    facts = dataclasses.replace(facts, processes=(*facts.processes, ProcessFact(new, "web.1", "running", 20002)))
    assert plan(tried(), facts) == (actions.Try(new),)
    facts = dataclasses.replace(facts, trial=(new, 10))
    assert plan(tried(), facts) == (actions.Switch(Target(1, 0)), actions.Try(new))
    site = facts.site_of(tried(), Target(1, 0))
    assert site.upstream == ports.Upstream(1, (20001,), canary=ports.Canary(2, (20002,), 10))
    facts = dataclasses.replace(facts, site=site)
    assert plan(tried(), facts) == (actions.Try(new),)
    facts = dataclasses.replace(facts, trial=None, proven=frozenset({new}), site=a_site(1, 20001))
    assert plan(tried(), facts) == (actions.Switch(new),)


def test_a_canary_that_failed_gets_no_request_more_and_then_ends() -> None:
    bad = Target(2, 0)
    processes = (*serving().processes, ProcessFact(bad, "web.1", "running", 20002))
    upstream = ports.Upstream(1, (20001,), canary=ports.Canary(2, (20002,), 10))
    facts = dataclasses.replace(
        serving(),
        sealed=(a_sealed(1), a_sealed(2)),
        processes=processes,
        failed=frozenset({bad}),
        site=ports.Site(SERVICE, upstream, ROUTES),
    )
    assert plan(tried(), facts) == (actions.Switch(Target(1, 0)), actions.Drain(bad))


def on_trial(*, former_owned: bool = True, new_owned: bool = True) -> Facts:
    new = Target(2, 0)
    upstream = ports.Upstream(1, (20001,), canary=ports.Canary(2, (20002,), 10))
    return dataclasses.replace(
        serving(),
        sealed=(a_sealed(1), a_sealed(2)),
        processes=(
            ProcessFact(Target(1, 0), "web.1", "running", 20001, owned=former_owned),
            ProcessFact(new, "web.1", "running", 20002, owned=new_owned),
        ),
        passed=frozenset({Target(1, 0), new}),
        site=ports.Site(SERVICE, upstream, ROUTES),
        trial=(new, 10),
    )


def test_a_canary_that_crashes_loses_its_requests_and_stays_on_trial() -> None:
    facts = on_trial(new_owned=False)
    assert plan(tried(), facts) == (actions.Switch(Target(1, 0)), actions.Try(Target(2, 0)))
    assert facts.site_of(tried(), Target(1, 0)).upstream == ports.Upstream(1, (20001,))


def test_a_former_release_that_is_down_for_a_moment_does_not_end_the_trial() -> None:
    facts = on_trial(former_owned=False)
    assert plan(tried(), facts) == (actions.Switch(Target(1, 0)), actions.Try(Target(2, 0)))
    upstream = ports.Upstream(1, (), canary=ports.Canary(2, (20002,), 10))
    assert facts.site_of(tried(), Target(1, 0)).upstream == upstream


def test_a_first_release_and_one_of_files_are_no_canaries() -> None:
    new = Target(1, 0)
    first = Facts(sealed=(a_sealed(1),), processes=(ProcessFact(new, "web.1", "running", 1),), passed=frozenset({new}))
    assert plan(tried(1), first) == (actions.Switch(new),)
    files = dataclasses.replace(serving(), sealed=(a_sealed(1), a_sealed(2, "public")))
    assert plan(tried(), files) == (actions.Switch(Target(2, 0)),)


def test_a_process_that_is_missing_beside_others_is_started_again() -> None:
    facts = dataclasses.replace(serving(), sealed=(a_sealed(1, members=("web.1", "web.2")),))
    assert plan(a_wish(), facts) == (actions.Start(Target(1, 0)),)
    both = (*facts.processes, ProcessFact(Target(1, 0), "web.2", "running", 20005))
    facts = dataclasses.replace(facts, processes=both)
    assert plan(a_wish(), facts) == (actions.Switch(Target(1, 0)),)
    assert facts.upstream(Target(1, 0)) == ports.Upstream(1, (20001, 20005))


def test_a_release_without_web_is_live_and_routed_nowhere() -> None:
    target = Target(1, 0)
    worker = ProcessFact(target, "worker.1", "running", 20001)
    facts = Facts(sealed=(a_sealed(members=("worker.1",)),), processes=(worker,), passed=frozenset({target}))
    assert plan(a_wish(), facts) == (actions.Switch(target),)
    assert facts.site_of(a_wish(), target) is None
    assert plan(a_wish(), dataclasses.replace(facts, live=target)) == ()


def test_all_processes_of_a_former_release_drain_together() -> None:
    facts = serving(2, 20002)
    former = (ProcessFact(Target(1, 0), name, "running", 20001) for name in ("web.1", "web.2", "worker.1"))
    facts = dataclasses.replace(facts, processes=(*facts.processes, *former))
    assert plan(a_wish(2), facts) == (actions.Drain(Target(1, 0)),)
