"""What was told of the presence of an instance, beside whether it is connected."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("instances") as batch:
        batch.add_column(sa.Column("announced", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE instances SET announced = online")  # until now both were told at once
