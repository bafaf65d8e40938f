"""Members, tokens, webhooks and events; the audit as a chain; generations of all that can be changed."""

import datetime
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from control_plane.domain import audit, values

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_answers()
    _create_events()
    _create_webhooks()
    _create_deliveries()
    _create_families()
    _create_members()
    _create_tokens()
    _create_attempts()
    _create_env_changes()
    _chain_audit()
    _add_columns()
    _list_variables("deployments")
    _list_variables("releases")


def _create_answers() -> None:
    op.create_table(
        "answers",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double().with_variant(sa.REAL(), "sqlite"), nullable=False),
        sa.Column("projects", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("principal", "route", "key", name="pk_answers"),
        sqlite_strict=True,
    )
    op.create_index("ix_answers_created_at", "answers", ["created_at"], unique=False)


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_events"),
        sa.UniqueConstraint("id", name="uq_events_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_events_project_id", "events", ["project_id"], unique=False)


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sqlite_strict=True,
    )
    op.create_index("ix_webhooks_created_at_id", "webhooks", ["created_at", "id"], unique=False)
    op.create_index("ix_webhooks_project_id", "webhooks", ["project_id"], unique=False)


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Double().with_variant(sa.REAL(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name="fk_deliveries_webhook_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sqlite_strict=True,
    )
    op.create_index("ix_deliveries_created_at_id", "deliveries", ["created_at", "id"], unique=False)
    op.create_index("ix_deliveries_state_next_at", "deliveries", ["state", "next_at"], unique=False)
    op.create_index(
        "ix_deliveries_webhook_id_subject_sequence", "deliveries", ["webhook_id", "subject", "sequence"], unique=False
    )


def _create_families() -> None:
    op.create_table(
        "families",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("revoked", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_families_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_families"),
        sqlite_strict=True,
    )
    op.create_index("ix_families_user_id", "families", ["user_id"], unique=False)


def _create_members() -> None:
    op.create_table(
        "members",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_members_project_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_members_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project_id", "user_id", name="pk_members"),
        sqlite_strict=True,
    )
    op.create_index("ix_members_user_id", "members", ["user_id"], unique=False)


def _create_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=True),
        sa.Column("last_used_at", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_tokens_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
        sqlite_strict=True,
    )
    op.create_index("ix_tokens_user_id", "tokens", ["user_id"], unique=False)


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name="fk_attempts_delivery_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", "number", name="pk_attempts"),
        sqlite_strict=True,
    )


def _create_env_changes() -> None:
    op.create_table(
        "env_changes",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("secret", sa.Integer(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name="fk_env_changes_service_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sequence", name="pk_env_changes"),
        sqlite_strict=True,
    )
    op.create_index("ix_env_changes_service_id", "env_changes", ["service_id"], unique=False)


def _chain_audit() -> None:
    """The table anew, because its rows get their place in the chain, oldest first."""
    old = op.get_bind().exec_driver_sql("SELECT at, actor, action, target, data FROM audit ORDER BY sequence").all()
    op.drop_table("audit")
    new = _create_audit()
    previous = audit.GENESIS
    for sequence, row in enumerate(old, 1):
        at = datetime.datetime.fromisoformat(row.at)
        data = json.loads(row.data)
        entry = values.AuditEntry(at, row.actor, "", "", "", row.action, row.target, "", "", data)
        linked = audit.linked(entry, sequence, previous)
        previous = linked.hash
        stored = {name: getattr(linked, name) for name in new.c.keys()} | {"at": row.at, "data": row.data}  # noqa: SIM118
        op.get_bind().execute(sa.insert(new).values(stored))
    for verb in ("UPDATE", "DELETE"):
        refusal = "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
        op.execute(f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit {refusal}")


def _create_audit() -> sa.Table:
    texts = ("at", "actor", "actor_name", "address", "request_id", "action", "target", "project_id", "summary")
    made = op.create_table(
        "audit",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in (*texts, "data", "previous", "hash")),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
        sqlite_strict=True,
    )
    op.create_index("ix_audit_project_id", "audit", ["project_id"], unique=False)
    op.create_index("ix_audit_target", "audit", ["target"], unique=False)
    return made


def _list_variables(table: str) -> None:
    """The environment was an object of texts; now each variable says whether it is a secret."""
    for row in op.get_bind().exec_driver_sql(f"SELECT id, config FROM {table}").all():  # noqa: S608 - our own names
        config: dict[str, Any] = json.loads(row.config)
        config["env"] = [{"key": key, "value": text, "secret": False} for key, text in sorted(config["env"].items())]
        statement = sa.text(f"UPDATE {table} SET config = :config WHERE id = :id")  # noqa: S608
        op.get_bind().execute(statement, {"config": json.dumps(config), "id": row.id})


def _add_columns() -> None:
    with op.batch_alter_table("deployments") as batch:
        batch.add_column(sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("poll", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("hook_digest", sa.Text(), nullable=False, server_default=""))
        batch.add_column(sa.Column("hook_secret", sa.Text(), nullable=False, server_default=""))

    with op.batch_alter_table("instances") as batch:
        batch.add_column(sa.Column("labels", sa.Text(), nullable=False, server_default="{}"))
        batch.add_column(sa.Column("cordoned", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("revoked", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("draining", sa.Integer(), nullable=False, server_default="0"))

    with op.batch_alter_table("projects") as batch:
        batch.add_column(sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("updated_at", sa.Text(), nullable=True))
        batch.add_column(sa.Column("deleting", sa.Integer(), nullable=False, server_default="0"))

    with op.batch_alter_table("releases") as batch:
        batch.add_column(sa.Column("build_of", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("archive", sa.Text(), nullable=False, server_default=""))
        batch.add_column(sa.Column("cause", sa.Text(), nullable=False, server_default=""))
        batch.create_index("ix_releases_archive", ["archive"], unique=False)
        batch.create_index("ix_releases_state", ["state"], unique=False)

    with op.batch_alter_table("routes") as batch:
        batch.add_column(sa.Column("options", sa.Text(), nullable=False, server_default="{}"))
        batch.add_column(sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("updated_at", sa.Text(), nullable=True))

    with op.batch_alter_table("services") as batch:
        batch.add_column(sa.Column("request_id", sa.Text(), nullable=False, server_default=""))

    with op.batch_alter_table("users") as batch:
        batch.add_column(
            sa.Column("valid_from", sa.Double().with_variant(sa.REAL(), "sqlite"), nullable=False, server_default="0")
        )
        batch.add_column(sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("updated_at", sa.Text(), nullable=True))
