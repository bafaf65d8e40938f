"""The frozen values that everything else passes around. The words are those of the vocabulary in docs/explanation.

Callers import `values` and say `values.Release`; the parts are its own business.
"""

from control_plane.domain.values.declared import Config, CronEntry, HealthCheck, Resources, Run, Strategy, Variable
from control_plane.domain.values.deployments import Decided, Deployment, DeploymentView, Release
from control_plane.domain.values.history import (
    AuditEntry,
    AuditQuery,
    EnvChange,
    Event,
    EventQuery,
    StoredAnswer,
    Webhook,
)
from control_plane.domain.values.instances import Instance, InstanceView, Sample
from control_plane.domain.values.outputs import LogLine, LogQuery, RunOutput, RunQuery, VolumeQuery
from control_plane.domain.values.people import Family, Member, Principal, Project, Token, User
from control_plane.domain.values.plain import Page, Time
from control_plane.domain.values.reports import Desired, ReleaseReport, RouteReport, ServiceReport
from control_plane.domain.values.routes import Route, RouteOptions
from control_plane.domain.values.services import Condition, Crash, Cron, Observed, Process, Service, ServiceView, Usage

__all__ = [
    "AuditEntry",
    "AuditQuery",
    "Condition",
    "Config",
    "Crash",
    "Cron",
    "CronEntry",
    "Decided",
    "Deployment",
    "DeploymentView",
    "Desired",
    "EnvChange",
    "Event",
    "EventQuery",
    "Family",
    "HealthCheck",
    "Instance",
    "InstanceView",
    "LogLine",
    "LogQuery",
    "Member",
    "Observed",
    "Page",
    "Principal",
    "Process",
    "Project",
    "Release",
    "ReleaseReport",
    "Resources",
    "Route",
    "RouteOptions",
    "RouteReport",
    "Run",
    "RunOutput",
    "RunQuery",
    "Sample",
    "Service",
    "ServiceReport",
    "ServiceView",
    "StoredAnswer",
    "Strategy",
    "Time",
    "Token",
    "Usage",
    "User",
    "Variable",
    "VolumeQuery",
    "Webhook",
]
