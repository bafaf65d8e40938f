"""`/v1/auth`: tokens for an email and a password, and what belongs to a login."""

import ipaddress

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane import errors
from control_plane.api import access, answers, auth, commands, context, models_auth, mutations, schemas
from control_plane.domain import permissions, values

blueprint = APIBlueprint("auth", __name__, url_prefix="/v1/auth", abp_tags=[{"name": "auth"}])


@blueprint.post("/login", responses={200: models_auth.Tokens})
@access.permission.public
@mutations.mutation(idempotent=False)
def login(body: schemas.LoginInput) -> flask.Response:
    """Log in: an access token for one hour and a refresh token.

    A login lasts 30 days, however often its tokens are refreshed.
    """
    commands.check_marks()
    api = context.current()
    return _tokens(api.call(api.services.accounts.login(auth.caller(), body.email, body.password)))


@blueprint.post("/refresh", responses={200: models_auth.Tokens})
@access.permission.public
@mutations.mutation(idempotent=False)
def refresh(body: schemas.RefreshInput) -> flask.Response:
    """Get the next pair of tokens for a refresh token, which is good for one use.

    A refresh token that was used before ends its login, with all its tokens: two have it, and one of them should not. The
    same goes for two requests that race with one token, so make them one after the other.
    """
    commands.check_marks()
    api = context.current()
    user_id, family_id, jti = auth.refresh_claims(body.refresh_token)
    return _tokens(api.call(api.services.accounts.sessions.refresh(auth.caller(), user_id, family_id, jti)))


@blueprint.post("/logout", responses={204: None})
@access.permission.signed_in
@mutations.mutation(idempotent=False)
def logout() -> flask.Response:
    """Log out: end the login of the token, with its access and refresh tokens."""
    commands.check_marks()
    api = context.current()
    api.call(api.services.accounts.sessions.end(context.principal()))
    return answers.empty()


@blueprint.get("/me", responses={200: models_auth.Me})
@access.permission.signed_in
def me() -> flask.Response:
    """Who the token speaks for, and what they may do."""
    principal = context.principal()
    return answers.of(
        models_auth.Me(
            id=principal.user_id,
            email=principal.email,
            operator=principal.operator,
            permissions=permissions.held(principal),
        )
    )


@blueprint.put("/password", responses={204: None})
@access.permission.signed_in
@mutations.mutation()
def password(body: models_auth.PasswordInput) -> flask.Response:
    """Change your password. Your other logins end, this one goes on; personal tokens stay."""
    work = context.current().services.accounts.change_password(context.principal(), body.current, body.new)
    return commands.run(work, lambda _: answers.change(None, 204))


@blueprint.post("/setup", responses={201: models_auth.Tokens})
@access.permission.public
@mutations.mutation(idempotent=False)
def setup(body: models_auth.SetupInput) -> flask.Response:
    """Make the first operator, with the token that the control plane printed; then log in.

    From this machine only, within 30 minutes of the start, once. Until then everything else answers 503.
    """
    commands.check_marks()
    _demand_loopback()
    api = context.current()
    user = api.call(api.services.accounts.setup.spend(auth.caller(), body.token, body.email, body.password))
    family = api.call(api.services.accounts.login(auth.caller(), user.email, body.password))
    response = _tokens(family)
    response.status_code = 201
    response.headers["Location"] = "/v1/auth/me"
    return response


def _demand_loopback() -> None:
    try:
        found = ipaddress.ip_address(flask.request.remote_addr or "")
    except ValueError:
        found = ipaddress.ip_address("0.0.0.0")  # noqa: S104 - no address that is known, so not ours
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if not found.is_loopback:
        raise errors.UnauthenticatedError("cannot set up from another machine: call this on the one that runs dployr")


def _tokens(family: values.Family) -> flask.Response:
    tokens = models_auth.Tokens(
        access_token=auth.access_token(family), refresh_token=auth.refresh_token(family), expires_in=auth.ACCESS_S
    )
    return answers.of(tokens)
