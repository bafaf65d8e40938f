"""Bearer tokens, checked before every view: access tokens of logins (JWTs) and personal tokens (`pat_…`).

JWTs are HS256, whatever they say themselves, with a key id out of our own set; their refresh tokens are good for one use.
What a token is worth is asked of the database anew every two seconds, see services/principals.py. Every token that is not
good gets the same answer.
"""

import contextlib
import dataclasses
import datetime
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import flask
import flask_jwt_extended
import jwt
from flask_jwt_extended import exceptions as jwt_errors

from control_plane import errors
from control_plane.api import context
from control_plane.domain import values
from control_plane.services import principals, sessions, signing

ALGORITHM = "HS256"
ISSUER = "dployr"
AUDIENCE = "dployr-api"
ACCESS_S = 3600
MAX_TOKEN = 4096
FRESH_S = 3.0  # a rotated key signs everywhere after this; with verified.TTL_S, how long a forgotten one counts
UNKNOWN_S = 1.0  # how often a key id that nobody knows makes us look again
SCHEME = "Bearer"
PERSONAL = "pat_"
HEADERS = frozenset({"alg", "typ", "kid"})  # none that names a key of the sender's own
TEXTS = ("sub", "jti", "fam", "type")
MOMENTS = ("exp", "nbf", "iat")
BAD_TOKEN = (
    *(jwt.PyJWTError, jwt_errors.JWTExtendedException, RecursionError),
    *(ValueError, TypeError, KeyError, AttributeError, OverflowError),
)
# Views whose success changes who may do what, but for those that only add a login.
PEOPLE = frozenset({"auth", "users", "tokens", "projects", "members"})
ADDING = frozenset({"auth.login", "auth.refresh"})
READING = frozenset({"GET", "HEAD"})
SETUP = "auth.setup"


