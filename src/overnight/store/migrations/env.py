"""What Alembic runs to upgrade a database; `migrate` hands over the open transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
