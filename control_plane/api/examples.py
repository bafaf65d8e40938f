"""Examples of every body that goes in or out, by the name of its schema, and of every id in a path.

The contract shows them, the reference is made with them, and a test holds them against their schemas. The example of a
list is made of the example of its objects.
"""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

JSON = "application/json"
COMPONENT = "#/components/schemas/"
TIME = "2026-11-24T09:30:00.000Z"
LATER = "2026-11-24T09:30:12.500Z"
DEPLOYMENT = "dep_01JD4Y2M6T3Q8W5R7X9ZABCDEF"
SERVICE = "svc_01JD4Y2M6T3Q8W5R7X9ZABCDEF"
INSTANCE = "ins_01JD4Y2M6T3Q8W5R7X9ZABCDEF"
ROUTE = "rte_01JD4Y2M6T3Q8W5R7X9ZABCDEF"

# What stands in a path behind the segment of that name.
PATH: dict[str, Any] = {
    "deployments": "my-app",
    "releases": 2,
    "diff": 3,
    "services": "my-app",
    "env": "NODE_ENV",
    "instances": "host-1",
    "routes": ROUTE,
    "projects": "my-project",
    "members": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "users": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "tokens": "tok_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "webhooks": "whk_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "hooks": DEPLOYMENT,
    "{deployment}": "8f14e45fceea167a5a36dedd4bea2543",
    "deliveries": "dlv_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
}

FLAT = {
    "name": "my-app",
    "source": "remote",
    "runtime": "nodejs",
    "version": "20",
    "remote": "https://github.com/user/repo",
    "branch": "main",
    "build_cmd": "npm install",
    "run_cmd": "npm start",
    "port": 3000,
}
BLUEPRINT = {
    "name": "my-app",
    "runtime": {"type": "nodejs", "version": "20"},
    "remote": {"url": "https://github.com/user/repo", "branch": "main"},
    "run_cmd": "npm start",
    "port": 3000,
    "env_vars": {"NODE_ENV": "production"},
    "health_check": {"path": "/health", "interval": "5s"},
}
CREDENTIALS = {"email": "ada@example.com", "password": "correct horse battery"}

# Requests: schema → name → body.
REQUESTS: dict[str, dict[str, Json]] = {
    "LoginInput": {"login": CREDENTIALS},
    "RefreshInput": {"refresh": {"refresh_token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"}},
    "PasswordInput": {"change": {"current": "a short horse battery", "new": "a longer horse battery"}},
    "SetupInput": {"first": {"token": "3f9a0c5d" * 8, **CREDENTIALS}},
    "UserInput": {"user": {**CREDENTIALS, "operator": False}},
    "UserUpdate": {"disable": {"disabled": True}, "password": {"password": "a longer horse battery"}},
    "TokenInput": {"ci": {"name": "ci", "scopes": ["deployment:write"], "project": "default", "expires_in": 7776000}},
    "DeploymentCreate": {"flat": FLAT, "blueprint": BLUEPRINT},
    "JoinTokenInput": {"quarter": {}, "hour": {"expires_in": 3600}},
    "RedeployInput": {"head": {}, "commit": {"commit": "9fceb02d0ae598e95dc970b74767f19372d61af8"}},
    "RollbackInput": {"previous": {}, "chosen": {"release": 2}},
    "ServicePatch": {"limit": {"replicas": 1, "resources": {"memory": "512M"}}},
    "RunInput": {"run": {"command": "npm run migrate", "timeout": "5m"}},
    "InstancePatch": {"labels": {"labels": {"disk": "ssd", "zone": None}}, "cordon": {"cordoned": True}},
    "DeploymentUpdate": {"merge": {"version": "22", "env": {"NODE_ENV": "production", "OLD": None}}},
    "WebhookInput": {
        "webhook": {
            "url": "https://example.com/webhook",
            "events": ["deployment.created", "deployment.failed"],
            "secret": "webhook-secret",
        }
    },
    "WebhookPatch": {"enable": {"enabled": True}},
    "VariableInput": {
        "variable": {"key": "NODE_ENV", "value": "production"},
        "secret": {"key": "API_KEY", "value": "k-1f2e3d", "secret": True},
    },
    "VariablesInput": {
        "all": {"variables": [{"key": "NODE_ENV", "value": "production"}, {"key": "API_KEY", "secret": True}]}
    },
    "ProjectInput": {"project": {"name": "my-project", "description": "What we sell"}},
    "ProjectUpdate": {"rename": {"name": "shop"}},
    "MemberInput": {"developer": {"role": "developer"}},
    "RouteInput": {"route": {"domain": "example.com", "service_id": SERVICE, "port": 3000}},
    "RoutePatch": {"maintenance": {"maintenance": True}, "body": {"max_body": "100M"}},
}

