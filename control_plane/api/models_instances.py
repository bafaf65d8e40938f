"""What clients send and get of instances, beside the instance itself."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import pydantic

from control_plane import clock
from control_plane.api import forms, rules, schemas, shapes
from control_plane.domain import grammar, values
from control_plane.domain.series import Answer, Series
from control_plane.services.instances import JOIN_TOKEN_S, InstanceChanges, JoinToken

NOT_MOVED = (
    "Nothing new is placed here. Services do not move by themselves yet: deploy them elsewhere, then delete them."
)


NO_LABEL = re.compile(r"[^A-Za-z0-9_]")


def _label_problems(labels: dict[str, str | None]) -> list[rules.Problem]:
    return grammar.label_problems("labels", {key: text for key, text in labels.items() if text is not None})


class InstancePatch(schemas.Input):
    RULES: ClassVar[rules.Rules] = {"labels": _label_problems}
    labels: Annotated[dict[str, str | None], pydantic.WithJsonSchema(forms.TEXT_CHANGES)] = schemas.optional()
    cordoned: bool = schemas.optional()

    def changes(self) -> InstanceChanges:
        return InstanceChanges(**{name: getattr(self, name) for name in self.model_fields_set})


class JoinTokenInput(schemas.Input):
    """No body is the same as an empty object."""

    expires_in: int = pydantic.Field(JOIN_TOKEN_S, ge=60, le=24 * 3600, description="Seconds")


class InstanceShape(shapes.Shape):
    """`status` is online, degraded (its heartbeats are late), offline or draining. Sizes in bytes.

    `capabilities` and `runtimes` are what its agent said of the host when it connected last.
    """

    id: str
    name: str
    status: str
    last_seen: str | None
    agent_version: str
    hostname: str
    os: str
    addresses: list[str]
    cpus: int
    memory: int
    disk: int
    capabilities: dict[str, str]
    runtimes: dict[str, str]
    labels: dict[str, str]
    cordoned: bool
    services: int
    generation: int
    created_at: str

    @classmethod
    def of(cls, instance: values.InstanceView) -> "InstanceShape":
        facts = instance.facts
        return cls(
            id=instance.id,
            name=instance.name,
            status=instance.status,
            last_seen=clock.rfc3339(instance.last_seen) if instance.last_seen else None,
            agent_version=instance.agent_version,
            hostname=facts.get("hostname", ""),
            os=facts.get("os", ""),
            addresses=facts.get("addresses", []),
            cpus=facts.get("cpus", 0),
            memory=facts.get("memory_bytes", 0),
            disk=facts.get("disk_bytes", 0),
            capabilities=facts.get("capabilities", {}),
            runtimes=facts.get("runtimes", {}),
            labels=dict(instance.labels),
            cordoned=instance.cordoned,
            services=instance.services,
            generation=instance.generation,
            created_at=clock.rfc3339(instance.created_at),
        )


class InstanceList(shapes.Shape):
    data: list[InstanceShape]
    next_cursor: str | None


class ServiceReference(shapes.Shape):
    id: str
    name: str
    deployment_id: str


class DrainShape(shapes.Shape):
    """`services` are still there; `message` says what that means."""

    instance: InstanceShape
    services: list[ServiceReference]
    message: str

    @classmethod
    def of(cls, instance: values.InstanceView, services: Sequence[values.Service]) -> "DrainShape":
        left = [ServiceReference(id=one.id, name=one.name, deployment_id=one.deployment_id) for one in services]
        message = NOT_MOVED if left else "Nothing is on it, and nothing new is placed here."
        return cls(instance=InstanceShape.of(instance), services=left, message=message)


class JoinTokenShape(shapes.Shape):
    """The token works once, until `expires_at`. `command` is to be run on the host that shall join."""

    token: str
    expires_at: str
    command: str

    @classmethod
    def of(cls, made: JoinToken) -> "JoinTokenShape":
        return cls(token=made.token, expires_at=clock.rfc3339(made.expires_at), command=made.command)


class TargetGroup(shapes.Shape):
    """One instance. `__meta_dployr_…` labels are for relabelling: its id, status, and labels of its own."""

    targets: list[str]
    labels: dict[str, str]

    @classmethod
    def of(cls, instance: values.InstanceView, address: str) -> "TargetGroup":
        """`address` is that of the control plane, as HOST:PORT."""
        own = {f"__meta_dployr_label_{NO_LABEL.sub('_', key)}": text for key, text in instance.labels}
        labels = {
            "__metrics_path__": f"/v1/instances/{instance.id}/metrics",
            "instance": instance.name,
            "__meta_dployr_instance_id": instance.id,
            "__meta_dployr_status": instance.status,
        }
        return cls(targets=[address], labels={**labels, **own})


class TargetGroups(pydantic.RootModel[list[TargetGroup]]):
    """What Prometheus takes as it is."""


class SampleShape(shapes.Shape):
    time: str | None
    families: dict[str, Any]


class SeriesShape(shapes.Shape):
    """`values` has one number for each of `times`, null where it was not measured."""

    name: str
    labels: dict[str, str]
    values: list[float | None]

    @classmethod
    def of(cls, one: Series) -> "SeriesShape":
        return cls(name=one.name, labels=dict(one.labels), values=list(one.values))


class Metrics(shapes.Shape):
    """`latest` is the newest sample; `series` are means over `step` seconds, which began at `times`."""

    instance_id: str
    latest: SampleShape
    begin: str = pydantic.Field(alias="from")
    end: str = pydantic.Field(alias="to")
    step: int
    times: list[str]
    series: list[SeriesShape]

    @classmethod
    def of(cls, sample: values.Sample, over: Answer) -> "Metrics":
        return cls.model_validate(
            {
                "instance_id": sample.instance_id,
                "latest": SampleShape(time=shapes.moment(sample.time), families=sample.families),
                "from": shapes.moment(over.window.since),
                "to": shapes.moment(over.window.until),
                "step": over.window.step_s,
                "times": [shapes.moment(time) for time in over.times],
                "series": [SeriesShape.of(one) for one in over.series],
            }
        )
