"""Every table. Constraints have names, so that a later migration can change them."""

import sqlalchemy as sa

from control_plane.store.columns import Flag, Json, Moment, real

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _table(name: str, *items: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(name, METADATA, *items, sqlite_strict=True)


def _key() -> "sa.Column[str]":
    return sa.Column("id", sa.Text, primary_key=True)


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False)


def _whole(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer, nullable=False)


def _moment(name: str) -> "sa.Column[object]":
    return sa.Column(name, Moment, nullable=False)


def _maybe_moment(name: str) -> "sa.Column[object]":
    return sa.Column(name, Moment, nullable=True)


def _real(name: str) -> "sa.Column[float]":
    return sa.Column(name, real(), nullable=False)


def _json(name: str) -> "sa.Column[object]":
    return sa.Column(name, Json, nullable=False)


def _of(name: str, target: str, *, cascade: bool = False) -> "sa.Column[str]":
    return sa.Column(
        name, sa.Text, sa.ForeignKey(f"{target}.id", ondelete="CASCADE" if cascade else None), nullable=False
    )


users = _table(
    "users",
    _key(),
    _text("email"),
    _text("password_hash"),
    sa.Column("operator", Flag, nullable=False),
    sa.Column("disabled", Flag, nullable=False),
    _moment("created_at"),
    _real("valid_from"),
    _whole("generation"),
    _maybe_moment("updated_at"),
    sa.UniqueConstraint("email"),
)

settings = _table("settings", sa.Column("key", sa.Text, primary_key=True), _text("value"))

projects = _table(
    "projects",
    _key(),
    _text("name"),
    _text("description"),
    _moment("created_at"),
    _whole("generation"),
    _maybe_moment("updated_at"),
    sa.Column("deleting", Flag, nullable=False),
    sa.UniqueConstraint("name"),
)

members = _table(
    "members",
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    _text("role"),
    _moment("created_at"),
    sa.Index(None, "user_id"),
)

families = _table(
    "families",
    _key(),
    _of("user_id", "users", cascade=True),
    _text("jti"),
    _moment("created_at"),
    _moment("expires_at"),
    sa.Column("revoked", Flag, nullable=False),
    sa.Index(None, "user_id"),
)

tokens = _table(
    "tokens",
    _key(),
    _of("user_id", "users", cascade=True),
    _text("name"),
    _text("digest"),
    _json("scopes"),
    _text("project_id"),
    _maybe_moment("expires_at"),
    _maybe_moment("last_used_at"),
    _moment("created_at"),
    sa.UniqueConstraint("digest"),
    sa.Index(None, "user_id"),
)

instances = _table(
    "instances",
    _key(),
    _text("name"),
    _whole("epoch"),
    sa.Column("online", Flag, nullable=False),
    sa.Column("last_seen", Moment, nullable=True),
    _text("agent_version"),
    _text("boot_id"),
    _json("facts"),
    _moment("created_at"),
    _json("labels"),
    sa.Column("cordoned", Flag, nullable=False),
    sa.Column("revoked", Flag, nullable=False),
    _whole("generation"),
    sa.Column("draining", Flag, nullable=False),
    sa.Column("announced", Flag, nullable=False),
    sa.UniqueConstraint("name"),
)

deployments = _table(
    "deployments",
    _key(),
    _of("project_id", "projects"),
    _text("name"),
    _text("service_id"),
    _json("config"),
    _whole("release"),
    _moment("created_at"),
    _moment("updated_at"),
    _whole("generation"),
    sa.Column("poll", Flag, nullable=False),
    _text("hook_digest"),
    _text("hook_secret"),
    sa.UniqueConstraint("project_id", "name"),
    sa.Index(None, "created_at", "id"),
)

releases = _table(
    "releases",
    _key(),
    _of("deployment_id", "deployments", cascade=True),
    _whole("number"),
    _json("config"),
    _text("commit_id"),
    _text("state"),
    _text("reason"),
    _text("message"),
    _moment("created_at"),
    _moment("changed_at"),
    _whole("build_of"),
    _text("archive"),
    _text("cause"),
    _json("decided"),
    sa.Column("pinned", Flag, nullable=False),
    sa.UniqueConstraint("deployment_id", "number"),
    sa.Index(None, "archive"),
    sa.Index(None, "state"),
)

