"""Instances, what they measured, and the control plane itself."""

from typing import Any

from control_plane.api.examples import ids

HOST = {
    "id": ids.INSTANCE,
    "name": "host-1",
    "status": "online",
    "last_seen": ids.LATER,
    "agent_version": "0.1.0",
    "hostname": "host-1",
    "os": "Debian GNU/Linux 12",
    "addresses": ["203.0.113.7"],
    "cpus": 2,
    "memory": 4294967296,
    "disk": 42949672960,
    "capabilities": {"isolation": "none", "limits": "none"},
    "runtimes": {"nodejs": "20.11.1,22.3.0"},
    "labels": {"disk": "ssd"},
    "cordoned": False,
    "services": 3,
    "generation": 1,
    "created_at": ids.TIME,
}

REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    "JoinTokenInput": {"quarter": {}, "hour": {"expires_in": 3600}},
    "InstancePatch": {"labels": {"labels": {"disk": "ssd", "zone": None}}, "cordon": {"cordoned": True}},
}

ANSWERS: dict[str, Any] = {
    "InstanceShape": HOST,
    "DrainShape": {
        "instance": {**HOST, "status": "draining", "cordoned": True, "services": 1},
        "services": [{"id": ids.SERVICE, "name": "my-app", "deployment_id": ids.DEPLOYMENT}],
        "message": "Nothing new is placed here. Services do not move by themselves yet: deploy them elsewhere, then "
        "delete them.",
    },
    "JoinTokenShape": {
        "token": "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8.2c26b46b68ffc68ff99b453c1d304134",
        "expires_at": ids.LATER,
        "command": "umask 077; mkdir -p /var/lib/dployr-agent && echo … > /var/lib/dployr-agent/join-token && …",
    },
    "Metrics": {
        "instance_id": ids.INSTANCE,
        "latest": {"time": ids.LATER, "families": {"load": [0.42, 0.4, 0.38]}},
        "from": ids.TIME,
        "to": ids.LATER,
        "step": 10,
        "times": [ids.TIME],
        "series": [{"name": "cpu_percent", "labels": {"mode": "user"}, "values": [12.5]}],
    },
    "DiskShape": {
        "instance_id": ids.INSTANCE,
        "time": ids.LATER,
        "space": {
            "total_bytes": 42949672960,
            "free_bytes": 21474836480,
            "total_inodes": 2621440,
            "free_inodes": 2100000,
            "reserve_bytes": 1073741824,
            "reserve_inodes": 20000,
        },
        "measured_at": ids.TIME,
        "shared": {"toolchains": {"bytes": 734003200, "entries": 21000}, "mirrors": {"bytes": 52428800, "entries": 90}},
        "services": [
            {
                "id": ids.SERVICE,
                "name": "my-app",
                "deployment_id": ids.DEPLOYMENT,
                "bytes": 471859200,
                "entries": 38012,
                "parts": {
                    "releases": {"bytes": 419430400, "entries": 38000},
                    "logs": {"bytes": 52428800, "entries": 12},
                },
            }
        ],
    },
    "TargetGroups": [
        {
            "targets": ["dployr.example.com"],
            "labels": {
                "__metrics_path__": f"/v1/instances/{ids.INSTANCE}/metrics",
                "instance": "host-1",
                "__meta_dployr_instance_id": ids.INSTANCE,
                "__meta_dployr_status": "online",
                "__meta_dployr_label_zone": "eu-1",
            },
        }
    ],
    "Version": {"name": "dployr", "version": "0.1.0"},
    "Health": {"status": "ok"},
    "Ready": {"status": "ready", "database": True, "operator": True, "hub": True, "instances_online": 1},
}