CHECK = {"kind": "tcp", "path": "/", "command": "", "interval": 2.0, "timeout": 3.0, "retries": 3, "start_period": 30.0}
TOKEN = {
    "id": "tok_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "name": "ci",
    "scopes": ["deployment:write"],
    "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "expires_at": "2027-02-22T09:30:00.000Z",
    "last_used_at": LATER,
    "created_at": TIME,
}
LINE = {"seq": 41, "ts": TIME, "stream": "stdout", "process": "web.1", "release": 2, "line": "listening on 3000"}

WEBHOOK = "whk_01JD4Y2M6T3Q8W5R7X9ZABCDEF"

CONFIG = {
    "source": "remote",
    "remote": "https://github.com/user/repo",
    "branch": "main",
    "git_token_set": False,
    "runtime": "nodejs",
    "version": "20",
    "build_cmd": "npm install",
    "run_cmd": "npm start",
    "processes": {},
    "working_dir": "",
    "static_dir": "",
    "port": 3000,
    "env": {"NODE_ENV": "production"},
    "secret_keys": ["DATABASE_URL"],
    "health_check": CHECK,
    "replicas": 1,
    "resources": {"memory": 536870912, "cpu": None, "pids": None, "disk": None, "strict": False},
    "strategy": {"kind": "rolling", "weight": 0, "steps": [], "interval": 0.0},
    "placement": {"labels": {}},
    "labels": {"team": "web"},
    "description": "",
    "sources": {"source": "given", "remote": "given", "branch": "default", "runtime": "given", "replicas": "default"},
}
HOST = {
    "id": INSTANCE,
    "name": "host-1",
    "status": "online",
    "last_seen": LATER,
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
    "created_at": TIME,
}

