"""Bearer tokens: HS256 with a key id, so that the secret can be replaced; made at login, checked before every view."""

import dataclasses
import datetime
import threading
from typing import Any

import flask
import flask_jwt_extended
import jwt
from flask_jwt_extended import exceptions as jwt_errors

from control_plane import errors
from control_plane.api import context
from control_plane.domain import values

ALGORITHM = "HS256"
ISSUER = "dployr"
AUDIENCE = "dployr-api"
ACCESS_S = 3600
REFRESH_S = 30 * 24 * 3600
MAX_TOKEN = 4096
REQUIRED = ("sub", "jti", "exp", "nbf", "iat", "iss", "aud", "type")
BAD_TOKEN = (jwt.PyJWTError, jwt_errors.JWTExtendedException, ValueError, RecursionError)


class _Keys:
    """The signing key, asked for once: it is made in the database at the first start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, str] | None = None

    def current(self) -> tuple[str, str]:
        with self._lock:
            if self._key is None:
                api = context.current()
                self._key = api.call(api.services.accounts.signing_key())
            return self._key

    def secret_for(self, header: dict[str, Any]) -> str:
        kid, secret = self.current()
        if header.get("alg") != ALGORITHM or header.get("kid") != kid:
            raise jwt.InvalidKeyError("signed with a key that is not ours")
        return secret


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
        JWT_REFRESH_TOKEN_EXPIRES=datetime.timedelta(seconds=REFRESH_S),
    )
    keys = _Keys()
    manager = flask_jwt_extended.JWTManager(app)
    manager.encode_key_loader(lambda _identity: keys.current()[1])
    manager.decode_key_loader(lambda header, _payload: keys.secret_for(header))
    manager.additional_headers_loader(lambda _identity: {"kid": keys.current()[0]})


def authenticate() -> None:
    """Before every view: sets g.principal, to None without a good token. Refuses nothing by itself; `enforce` does."""
    flask.g.principal = None
    header = flask.request.headers.get("Authorization", "")
    if not header:
        return
    try:
        flask.g.principal = _principal_of_header(header)
    except errors.UnauthenticatedError as error:
        flask.g.token_problem = error.message


def _principal_of_header(header: str) -> values.Principal:
    if len(header) > MAX_TOKEN:
        raise errors.UnauthenticatedError("cannot read the token: it is too long; log in again")
    try:  # not get_jwt(): it raises where the library checks nothing
        found = flask_jwt_extended.verify_jwt_in_request()
    except BAD_TOKEN as error:
        raise _refused(error) from error
    if found is None:  # the library exempts OPTIONS
        raise errors.UnauthenticatedError("cannot authenticate this method")
    return _principal(found[1])


def principal_of_refresh(token: str) -> values.Principal:
    """Whose refresh token that is. Raises UnauthenticatedError, for an access token too."""
    try:
        claims = flask_jwt_extended.decode_token(token[:MAX_TOKEN])
    except BAD_TOKEN as error:
        raise _refused(error) from error
    if claims.get("type") != "refresh":
        raise errors.UnauthenticatedError("cannot refresh with this token: it is not a refresh token")
    return _principal(claims)


def _principal(claims: dict[str, Any]) -> values.Principal:
    if any(not claims.get(name) for name in REQUIRED):
        raise errors.UnauthenticatedError("cannot accept the token: a claim is missing; log in again")
    api = context.current()
    found: values.Principal = api.call(api.services.accounts.principal(claims["sub"]))
    return dataclasses.replace(found, address=flask.request.remote_addr or "", request_id=flask.g.request_id)


def _refused(error: BaseException) -> errors.UnauthenticatedError:
    if isinstance(error, jwt.ExpiredSignatureError):
        return errors.UnauthenticatedError("cannot accept the token: it has expired; log in again")
    return errors.UnauthenticatedError("cannot accept the token: it is not valid; log in again")


def access_token(user_id: str) -> str:
    return str(flask_jwt_extended.create_access_token(user_id))


def refresh_token(user_id: str) -> str:
    return str(flask_jwt_extended.create_refresh_token(user_id))
