"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_audit()
    _create_instances()
    _create_join_tokens()
    _create_projects()
    _create_settings()
    _create_users()
    _create_deployments()
    _create_samples()
    _create_releases()
    _create_services()
    _create_routes()


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
        sqlite_strict=True,
    )


def _create_instances() -> None:
    op.create_table(
        "instances",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("online", sa.Integer(), nullable=False),
        sa.Column("last_seen", sa.Text(), nullable=True),
        sa.Column("agent_version", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_instances"),
        sa.UniqueConstraint("name", name="uq_instances_name"),
        sqlite_strict=True,
    )


def _create_join_tokens() -> None:
    op.create_table(
        "join_tokens",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double().with_variant(sa.REAL(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_join_tokens"),
        sqlite_strict=True,
    )


def _create_projects() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
        sqlite_strict=True,
    )


def _create_settings() -> None:
    op.create_table(
        "settings",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_settings"),
        sqlite_strict=True,
    )


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("operator", sa.Integer(), nullable=False),
        sa.Column("disabled", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sqlite_strict=True,
    )


def _create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_deployments_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
        sa.UniqueConstraint("project_id", "name", name="uq_deployments_project_id_name"),
        sqlite_strict=True,
    )
    op.create_index("ix_deployments_created_at_id", "deployments", ["created_at", "id"], unique=False)


def _create_samples() -> None:
    op.create_table(
        "samples",
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("time", sa.Double().with_variant(sa.REAL(), "sqlite"), nullable=False),
        sa.Column("families", sa.Text(), nullable=False),
        sa.Column("exposition", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_samples_instance_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("instance_id", name="pk_samples"),
        sqlite_strict=True,
    )


def _create_releases() -> None:
    op.create_table(
        "releases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("commit_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name="fk_releases_deployment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
        sa.UniqueConstraint("deployment_id", "number", name="uq_releases_deployment_id_number"),
        sqlite_strict=True,
    )


def _create_services() -> None:
    op.create_table(
        "services",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("restart", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("acknowledged", sa.Integer(), nullable=False),
        sa.Column("observed", sa.Text(), nullable=False),
        sa.Column("reported_at", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name="fk_services_deployment_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_services_instance_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_services_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_services"),
        sa.UniqueConstraint("deployment_id", name="uq_services_deployment_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_services_created_at_id", "services", ["created_at", "id"], unique=False)
    op.create_index("ix_services_instance_id", "services", ["instance_id"], unique=False)
    op.create_index("ix_services_name", "services", ["name"], unique=False)


def _create_routes() -> None:
    op.create_table(
        "routes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_routes_project_id"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name="fk_routes_service_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_routes"),
        sa.UniqueConstraint("domain", "path", name="uq_routes_domain_path"),
        sqlite_strict=True,
    )
    op.create_index("ix_routes_created_at_id", "routes", ["created_at", "id"], unique=False)
    op.create_index("ix_routes_service_id", "routes", ["service_id"], unique=False)