# Answers: schema → body.
ANSWERS: dict[str, Any] = {
    "WebhookShape": {
        "id": WEBHOOK,
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "url": "https://example.com/webhook",
        "events": ["deployment.created", "deployment.failed"],
        "secret": None,
        "description": "",
        "enabled": True,
        "disabled_reason": "",
        "generation": 1,
        "created_at": TIME,
        "updated_at": TIME,
    },
    "DeliveryShape": {
        "id": "dlv_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "webhook_id": WEBHOOK,
        "event_id": "evt_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "event": "deployment.created",
        "subject": DEPLOYMENT,
        "status": "delivered",
        "attempts": [{"number": 1, "at": TIME, "status": 200, "error": "", "response": "thanks", "duration_ms": 84}],
        "next_attempt_at": None,
        "created_at": TIME,
        "changed_at": LATER,
    },
    "Tokens": {
        "access_token": "eyJhbGciOiJIUzI1NiJ9.e30.YWNjZXNz",
        "refresh_token": "eyJhbGciOiJIUzI1NiJ9.e30.cmVmcmVzaA",
        "expires_in": 3600,
        "token_type": "Bearer",
    },
    "Me": {
        "id": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "email": "ada@example.com",
        "operator": False,
        "permissions": {"prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF": ["deployment:read", "log:read"], "": ["instance:read"]},
    },
    "UserShape": {
        "id": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "email": "ada@example.com",
        "operator": False,
        "disabled": False,
        "created_at": TIME,
        "updated_at": LATER,
    },
    "TokenShape": TOKEN,
    "NewTokenShape": {**TOKEN, "last_used_at": None, "token": f"pat_{'5e2b81d7' * 8}"},
    "DeploymentShape": {
        **CONFIG,
        "id": DEPLOYMENT,
        "name": "my-app",
        "project": "default",
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "status": "running",
        "status_reason": "",
        "service_id": SERVICE,
        "instance_id": INSTANCE,
        "release": 2,
        "live_release": 2,
        "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "commit_pinned": False,
        "poll": True,
        "pending_changes": False,
        "url": "https://example.com/",
        "urls": ["https://example.com/"],
        "warnings": ["instance host-1 does not enforce memory"],
        "generation": 2,
        "created_at": TIME,
        "updated_at": LATER,
    },
    "ReleaseShape": {
        "id": "rel_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "deployment_id": DEPLOYMENT,
        "number": 2,
        "state": "live",
        "reason": "",
        "message": "",
        "cause": "update",
        "build_of": None,
        "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "archive": None,
        "runtime": "nodejs",
        "version": "20",
        "config": CONFIG,
        "created_at": TIME,
        "changed_at": LATER,
    },
    "DifferenceShape": {
        "from": 1,
        "to": 2,
        "commits": ["1c8b6f0e5f3c4d2a9b7e6f5a4c3b2a1908f7e6d5", "9fceb02d0ae598e95dc970b74767f19372d61af8"],
        "changes": [
            {"field": "version", "from": "18", "to": "20"},
            {"field": "env.NODE_ENV", "from": None, "to": "production"},
        ],
    },
    "RunPiece": {"stream": "stdout", "data": "migrated 3 tables", "exit": None},
    "DrainShape": {
        "instance": {**HOST, "status": "draining", "cordoned": True, "services": 1},
        "services": [{"id": SERVICE, "name": "my-app", "deployment_id": DEPLOYMENT}],
        "message": "Nothing new is placed here. Services do not move by themselves yet: deploy them elsewhere, then "
        "delete them.",
    },
    "JoinTokenShape": {
        "token": "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8.2c26b46b68ffc68ff99b453c1d304134",
        "expires_at": LATER,
        "command": "umask 077; mkdir -p /var/lib/dployr-agent && echo … > /var/lib/dployr-agent/join-token && …",
    },
    "ServiceShape": {
        "id": SERVICE,
        "name": "my-app",
        "deployment_id": DEPLOYMENT,
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "instance_id": INSTANCE,
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
        "reported_at": LATER,
        "processes": [
            {
                "name": "web.1",
                "release": 2,
                "state": "running",
                "pid": 4711,
                "port": 20001,
                "started_at": LATER,
                "uptime_s": 3600.5,
                "cpu_percent": 1.25,
                "rss_bytes": 47185920,
                "restarts": 0,
                "last_exit": "",
            }
        ],
        "created_at": TIME,
        "updated_at": LATER,
    },
    "VariableShape": {"key": "NODE_ENV", "value": "production", "secret": False},
    "EnvChangeShape": {
        "at": LATER,
        "actor": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "key": "NODE_ENV",
        "action": "set",
        "secret": False,
        "release": 3,
    },
    "HookShape": {"exists": True, "url": f"https://dployr.example.com/v1/hooks/{DEPLOYMENT}"},
    "NewHook": {
        "url": f"https://dployr.example.com/v1/hooks/{DEPLOYMENT}/8f14e45fceea167a5a36dedd4bea2543",
        "secret": "c9f0f895fb98ab9159f51fd0297e236d",
    },
    "HookResult": {"status": "accepted", "release": 4, "reason": ""},
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
        "updated_at": TIME,
        "id": ROUTE,
        "certificate": None,
        "domain": "example.com",
        "path": "/",
        "service_id": SERVICE,
        "port": 3000,
        "status": "active",
        "message": "",
        "created_at": TIME,
    },
    "InstanceShape": HOST,
    "Metrics": {
        "instance_id": INSTANCE,
        "latest": {"time": LATER, "families": {"load": [0.42, 0.4, 0.38]}},
        "from": TIME,
        "to": LATER,
        "step": 10,
        "times": [TIME],
        "series": [{"name": "cpu_percent", "labels": {"mode": "user"}, "values": [12.5]}],
    },
    "LogPage": {"data": [LINE, {"gap": {"from": 42, "to": 57}}], "next_cursor": "57"},
    "ProjectShape": {
        "id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "name": "my-project",
        "description": "What we sell",
        "status": "active",
        "created_at": TIME,
        "updated_at": TIME,
    },
    "MemberShape": {
        "user_id": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "email": "ada@example.com",
        "role": "developer",
        "created_at": TIME,
    },
    "EventShape": {
        "id": "evt_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "sequence": 41,
        "type": "deployment.created",
        "timestamp": TIME,
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "subject": DEPLOYMENT,
        "data": {"name": "my-app"},
    },
    "AuditShape": {
        "sequence": 2,
        "timestamp": TIME,
        "actor": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "actor_name": "ada@example.com",
        "address": "192.0.2.7",
        "request_id": "req_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "action": "deployment.created",
        "target": DEPLOYMENT,
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "summary": "create deployment my-app in project my-project, on instance host-1",
        "data": {"name": "my-app"},
        "previous": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "hash": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
    },
    "TargetGroups": [
        {
            "targets": ["dployr.example.com"],
            "labels": {
                "__metrics_path__": f"/v1/instances/{INSTANCE}/metrics",
                "instance": "host-1",
                "__meta_dployr_instance_id": INSTANCE,
                "__meta_dployr_status": "online",
                "__meta_dployr_label_zone": "eu-1",
            },
        }
    ],
    "Version": {"name": "dployr", "version": "0.1.0"},
    "Health": {"status": "ok"},
    "Ready": {"status": "ready", "database": True, "operator": True, "hub": True, "instances_online": 1},
    "Plan": {
        "dry_run": True,
        "changes": [
            {
                "action": "deployment.updated",
                "target": DEPLOYMENT,
                "summary": "change version of my-app: release 3",
                "data": {"release": 3, "changes": [{"field": "version", "from": "20", "to": "22"}]},
            }
        ],
        "status": 200,
        "result": {"id": DEPLOYMENT, "name": "my-app", "status": "pending"},
    },
}