services = _table(
    "services",
    _key(),
    _of("deployment_id", "deployments", cascade=True),
    _of("project_id", "projects"),
    _text("name"),
    _of("instance_id", "instances"),
    _text("run"),
    _whole("restart"),
    _whole("generation"),
    _whole("acknowledged"),
    _text("observed"),  # as JSON, read by services.py
    sa.Column("reported_at", Moment, nullable=True),
    _moment("created_at"),
    _moment("updated_at"),
    _text("request_id"),
    sa.UniqueConstraint("deployment_id"),
    sa.Index(None, "instance_id"),
    sa.Index(None, "name"),
    sa.Index(None, "created_at", "id"),
)

routes = _table(
    "routes",
    _key(),
    _of("project_id", "projects"),
    _of("service_id", "services", cascade=True),
    _text("domain"),
    _text("path"),
    _whole("port"),
    _text("status"),
    _text("message"),
    _moment("created_at"),
    _json("options"),
    _whole("generation"),
    _maybe_moment("updated_at"),
    sa.UniqueConstraint("domain", "path"),
    sa.Index(None, "service_id"),
    sa.Index(None, "created_at", "id"),
)

join_tokens = _table(
    "join_tokens", sa.Column("digest", sa.Text, primary_key=True), sa.Column("expires_at", real(), nullable=False)
)

samples = _table(
    "samples",
    sa.Column("instance_id", sa.Text, sa.ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("time", real(), nullable=False),
    _json("families"),
    _text("exposition"),
)

points = _table(
    "points",
    sa.Column("instance_id", sa.Text, sa.ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("step_s", sa.Integer, primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True),
    _real("time"),
    _whole("samples"),
    _json("numbers"),
)

audit = _table(
    "audit",
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    _moment("at"),
    _text("actor"),
    _text("actor_name"),
    _text("address"),
    _text("request_id"),
    _text("action"),
    _text("target"),
    _text("project_id"),
    _text("summary"),
    _json("data"),
    _text("previous"),
    _text("hash"),
    sa.Index(None, "project_id"),
    sa.Index(None, "target"),
)

for verb in ("UPDATE", "DELETE"):  # rows of the audit are never changed or deleted
    refusal = "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
    trigger = f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit {refusal}"
    sa.event.listen(audit, "after_create", sa.DDL(trigger).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]

events = _table(
    "events",
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    _text("type"),
    _text("project_id"),
    _text("subject"),
    _moment("at"),
    _json("data"),
    sa.Index(None, "project_id"),
)

webhooks = _table(
    "webhooks",
    _key(),
    _text("project_id"),  # empty: the whole installation
    _text("url"),
    _json("events"),
    _text("secret"),
    _text("description"),
    _text("disabled_reason"),
    _moment("created_at"),
    _moment("updated_at"),
    _whole("generation"),
    sa.Index(None, "project_id"),
    sa.Index(None, "created_at", "id"),
)

deliveries = _table(
    "deliveries",
    _key(),
    _of("webhook_id", "webhooks", cascade=True),
    _text("event_id"),
    _text("event_type"),
    _text("subject"),
    _whole("sequence"),
    _text("body"),
    _text("state"),
    _whole("attempts"),
    _real("next_at"),
    _moment("created_at"),
    _moment("changed_at"),
    sa.Index(None, "webhook_id", "subject", "sequence"),
    sa.Index(None, "state", "next_at"),
    sa.Index(None, "created_at", "id"),
)

attempts = _table(
    "attempts",
    sa.Column("delivery_id", sa.Text, sa.ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    _moment("at"),
    _whole("status"),
    _text("error"),
    _text("response"),
    _whole("duration_ms"),
)

env_changes = _table(
    "env_changes",
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    _of("service_id", "services", cascade=True),
    _moment("at"),
    _text("actor"),
    _text("key"),
    _text("action"),
    sa.Column("secret", Flag, nullable=False),
    _whole("release"),
    sa.Index(None, "service_id"),
)

leases = _table("leases", sa.Column("name", sa.Text, primary_key=True), _text("holder"), _whole("beat"))

answers = _table(
    "answers",
    sa.Column("principal", sa.Text, primary_key=True),
    sa.Column("route", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    _text("fingerprint"),
    _whole("status"),
    _json("headers"),
    _text("body"),
    _real("created_at"),
    _json("projects"),
    sa.Index(None, "created_at"),
)
