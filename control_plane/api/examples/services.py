"""Services, their variables, logs and routes."""

from typing import Any

from control_plane.api.examples import ids

LINE = {
    "seq": 41,
    "ts": ids.TIME,
    "stream": "stdout",
    "process": "web.1",
    "release": 2,
    "line": "listening on 3000",
    "late": False,
}

REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    "ServicePatch": {
        "limit": {"replicas": 1, "resources": {"memory": "512M"}},
        "scale": {"replicas": 2, "process_replicas": {"worker": 3}},
    },
    "RunInput": {"run": {"command": "npm run migrate", "timeout": "5m"}},
    "VariableInput": {
        "variable": {"key": "NODE_ENV", "value": "production"},
        "secret": {"key": "API_KEY", "value": "k-1f2e3d", "secret": True},
    },
    "VariablesInput": {
        "all": {"variables": [{"key": "NODE_ENV", "value": "production"}, {"key": "API_KEY", "secret": True}]}
    },
    "RouteInput": {"route": {"domain": "example.com", "service_id": ids.SERVICE, "port": 3000}},
    "RoutePatch": {"maintenance": {"maintenance": True}, "body": {"max_body": "100M"}},
}

ANSWERS: dict[str, Any] = {
    "ServiceShape": {
        "id": ids.SERVICE,
        "name": "my-app",
        "deployment_id": ids.DEPLOYMENT,
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "instance_id": ids.INSTANCE,
        "desired": "running",
        "status": "running",
        "health": "healthy",
        "live_release": 2,
        "generation": 3,
        "observed_generation": 3,
        "message": "",
        "conditions": [
            {"type": "Reachable", "status": "True", "reason": "Connected", "message": ""},
            {"type": "Synced", "status": "True", "reason": "Answered", "message": ""},
            {"type": "Ready", "status": "True", "reason": "Running", "message": ""},
            {"type": "Healthy", "status": "True", "reason": "Healthy", "message": ""},
        ],
        "reported_at": ids.LATER,
        "processes": [
            {
                "name": "web.1",
                "release": 2,
                "state": "running",
                "pid": 4711,
                "port": 20001,
                "started_at": ids.LATER,
                "uptime_s": 3600.5,
                "cpu_percent": 1.25,
                "rss_bytes": 47185920,
                "restarts": 1,
                "last_exit": "oom: more than 64 MiB of memory",
                "crash": {
                    "kind": "oom",
                    "code": 9,
                    "message": "more than 64 MiB of memory",
                    "at": ids.TIME,
                    "ran_s": 86.5,
                    "cpu_s": 3.25,
                    "max_rss_bytes": 66977792,
                    "lines": ["loading the model"],
                },
            }
        ],
        "cron": [
            {
                "name": "tidy",
                "schedule": "*/5 * * * *",
                "next_at": "2026-11-24T09:35:00.000Z",
                "last_started_at": ids.TIME,
                "last_outcome": "exited(0)",
            }
        ],
        "created_at": ids.TIME,
        "updated_at": ids.LATER,
    },
    "RunPiece": {"stream": "stdout", "data": "migrated 3 tables", "exit": None},
    "ServiceVolume": {"name": "data", "mount": "data", "variable": "DPLOYR_VOLUME_DATA"},
    "VariableShape": {"key": "NODE_ENV", "value": "production", "secret": False},
    "EnvChangeShape": {
        "at": ids.LATER,
        "actor": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "key": "NODE_ENV",
        "action": "set",
        "secret": False,
        "release": 3,
    },
    "LogPage": {"data": [LINE, {"gap": {"from": 42, "to": 57}}], "next_cursor": "57"},
    "RouteShape": {
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "tls": "off",
        "redirect_to": "",
        "force_https": False,
        "basic_auth": [],
        "headers": {"X-Frame-Options": "DENY"},
        "max_body": 26214400,
        "websocket": True,
        "maintenance": False,
        "weights": {},
        "generation": 1,
        "updated_at": ids.TIME,
        "id": ids.ROUTE,
        "certificate": None,
        "domain": "example.com",
        "path": "/",
        "service_id": ids.SERVICE,
        "port": 3000,
        "status": "active",
        "message": "",
        "created_at": ids.TIME,
    },
}
