"""What goes in and out of push-to-deploy. The body of a push is the git host's own."""

from typing import Any, Literal

import pydantic

from control_plane.api import schemas, shapes
from control_plane.services import hooks

PUSH: dict[str, Any] = {
    "required": True,
    "description": "The push event of GitHub, GitLab, Gitea or Forgejo, signed by it.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"ref": {"type": "string"}, "after": {"type": "string"}},
                "additionalProperties": True,
            },
        },
        "application/x-www-form-urlencoded": {
            "schema": {"type": "object", "properties": {"payload": {"type": "string"}}, "required": ["payload"]}
        },
    },
}


class HookPath(schemas.Query):
    deployment: str = pydantic.Field(description="The id")
    token: str = pydantic.Field(description="Of the answer that made the hook")


class HookShape(shapes.Shape):
    """`url` lacks the token: that was shown when the hook was made."""

    exists: bool
    url: str

    @classmethod
    def of(cls, shown: hooks.Shown) -> "HookShape":
        return cls(exists=shown.exists, url=shown.url)


class NewHook(shapes.Shape):
    """Shown once. Enter both at the git host; the content type is `application/json`, the event is push."""

    url: str
    secret: str

    @classmethod
    def of(cls, new: hooks.NewHook) -> "NewHook":
        return cls(url=new.url, secret=new.secret)


class HookResult(shapes.Shape):
    """`ignored` says why in `reason`; `accepted` names the release."""

    status: Literal["accepted", "ignored"]
    release: int | None
    reason: str

    @classmethod
    def of(cls, outcome: hooks.Outcome) -> "HookResult":
        status: Literal["accepted", "ignored"] = "ignored" if outcome.release is None else "accepted"
        return cls(status=status, release=outcome.release, reason=outcome.reason)
