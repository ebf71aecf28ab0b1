"""Databases as other releases of MLflow leave them, made with the real migrations."""

from contextlib import closing
from pathlib import Path

import mlflow
from alembic import command
from alembic.config import Config
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

OLDER_REVISION = "89d4b8295536"


def make_older_database(uri: str) -> None:
    """Bring a new database to an early revision and give it an experiment."""
    engine = create_engine(uri, poolclass=NullPool)
    Base.metadata.create_all(engine)
    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    config = Config(migrations / "alembic.ini")
    config.set_main_option("script_location", str(migrations))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER_REVISION)
    execute(uri, "INSERT INTO experiments (experiment_id, name) VALUES (0, 'Default')")


def make_newer(uri: str) -> None:
    """Mark a database as one that a later release has upgraded."""
    execute(uri, "UPDATE alembic_version SET version_num = 'fedcba987654'")


def execute(uri: str, statement: str) -> None:
    """Change a database as somebody else."""
    with closing(create_engine(uri, poolclass=NullPool).connect()) as connection:
        connection.execute(text(statement))
        connection.commit()


def revision_of(uri: str) -> str:
    """Version of MLflow's tables."""
    with closing(create_engine(uri, poolclass=NullPool).connect()) as connection:
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")))
