"""Personal access tokens: made by their user, shown once, kept as digests. None can do more than the one that made it."""

import dataclasses
import datetime
from typing import Any

from control_plane import errors, ports
from control_plane.domain import permissions, values
from control_plane.services import lists
from control_plane.services.context import Context
from control_plane.services.sessions import digest_of

PREFIX = "pat_"
MAX_NAME = 100
MAX_TOKENS = 200
MAX_LIFE_S = 10 * 366 * 24 * 3600

Problem = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class NewToken:
    """`expires_in` in seconds or `expires_at`, not both; neither: it does not expire. Empty `scopes`: all of its user's."""

    name: str
    scopes: tuple[str, ...] = ()
    project: str | None = None
    expires_in: int | None = None
    expires_at: datetime.datetime | None = None


class Tokens:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(self, principal: values.Principal, cursor: str | None = None, limit: int = 50) -> values.Page:
        """The caller's own, oldest first."""
        permissions.demand(principal, "token:read")

        async def fetch(after: str | None, count: int) -> "tuple[values.Token, ...]":
            async with self._context.store.read() as tx:
                return tuple(await tx.list_tokens(principal.user_id, after, count))

        return values.Page(*await lists.page(fetch, cursor, limit))

    async def get(self, principal: values.Principal, token_id: str) -> values.Token:
        """One of the caller's own. NotFoundError for any other."""
        permissions.demand(principal, "token:read")
        async with self._context.store.read() as tx:
            own = await tx.list_tokens(principal.user_id, None, MAX_TOKENS)
        found = next((one for one in own if one.id == token_id), None)
        if found is None:
            raise _missing(token_id)
        return found

    async def create(self, principal: values.Principal, new: NewToken) -> tuple[values.Token, str]:
        """The token and its secret, which nobody can read again."""
        permissions.demand(principal, "token:write")
        now = self._context.clock.now()
        expires_at = _end(new, now)
        problems = [*_problems(new, expires_at, now), *permissions.scope_problems(new.scopes)]
        secret = PREFIX + self._context.ids.secret(32)
        async with self._context.write() as tx:
            project_id = await _project(tx, principal, new.project)
            if project_id is None:
                problems.append(_problem("project", "no such project"))
            if project_id is None or problems:
                raise errors.InvalidError.several("cannot use this token", problems)
            scopes = _narrowed_scopes(principal, tuple(sorted(set(new.scopes))))
            token = values.Token(
                id=self._context.ids.new("tok"),
                user_id=principal.user_id,
                name=new.name.strip(),
                digest=digest_of(secret),
                scopes=scopes,
                project_id=project_id,
                expires_at=_not_after(expires_at, principal.until),
                last_used_at=None,
                created_at=now,
            )
            if len(await tx.list_tokens(principal.user_id, None, MAX_TOKENS)) >= MAX_TOKENS:
                raise errors.ConflictError(f"cannot make another token: you have {MAX_TOKENS}; delete one first")
            await tx.insert_token(token)
            await self._context.audit(
                tx,
                principal,
                "token.created",
                token.id,
                project=token.project_id,
                summary=f"token {token.name!r} is made",
                name=token.name,
                scopes=list(token.scopes),
            )
        return token, secret

    async def delete(self, principal: values.Principal, token_id: str) -> None:
        """Revoke one of the caller's own. NotFoundError for any other."""
        permissions.demand(principal, "token:write")
        async with self._context.write() as tx:
            if not await tx.delete_token(token_id, principal.user_id):
                raise _missing(token_id)
            await self._context.audit(tx, principal, "token.revoked", token_id, summary="a token is revoked")


def _missing(token_id: str) -> errors.NotFoundError:
    return errors.NotFoundError(f"cannot find token {token_id[:100]!r}; list yours with GET /v1/tokens")


def _end(new: NewToken, now: values.Time) -> values.Time | None:
    if new.expires_in is not None and 0 < new.expires_in <= MAX_LIFE_S:
        return now + datetime.timedelta(seconds=new.expires_in)
    return new.expires_at.astimezone(datetime.UTC) if new.expires_at is not None and new.expires_at.tzinfo else None


def name_issue(name: str) -> str:
    is_good = name.strip() and len(name.strip()) <= MAX_NAME and name.strip().isprintable()
    return "" if is_good else f"must have 1 to {MAX_NAME} printable characters"


def life_issue(expires_in: int) -> str:
    return "" if 0 < expires_in <= MAX_LIFE_S else f"must be 1 to {MAX_LIFE_S} seconds"


def _problems(new: NewToken, expires_at: values.Time | None, now: values.Time) -> list[Problem]:
    issues = {"name": name_issue(new.name), "expires_in": "" if new.expires_in is None else life_issue(new.expires_in)}
    found = [_problem(field, issue) for field, issue in issues.items() if issue]
    if new.expires_in is not None and new.expires_at is not None:
        found.append(_problem("expires_at", "must not be given beside expires_in"))
    if new.expires_at is not None and not new.expires_at.tzinfo:
        found.append(_problem("expires_at", "must say its offset from UTC, such as Z"))
    elif new.expires_at is not None and expires_at is not None and expires_at <= now:
        found.append(_problem("expires_at", "must be in the future"))
    return found


def _problem(field: str, issue: str) -> Problem:
    return {"field": field, "issue": issue}


def _narrowed_scopes(principal: values.Principal, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Those asked for, at most those of the calling token; asking for none is asking for all that there are."""
    if principal.scopes is None:
        return scopes
    beyond = [scope for scope in scopes if scope not in principal.scopes]
    if beyond:
        raise errors.ForbiddenError(
            f"cannot make a token with {beyond[0]}: the token that asks has not got it", {"permission": beyond[0]}
        )
    return scopes or tuple(sorted(principal.scopes))


async def _project(tx: ports.Transaction, principal: values.Principal, project: str | None) -> str | None:
    """Its id, empty for every project; None when the principal sees none of that name."""
    if project is None:
        return principal.only
    found = await tx.find_project(project)
    return None if found is None or not permissions.can_see(principal, found.id) else found.id


def _not_after(expires_at: values.Time | None, until: values.Time | None) -> values.Time | None:
    if until is None or expires_at is None:
        return expires_at or until
    return min(expires_at, until)
