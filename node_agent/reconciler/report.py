"""What the worker of a service tells the control plane. Pure."""

from node_agent.model import process, spec, status, summary
from node_agent.reconciler.plan import Facts, is_cancelled

REPORTED_RELEASES = 10


def service_report(
    wish: spec.ServiceSpec,
    facts: Facts,
    processes: tuple[process.ProcessStatus, ...],
    releases: tuple[status.ReleaseReport, ...],
    routes: tuple[status.RouteReport, ...],
    message: str,
    branch_head: str = "",
    cron: tuple[status.CronReport, ...] = (),
) -> status.ServiceReport:
    """The whole truth about one service under the generation of `wish`; `releases` newest first."""
    live = facts.live
    serving = [p for p in processes if live is None or (p.id.release, p.id.restart) == (live.release, live.restart)]
    sealed = facts.release(live.release) if live else None
    newest_failed = wish.release is not None and any(t.release == wish.release.number for t in facts.failed)
    word = summary.service_status(
        wish.run,
        live=live is not None,
        static=sealed is not None and not sealed.members,
        states=tuple(p.state for p in serving),
        failed=newest_failed,
        cancelled=is_cancelled(wish, facts),
    )
    unhealthy = [f"{p.name} is unhealthy: {p.unhealthy}" for p in facts.processes if p.target == live and p.unhealthy]
    return status.ServiceReport(
        service_id=wish.service_id,
        observed_generation=wish.generation,
        status=word,
        health=summary.service_health(word, unhealthy=bool(unhealthy)),
        live_release=live.release if live else 0,
        message=message or "; ".join(unhealthy),
        releases=releases[:REPORTED_RELEASES],
        processes=tuple(_process_report(p) for p in processes),
        routes=routes,
        removed=facts.forgotten,
        branch_head=branch_head,
        cron=cron,
    )


def _process_report(found: process.ProcessStatus) -> status.ProcessReport:
    return status.ProcessReport(
        name=found.id.name,
        release=found.id.release,
        state=found.state,
        pid=found.pid,
        port=found.port,
        started_at=found.started_at,
        restarts=found.restarts,
        last_exit=found.last_exit,
        crash=found.crash,
    )
