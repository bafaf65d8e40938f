"""Run by Alembic only: migrate on the connection that was handed over, or compare with it."""

from alembic import context

from control_plane.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.METADATA,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