def of_answer(name: str, schemas: Json) -> Any:
    """The example of the schema `name`; None when there is none."""
    if name in ANSWERS:
        return ANSWERS[name]
    properties = schemas.get(name, {}).get("properties", {})
    if "data" not in properties:
        return None
    item = of_answer(_name_of(properties["data"].get("items", {})), schemas)
    whole = {"data": [item], "next_cursor": None}
    return None if item is None else {key: whole[key] for key in properties if key in whole}


def add(operation: Json, path: str, schemas: Json) -> None:
    """Puts the examples of its ids, of its body and of its answers into `operation`."""
    for parameter in operation.get("parameters", []):
        before = path.partition(f"/{{{parameter.get('name')}}}")[0].rpartition("/")[2]
        if parameter.get("in") == "path" and before in PATH:
            parameter["example"] = PATH[before]
    content = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    if named := REQUESTS.get(_name_of(content.get("schema", {}))):
        content["examples"] = {name: {"value": body} for name, body in named.items()}
    for answer in operation["responses"].values():
        content = answer.get("content", {}).get(JSON, {})
        found = {name: of_answer(name, schemas) for name in _names_of(content.get("schema", {}))}
        if named := {name: {"value": value} for name, value in found.items() if value is not None}:
            content["examples"] = named


def missing(document: Json) -> list[str]:
    """What has no example: paths' ids, requests and answers, in words."""
    found = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            found += [f"{path}: {{{name}}}" for name in _ids_without(operation)]
            contents = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for where, holder in contents.items():
                content = holder.get("content", {}).get(JSON)
                if content is not None and _names_of(content["schema"]) and "examples" not in content:
                    found.append(f"{operation['operationId']}, {where}: {content['schema']}")
    return found


def _ids_without(operation: Json) -> Iterator[str]:
    for parameter in operation["parameters"]:
        if parameter.get("in") == "path" and "example" not in parameter:
            yield parameter["name"]


def _names_of(schema: Json) -> list[str]:
    """The components that a schema names: its own, or those that it chooses between."""
    names = [_name_of(option) for option in schema.get("anyOf", [schema])]
    return [name for name in names if name]


def _name_of(schema: Json) -> str:
    reference = str(schema.get("$ref", ""))
    return reference.removeprefix(COMPONENT) if reference.startswith(COMPONENT) else ""
