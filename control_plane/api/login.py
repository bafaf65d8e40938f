"""`/v1/auth`: tokens for an email and a password."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, auth, context, mutations, schemas, shapes
from control_plane.domain import permissions

blueprint = APIBlueprint("auth", __name__, url_prefix="/v1/auth", abp_tags=[{"name": "auth"}])


@blueprint.post("/login", responses={200: shapes.Tokens})
@access.permission.public
@mutations.mutation(idempotent=False)
def login(body: schemas.LoginInput) -> flask.Response:
    """Log in: an access token for one hour and a refresh token."""
    api = context.current()
    user = api.call(api.services.accounts.verify(body.email, body.password))
    return _tokens(user.id, auth.refresh_token(user.id))


@blueprint.post("/refresh", responses={200: shapes.Tokens})
@access.permission.public
@mutations.mutation(idempotent=False)
def refresh(body: schemas.RefreshInput) -> flask.Response:
    """A new access token for a refresh token, which stays valid."""
    principal = auth.principal_of_refresh(body.refresh_token)
    return _tokens(principal.user_id, body.refresh_token)


@blueprint.get("/me", responses={200: shapes.Me})
@access.permission.signed_in
def me() -> flask.Response:
    """Who the token speaks for, and what they may do."""
    principal = context.principal()
    return answers.of(
        shapes.Me(
            id=principal.user_id,
            email=principal.email,
            operator=principal.operator,
            permissions=permissions.held(principal),
        )
    )


def _tokens(user_id: str, refresh_token: str) -> flask.Response:
    tokens = shapes.Tokens(
        access_token=auth.access_token(user_id), refresh_token=refresh_token, expires_in=auth.ACCESS_S
    )
    return answers.of(tokens)
