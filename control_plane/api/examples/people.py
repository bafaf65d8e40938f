"""Who there is, logins, tokens and projects."""

from typing import Any

from control_plane.api.examples import ids

CREDENTIALS = {"email": "ada@example.com", "password": "correct horse battery"}
TOKEN = {
    "id": "tok_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "name": "ci",
    "scopes": ["deployment:write"],
    "project_id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "expires_at": "2027-02-22T09:30:00.000Z",
    "last_used_at": ids.LATER,
    "created_at": ids.TIME,
}

REQUESTS: dict[str, dict[str, dict[str, Any]]] = {
    "LoginInput": {"login": CREDENTIALS},
    "RefreshInput": {"refresh": {"refresh_token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"}},
    "PasswordInput": {"change": {"current": "a short horse battery", "new": "a longer horse battery"}},
    "SetupInput": {"first": {"token": "3f9a0c5d" * 8, **CREDENTIALS}},
    "UserInput": {"user": {**CREDENTIALS, "operator": False}},
    "UserUpdate": {"disable": {"disabled": True}, "password": {"password": "a longer horse battery"}},
    "TokenInput": {"ci": {"name": "ci", "scopes": ["deployment:write"], "project": "default", "expires_in": 7776000}},
    "ProjectInput": {"project": {"name": "my-project", "description": "What we sell"}},
    "ProjectUpdate": {"rename": {"name": "shop"}},
    "MemberInput": {"developer": {"role": "developer"}},
}

ANSWERS: dict[str, Any] = {
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
        "created_at": ids.TIME,
        "updated_at": ids.LATER,
    },
    "TokenShape": TOKEN,
    "NewTokenShape": {**TOKEN, "last_used_at": None, "token": f"pat_{'5e2b81d7' * 8}"},
    "ProjectShape": {
        "id": "prj_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "name": "my-project",
        "description": "What we sell",
        "status": "active",
        "created_at": ids.TIME,
        "updated_at": ids.TIME,
    },
    "MemberShape": {
        "user_id": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
        "email": "ada@example.com",
        "role": "developer",
        "created_at": ids.TIME,
    },
}
