"""What each error means and what to do about it, in words for the contract and for people.

Which codes there are is not said here: they come from the maps in errors.py that the server itself obeys.
"""

import dataclasses
from typing import Any

from control_plane.api import errors


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """`message` and `details` are an example of what such an error holds."""

    meaning: str
    remedy: str
    message: str
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


TEXTS: dict[int, Problem] = {
    400: Problem(
        "A field, a parameter or the body is missing, malformed or not supported.",
        "Read `details.field` and `details.issue`; when several are wrong, `details.errors` lists them (the first 100). "
        "Correct the request; it was not carried out.",
        "Invalid deployment configuration: version: Unsupported runtime version",
        {"field": "version", "issue": "Unsupported runtime version", "supported": ["18", "20", "22", "24"]},
    ),
    401: Problem(
        "There are no credentials, or they are wrong, expired or revoked.",
        "Log in again, or refresh the access token, and send it as `Authorization: Bearer …`.",
        "cannot do this: no valid token came with it; log in, or refresh the token",
    ),
    403: Problem(
        "The object is known to you, and your role does not allow this.",
        "Ask whoever administers the project for the permission in `details.permission`.",
        "cannot do this as ada@example.com: deployment:write is missing; ask an operator",
        {"permission": "deployment:write"},
    ),
    404: Problem(
        "There is no such path, or no such object among those that you may see.",
        "Check the path against this contract, and the id or name against the list of its kind.",
        "cannot find deployment 'my-app'",
    ),
    405: Problem(
        "The path exists, the method does not.",
        "Use one of the methods in the `Allow` header.",
        "cannot use this method here: see the Allow header",
    ),
    409: Problem(
        "A name or domain is taken, the object is in the wrong state, or a request with the same "
        "`Idempotency-Key` is still being answered.",
        "Read the message: it names the object in the way. Change that one, choose another name, or try again later.",
        "cannot create deployment 'my-app': the name is taken in this project; change it with PUT",
        {"id": "dep_01JD4Y2M6T3Q8W5R7X9ZABCDEF"},
    ),
    412: Problem(
        "`If-Match` does not name the present generation: somebody else changed the object.",
        "Get the object, look at what changed, and repeat the request with its new `ETag`.",
        "cannot change the deployment: it has changed since; get it again and repeat",
    ),
    413: Problem(
        "The body is larger than this operation takes: 1 MiB, where nothing else is said.",
        "Send less.",
        "cannot accept the request: the body is too large",
    ),
    415: Problem(
        "The `Content-Type` is not one that this operation takes.",
        "Send the body as `Content-Type: application/json`, or as the operation says.",
        "cannot accept the request: send application/json",
    ),
    422: Problem(
        "The `Idempotency-Key` was used before, for another request.",
        "Use a new key for a new request; repeat a request with the very same body.",
        "cannot repeat the request: its Idempotency-Key belongs to another one",
    ),
    429: Problem(
        "The hourly quota is used up, too many logins failed, or too many streams are open.",
        "Wait for the seconds in `Retry-After`.",
        "cannot take more requests now: try again in 812 s",
    ),
    500: Problem(
        "A defect of ours; it is logged under the request's id.",
        "Report `request_id`. The request may be repeated, with the same `Idempotency-Key` if it changes something.",
        "cannot answer: an internal error, which is logged under this request id",
    ),
    503: Problem(
        "Not now: an instance is away, the database is busy, or the server starts or stops.",
        "Wait for the seconds in `Retry-After` and repeat the request.",
        "cannot read the log: instance host-1 is offline",
    ),
    507: Problem(
        "There is no room left to store what the request brings.",
        "Free space on the machine that the message names, and repeat the request.",
        "cannot store the change: the disk of the control plane is full",
    ),
}


def codes() -> dict[int, str]:
    """Status → code of every error that the server can answer."""
    return dict(sorted({**dict(errors.ANSWERS.values()), **errors.HTTP_CODES, 500: "internal_error"}.items()))
