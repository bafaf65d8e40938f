"""Webhooks and what happened."""

from typing import Any

from control_plane.api.examples import ids

WEBHOOK = "whk_01JD4Y2M6T3Q8W5R7X9ZABCDEF"

REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    "WebhookInput": {
        "webhook": {
            "url": "https://example.com/webhook",
            "events": ["deployment.created", "deployment.failed"],
            "secret": "webhook-secret",
        }
    },
    "WebhookPatch": {"enable": {"enabled": True}},
}

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
        "created_at": ids.TIME,
        "updated_at": ids.TIME,
    },
    "DeliveryShape": {
        "id": "dlv_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "webhook_id": WEBHOOK,
        "event_id": "evt_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "event": "deployment.created",
        "subject": ids.DEPLOYMENT,
        "status": "delivered",
        "attempts": [
            {"number": 1, "at": ids.TIME, "status": 200, "error": "", "response": "thanks", "duration_ms": 84}
        ],
        "next_attempt_at": None,
        "created_at": ids.TIME,
        "changed_at": ids.LATER,
    },
    "EventShape": {
        "id": "evt_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "sequence": 41,
        "type": "deployment.created",
        "timestamp": ids.TIME,
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "subject": ids.DEPLOYMENT,
        "data": {"name": "my-app"},
    },
    "AuditShape": {
        "sequence": 2,
        "timestamp": ids.TIME,
        "actor": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "actor_name": "ada@example.com",
        "address": "192.0.2.7",
        "request_id": "req_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "action": "deployment.created",
        "target": ids.DEPLOYMENT,
        "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "summary": "create deployment my-app in project my-project, on instance host-1",
        "data": {"name": "my-app"},
        "previous": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "hash": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
    },
}
