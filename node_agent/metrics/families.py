"""A sample as JSON: what charts and `latest` show. Names and units are listed in docs/reference/metrics.md. Pure."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from node_agent.metrics.reading import Host, Rates, Service


def encode(time: float, host: Host, rates: Rates, services: Mapping[str, Service], disk: Mapping[str, Any]) -> str:
    """`disk` is told as it is."""
    return json.dumps(
        {
            "time": time,
            "boot_time": host.boot_time,
            "cpus": host.cpus,
            "cpu": _rounded(rates.cpu),
            "load": [round(value, 2) for value in host.load],
            "memory": dataclasses.asdict(host.memory),
            "swap": dataclasses.asdict(host.swap),
            "disks": [dataclasses.asdict(disk) for disk in host.disks],
            "disk_io": _disk_io(host, rates),
            "disk_use": disk,
            "network": [_interface(dataclasses.asdict(each), rates) for each in host.network],
            "services": {name: _service(service) for name, service in services.items()},
        },
        allow_nan=False,
    )


def _disk_io(host: Host, rates: Rates) -> dict[str, Any] | None:
    if host.disk_io is None:
        return None
    return {
        **dataclasses.asdict(host.disk_io),
        "read_bytes_per_second": round(rates.disk_read_bytes, 1),
        "written_bytes_per_second": round(rates.disk_written_bytes, 1),
    }


def _interface(values: dict[str, Any], rates: Rates) -> dict[str, Any]:
    name = values["name"]
    return {
        **values,
        "received_bytes_per_second": round(rates.received_bytes.get(name, 0.0), 1),
        "sent_bytes_per_second": round(rates.sent_bytes.get(name, 0.0), 1),
    }


def _service(service: Service) -> dict[str, Any]:
    return {
        **dataclasses.asdict(service),
        "cpu_seconds": round(service.cpu_seconds, 2),
        "cpu_percent": round(service.cpu_percent, 2),
        "members": [
            {**dataclasses.asdict(member), "cpu_percent": round(member.cpu_percent, 2)} for member in service.members
        ],
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}
