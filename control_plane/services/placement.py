"""Which instance a declaration is for, and whether it can do what is declared. All faults are told together."""

from collections.abc import Sequence

from control_plane import errors, ports
from control_plane.domain import abilities, declaration, instance, paging, values
from control_plane.domain import deployment as rules
from control_plane.domain.deployment import DeploymentChanges, DeploymentFields, Problem
from control_plane.services.context import Context


async def choose(
    context: Context, tx: ports.Transaction, fields: DeploymentFields, found: Sequence[Problem] = ()
) -> tuple[values.Instance, values.Config, str]:
    """The best instance that can do all of it, the configuration, and why that one.

    InvalidError with the faults in `found` and those of `fields`, for the instance that comes nearest; UnavailableError
    when there is none that takes anything.
    """
    now = context.clock.now()
    wanted = instance.Place(fields.instance, tuple(sorted(fields.placement.items())))
    known = await _all_instances(tx)
    try:
        hosts = instance.candidates(known, await tx.count_services(), now, wanted)
    except errors.DployrError as error:
        able = abilities.of(known[0]) if known else abilities.Abilities()
        more = [error.details] if isinstance(error, errors.InvalidError) else []
        _refuse([*found, *_problems(context, fields, able), *more])
        raise
    nearest: list[Problem] = []
    for host in hosts:
        problems = [*found, *_problems(context, fields, abilities.of(host))]
        if not problems:
            return host, declaration.config_of(fields), instance.reason_of(host, wanted, now)
        nearest = nearest or problems
    raise rules.refused(nearest)


async def checked(
    context: Context,
    tx: ports.Transaction,
    service: values.Service,
    fields: DeploymentFields,
    changes: DeploymentChanges,
) -> values.Config:
    """The configuration of a service that stays where it is."""
    host = await tx.find_instance(service.instance_id)
    able = abilities.of(host) if host is not None else abilities.Abilities()
    problems = _problems(context, fields, able)
    if host is not None and changes.instance not in {None, host.id, host.name}:
        problems.append({"field": "instance", "issue": f"cannot be changed from {host.name}: services do not move yet"})
    if host is not None and changes.placement is not None and not set(changes.placement.items()) <= set(host.labels):
        issue = f"instance {host.name} has not these labels, and services do not move yet"
        problems.append({"field": "placement.labels", "issue": issue, "supported": dict(host.labels)})
    _refuse(problems)
    return declaration.config_of(fields)


def _problems(context: Context, fields: DeploymentFields, able: abilities.Abilities) -> list[Problem]:
    return declaration.problems(
        fields, able, allow_file=context.allow_file_remotes, allow_ssh=context.allow_ssh_remotes
    )


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise rules.refused(problems)


async def _all_instances(tx: ports.Transaction) -> list[values.Instance]:
    found: list[values.Instance] = []
    after = None
    while True:
        batch = await tx.list_instances(after, paging.MAX_LIMIT)
        found += batch
        if len(batch) < paging.MAX_LIMIT:
            return found
        after = paging.position(batch[-1].created_at, batch[-1].id)
