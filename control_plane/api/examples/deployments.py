"""Deployments, releases and push hooks."""

from typing import Any

from control_plane.api.examples import ids

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
CHECK = {"kind": "tcp", "path": "/", "command": "", "interval": 2.0, "timeout": 3.0, "retries": 3, "start_period": 30.0}
CONFIG = {
    "source": "remote",
    "remote": "https://github.com/user/repo",
    "branch": "main",
    "git_token_set": False,
    "git_host_key": "",
    "deploy_key": None,
    "submodules": False,
    "runtime": "nodejs",
    "version": "20",
    "build_cmd": "npm install",
    "run_cmd": "npm start",
    "processes": {},
    "process_replicas": {},
    "cron": {
        "tidy": {"schedule": "*/5 * * * *", "command": "node tidy.js", "overlap": "skip", "timeout": 3600.0},
    },
    "working_dir": "",
    "static_dir": "",
    "port": 3000,
    "env": {"NODE_ENV": "production"},
    "secret_keys": ["DATABASE_URL"],
    "health_check": CHECK,
    "replicas": 1,
    "resources": {"memory": 536870912, "cpu": None, "pids": None, "disk": None, "strict": False},
    "strategy": {"kind": "rolling", "weight": 0, "steps": [], "interval": 0.0},
    "port_mode": "env",
    "auto_rollback": False,
    "volumes": [{"name": "data", "mount": "data"}],
    "placement": {"labels": {}},
    "labels": {"team": "web"},
    "description": "",
    "sources": {"source": "given", "remote": "given", "branch": "default", "runtime": "given", "health_check": "file"},
    "decided": [
        {"field": "package_manager", "value": "npm", "source": "detected", "reason": "package-lock.json"},
        {"field": "health_check.path", "value": "/health", "source": "file", "reason": "dployr.yaml"},
    ],
}

REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    "DeploymentCreate": {"flat": FLAT, "blueprint": BLUEPRINT},
    "DeploymentUpdate": {
        "merge": {"version": "22", "env": {"NODE_ENV": "production", "OLD": None}},
        "cron": {
            "cron": {"tidy": {"schedule": "*/5 * * * *", "command": "node tidy.js", "timeout": None}, "report": None}
        },
    },
    "RedeployInput": {"head": {}, "commit": {"commit": "9fceb02d0ae598e95dc970b74767f19372d61af8"}},
    "RollbackInput": {"previous": {}, "chosen": {"release": 2}},
}

ANSWERS: dict[str, Any] = {
    "DeploymentShape": {
        **CONFIG,
        "id": ids.DEPLOYMENT,
        "name": "my-app",
        "project": "default",
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "status": "running",
        "status_reason": "",
        "service_id": ids.SERVICE,
        "instance_id": ids.INSTANCE,
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
        "created_at": ids.TIME,
        "updated_at": ids.LATER,
    },
    "ReleaseShape": {
        "id": "rel_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "deployment_id": ids.DEPLOYMENT,
        "number": 2,
        "state": "live",
        "reason": "",
        "message": "",
        "cause": "update",
        "build_of": None,
        "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "archive": None,
        "pinned": False,
        "runtime": "nodejs",
        "version": "20",
        "config": CONFIG,
        "created_at": ids.TIME,
        "changed_at": ids.LATER,
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
    "Plan": {
        "dry_run": True,
        "changes": [
            {
                "action": "deployment.updated",
                "target": ids.DEPLOYMENT,
                "summary": "change version of my-app: release 3",
                "data": {"release": 3, "changes": [{"field": "version", "from": "20", "to": "22"}]},
            }
        ],
        "status": 200,
        "result": {"id": ids.DEPLOYMENT, "name": "my-app", "status": "pending"},
    },
    "HookShape": {"exists": True, "url": f"https://dployr.example.com/v1/hooks/{ids.DEPLOYMENT}"},
    "NewHook": {
        "url": f"https://dployr.example.com/v1/hooks/{ids.DEPLOYMENT}/8f14e45fceea167a5a36dedd4bea2543",
        "secret": "c9f0f895fb98ab9159f51fd0297e236d",
    },
    "HookResult": {"status": "accepted", "release": 4, "reason": ""},
}
