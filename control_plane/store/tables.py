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
    sa.UniqueConstraint("email"),
)

settings = _table("settings", sa.Column("key", sa.Text, primary_key=True), _text("value"))

projects = _table(
    "projects", _key(), _text("name"), _text("description"), _moment("created_at"), sa.UniqueConstraint("name")
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
    sa.UniqueConstraint("deployment_id", "number"),
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
    _json("observed"),
    sa.Column("reported_at", Moment, nullable=True),
    _moment("created_at"),
    _moment("updated_at"),
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

audit = _table(
    "audit",
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    _moment("at"),
    _text("actor"),
    _text("action"),
    _text("target"),
    _json("data"),
)