class _Keys:
    """The signing keys, read again every few seconds, and sooner when a token names one that is not known."""

    def __init__(self) -> None:
        self._read: tuple[tuple[signing.Key, ...], float] = ((), 0.0)

    def newest(self) -> signing.Key:
        return self._known(FRESH_S)[-1]

    def secret_for(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """The secret for a token of that header. Raises what makes it a bad one.

        Here, because the library fills in claims that are missing once it has the secret.
        """
        _check(claims)
        if header.get("alg") != ALGORITHM or header.get("typ") != "JWT" or not set(header) <= HEADERS:
            raise jwt.InvalidKeyError("its header is not one of ours")
        kid = header.get("kid")
        key = signing.fits(self._known(FRESH_S), kid) or signing.fits(self._known(UNKNOWN_S), kid)
        if key is None:
            raise jwt.InvalidKeyError("signed with a key that is not ours")
        return key.secret

    def _known(self, fresh_s: float) -> tuple[signing.Key, ...]:
        api = context.current()
        keys, read_at = self._read
        if not keys or not 0 <= api.services.clock.monotonic() - read_at < fresh_s:
            read_at = api.services.clock.monotonic()
            keys = api.call(api.services.accounts.signing.keys())
            self._read = keys, read_at  # without a lock: others wait in the call too, and what they read is as new
        return keys


def install(app: flask.Flask) -> None:
    """Sets flask-jwt-extended up on `app`."""
    app.config.update(
        JWT_ALGORITHM=ALGORITHM,
        JWT_DECODE_ALGORITHMS=[ALGORITHM],
        JWT_TOKEN_LOCATION=["headers"],
        JWT_ENCODE_ISSUER=ISSUER,
        JWT_DECODE_ISSUER=ISSUER,
        JWT_ENCODE_AUDIENCE=AUDIENCE,
        JWT_DECODE_AUDIENCE=AUDIENCE,
        JWT_ACCESS_TOKEN_EXPIRES=datetime.timedelta(seconds=ACCESS_S),
    )
    keys = _Keys()
    manager = flask_jwt_extended.JWTManager(app)
    manager.encode_key_loader(lambda _identity: keys.newest().secret)
    manager.decode_key_loader(keys.secret_for)
    manager.additional_headers_loader(lambda _identity: {"kid": keys.newest().kid})
    app.after_request(_forget_people)


def authenticate() -> None:
    """Before every view: sets g.principal, to None without a good token. Refuses nothing by itself; access.py does."""
    flask.g.principal = None
    header = flask.request.headers.get("Authorization", "")
    if not header:
        return
    try:
        look = _look_of(header)
        known = look.at_once() or context.current().call(look.anew())
        if not _is_good(known, look.issued_at, context.current().services.clock.now()):
            raise sessions.refused()
        flask.g.principal, flask.g.look, flask.g.known = _from_here(known.principal), look, known
    except errors.UnauthenticatedError:
        flask.g.token_refused = True


def watch() -> Callable[[], Awaitable[bool]]:
    """Asks, as often as it is called, whether the caller still is who it is now and may what it may now.

    For answers that last longer than it may take until a revoked token counts no more.
    """
    look, first = flask.g.look, flask.g.known.principal
    clock = context.current().services.clock

    async def is_unchanged() -> bool:
        try:
            known: principals.Known = look.at_once() or await look.anew()
        except errors.UnauthenticatedError:
            return False
        except errors.UnavailableError:  # nothing is known to have changed
            return True
        return known.principal == first and _is_good(known, look.issued_at, clock.now())

    return is_unchanged


def refuse() -> errors.UnauthenticatedError:
    """What a view without a principal answers; a token that is there and no good is written down.

    Called behind the rate limit, so that nobody fills the audit with guesses.
    """
    if flask.g.get("token_refused"):
        api = context.current()
        data = {"method": flask.request.method, "endpoint": flask.request.endpoint or ""}
        with contextlib.suppress(errors.UnavailableError, errors.InsufficientStorageError):
            api.call(api.services.accounts.refused(caller(), "auth.refused", "a token was refused", **data))
    return sessions.refused()


def demand_setup() -> None:
    """UnavailableError for the whole API but its setup, while there is no account at all."""
    api = context.current()
    setup = api.services.accounts.setup
    if setup.is_done or not flask.request.path.startswith("/v1/") or flask.request.endpoint == SETUP:
        return
    if not api.call(setup.look()):
        raise errors.UnavailableError(
            "cannot do this yet: there is no operator; make one with POST /v1/auth/setup and the token that the control "
            "plane printed when it started",
            {"setup": "/v1/auth/setup"},
        )


def caller() -> values.Principal:
    """Who calls, for the audit: at least from where."""
    return flask.g.get("principal") or _from_here(values.Principal("", ""))


def refresh_claims(token: str) -> tuple[str, str, str]:
    """User, login and id of a refresh token of ours. UnauthenticatedError, for an access token too."""
    try:
        if len(token) > MAX_TOKEN:
            raise sessions.refused()
        claims = flask_jwt_extended.decode_token(token)
    except BAD_TOKEN as error:
        raise sessions.refused() from error
    if claims["type"] != "refresh":
        raise sessions.refused()
    return claims["sub"], claims["fam"], claims["jti"]


def access_token(family: values.Family) -> str:
    return str(flask_jwt_extended.create_access_token(family.user_id, additional_claims={"fam": family.id}))


def refresh_token(family: values.Family) -> str:
    """The one refresh token that is good now for that login, until the login ends."""
    left = family.expires_at - context.current().services.clock.now()
    claims = {"fam": family.id, "jti": family.jti}
    return str(flask_jwt_extended.create_refresh_token(family.user_id, left, additional_claims=claims))


@dataclasses.dataclass(frozen=True, slots=True)
class _Look:
    """How to find out who is behind a credential: from memory, or anew. `issued_at` counts for access tokens."""

    at_once: Callable[[], principals.Known | None]
    anew: Callable[[], Coroutine[Any, Any, principals.Known]]
    issued_at: float = math.inf


def _look_of(header: str) -> _Look:
    people = context.current().services.accounts.sessions
    scheme, _, token = header.partition(" ")
    if len(header) > MAX_TOKEN:
        raise sessions.refused()
    if scheme == SCHEME and token.startswith(PERSONAL):
        key = sessions.digest_of(token)
        return _Look(lambda: people.known(key), lambda: people.of_token(token))
    user_id, family_id, issued_at = (_claims_of(token)[name] for name in ("sub", "fam", "iat"))
    key = sessions.key_of_login(user_id, family_id)
    return _Look(lambda: people.known(key), lambda: people.of_login(user_id, family_id), issued_at)


def _claims_of(token: str) -> dict[str, Any]:
    """The claims of the access token that came with this request. UnauthenticatedError."""
    verified = context.current().verified
    known = verified.claims(token)
    if known is not None and flask.request.headers["Authorization"] == f"{SCHEME} {token}":
        return known
    try:  # not get_jwt(): it raises where the library checks nothing
        found = flask_jwt_extended.verify_jwt_in_request()
    except BAD_TOKEN as error:
        raise sessions.refused() from error
    if found is None:  # the library exempts OPTIONS
        raise sessions.refused()
    claims: dict[str, Any] = found[1]
    verified.put(token, claims)
    return claims


def _is_good(known: principals.Known, issued_at: float, now: values.Time) -> bool:
    """Whether what is known allows a credential of that second, at `now`."""
    return issued_at >= int(known.valid_from) and (known.expires_at is None or known.expires_at > now)


def _check(claims: dict[str, Any]) -> None:
    """Every claim is there and of its type. ValueError."""
    whole = all(isinstance(claims.get(name), str) and claims[name] for name in TEXTS)
    if not whole or not all(type(claims.get(name)) is int for name in MOMENTS):
        raise ValueError("a claim is missing")


def _from_here(principal: values.Principal) -> values.Principal:
    address = flask.request.remote_addr or ""
    return dataclasses.replace(principal, address=address, request_id=flask.g.request_id)


def _forget_people(response: flask.Response) -> flask.Response:
    """After a change of people in this process nothing that was known before it counts."""
    endpoint = flask.request.endpoint or ""
    changed = flask.request.method not in READING and response.status_code < 400
    if changed and endpoint.partition(".")[0] in PEOPLE and endpoint not in ADDING:
        context.current().services.accounts.sessions.principals.clear()
    return response
