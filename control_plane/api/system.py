"""Health, readiness, version, the contract, and the control plane's own metrics."""

import dataclasses
from importlib import metadata

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane import errors
from control_plane.api import access, answers, context, contract, models_instances, models_system, telemetry

blueprint = APIBlueprint("system", __name__, abp_tags=[{"name": "system"}])


@blueprint.get("/health", responses={200: models_system.Health})
@access.permission.public
def health() -> flask.Response:
    """200 while the process lives."""
    return answers.of(models_system.Health(status="ok"))


@blueprint.get("/ready", responses={200: models_system.Ready})
@access.permission.public
def ready() -> flask.Response:
    """200 when it can be used; else 503 with what is missing."""
    api = context.current()
    found: context.Readiness = api.call(api.services.ready())
    if not is_ready(found, api.settings):
        raise errors.UnavailableError("not ready: see details for what is missing", dataclasses.asdict(found))
    return answers.of(models_system.Ready(status="ready", **dataclasses.asdict(found)))


@blueprint.get("/v1/version", responses={200: models_system.Version})
@access.permission.public
def version() -> flask.Response:
    """Which release of dployr this is."""
    return answers.of(models_system.Version(name="dployr", version=product_version()))


@blueprint.get("/v1/openapi.json", responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}})
@access.permission.public
def openapi() -> flask.Response:
    """This contract."""
    return flask.jsonify(contract.of_current_app())


@blueprint.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
@access.permission.public
def metrics() -> flask.Response:
    """The control plane's own metrics for Prometheus: counts and times, no names."""
    api = context.current()
    found: context.Readiness = api.call(api.services.ready())
    return answers.text(telemetry.exposition(found.instances_online))


@blueprint.get("/v1/prometheus/targets", responses={200: models_instances.TargetGroups})
@access.permission("instance:metrics")
def targets() -> flask.Response:
    """Every instance as a target, in the form of Prometheus' HTTP service discovery.

    All are scraped through this control plane, at the address by which it was asked, so it works behind NAT too. Scrape
    them with the same credentials; the scheme is that of the scrape configuration.
    """
    api = context.current()
    known = api.call(api.services.instances.measured(context.principal()))
    groups = [models_instances.TargetGroup.of(one, flask.request.host) for one in known]
    return answers.of(models_instances.TargetGroups(groups))


def is_ready(found: context.Readiness, settings: context.HttpSettings) -> bool:
    has_instance = found.instances_online > 0 or not settings.local_instance
    return found.database and found.operator and found.hub and has_instance


def product_version() -> str:
    try:
        return metadata.version("dployr")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
