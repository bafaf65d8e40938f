"""The JSON Schemas of fields of a deployment that have a form of their own: what the document shows; domain/ has the rules."""

from typing import Any

from control_plane.api.flat import REMOTE_FORM
from control_plane.domain import abilities, health, strategy, volumes
from schedules import entries

NESTED_RUNTIME = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"type": {"type": "string"}, "version": {"type": "string"}},
            "additionalProperties": False,
        },
    ]
}
NESTED_REMOTE = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {key: {"type": "string"} for key in REMOTE_FORM},
            "additionalProperties": False,
        },
    ]
}

SCALAR = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
ENV = {"type": "object", "additionalProperties": SCALAR, "description": "Numbers and booleans become strings"}
ENV_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [*SCALAR["anyOf"], {"type": "null"}]},
    "description": "Merged by key; null deletes",
}
DURATION = {"anyOf": [{"type": "string"}, {"type": "number"}], "description": 'Seconds, or text such as "30s", "500ms"'}
HEALTH_CHECK = {
    "type": "object",
    "properties": {
        "kind": {"enum": list(health.KINDS)},
        "path": {"type": "string"},
        "command": {"type": "string"},
        "interval": DURATION,
        "timeout": DURATION,
        "retries": {"type": "integer"},
        "start_period": DURATION,
    },
    "additionalProperties": False,
}

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
TEXT_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "description": "Merged by key; null deletes",
}
SIZE = {
    "anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}],
    "description": 'Bytes, or text such as "512M"; null is no limit',
}
RESOURCES = {
    "type": "object",
    "properties": {
        "memory": SIZE,
        "cpu": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "pids": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "disk": SIZE,
        "strict": {"type": "boolean", "description": "Refuse an instance that cannot enforce them"},
    },
    "additionalProperties": False,
    "description": "Limits of each process",
}
STRATEGY = {
    "anyOf": [
        {"enum": list(strategy.KINDS)},
        {
            "type": "object",
            "properties": {
                "kind": {"enum": list(strategy.KINDS)},
                "weight": {"type": "integer"},
                "steps": {"type": "array", "items": {"type": "integer"}},
                "interval": DURATION,
            },
            "additionalProperties": False,
        },
    ]
}
PROCESSES_WORDS = (
    "Commands beside web (which is run_cmd) by name, each a process; release is none: it runs once, after the build and "
    "before the release starts, and fails the release when it fails"
)
PROCESS_FORM = {
    "type": "object",
    "properties": {"command": {"type": "string"}, "replicas": {"type": "integer"}},
    "additionalProperties": False,
    "description": "Its command, and how often it runs: the same as in process_replicas",
}
PROCESSES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, PROCESS_FORM]},
    "description": PROCESSES_WORDS,
}
PROCESS_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, PROCESS_FORM, {"type": "null"}]},
    "description": "Merged by key; null deletes a process with its replicas",
}
REPLICAS_WORDS = "How often a process beside web runs, 0 to 100, by name; one that is not named runs once"
PROCESS_REPLICAS = {"type": "object", "additionalProperties": {"type": "integer"}, "description": REPLICAS_WORDS}
REPLICAS_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "description": f"{REPLICAS_WORDS}. Merged by key; null deletes",
}
CRON_ENTRY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "schedule": {
            "type": "string",
            "description": "Minute, hour, day of the month, month, day of the week, in UTC; or @hourly, @daily, @weekly, @monthly, @yearly",
        },
        "command": {"type": "string"},
        "overlap": {
            "enum": list(entries.OVERLAPS),
            "description": "While its last run is under way: skip this one, allow both (ten at most), or replace that one",
        },
        "timeout": {**DURATION, "description": 'Seconds, or text such as "10m"; an hour unless given'},
    },
    "additionalProperties": False,
}
CRON = {
    "type": "object",
    "additionalProperties": {**CRON_ENTRY, "required": list(entries.REQUIRED)},
    "description": "Commands that run when their schedule says, in the environment of the live release",
}
CRON_ENTRY_CHANGES = {
    **CRON_ENTRY,
    "properties": {
        key: form if key in entries.REQUIRED else {"anyOf": [form, {"type": "null"}]}
        for key, form in CRON_ENTRY["properties"].items()
    },
}
CRON_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [CRON_ENTRY_CHANGES, {"type": "null"}]},
    "description": "Merged by key, and each entry by its keys; null deletes",
}
PORT_MODE = {
    "enum": list(abilities.PORT_MODES),
    "description": "env: the app listens on PORT; fixed: always on the declared port, so that releases take turns",
}
AUTO_ROLLBACK = {
    "type": "boolean",
    "description": "Go back to the last good release when a new one keeps crashing within ten minutes after it went live",
}
VOLUMES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "mount": {"type": "string"}},
        "required": ["name", "mount"],
        "additionalProperties": False,
    },
    "maxItems": volumes.MAX_VOLUMES,
    "description": "Directories that outlive releases, at `mount` below the working directory; replaces all of them",
}
PLACEMENT = {
    "type": "object",
    "properties": {"labels": TEXTS},
    "additionalProperties": False,
    "description": "Labels that its instance must have",
}
