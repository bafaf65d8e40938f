"""Alembic's scripts: env.py runs them on the connection that store/migrate.py gives it."""
