"""alembic's entry: runs the steps on the connection that the caller opened, in its transaction."""

from alembic import context

from order_service.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's is; the caller begins and ends the transaction
)
context.run_migrations()
