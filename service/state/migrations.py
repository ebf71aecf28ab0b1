"""The steps from one version of the tables to the next, each as it was when it was released.

A step repeats what it makes instead of importing it: the tables go on changing, the step must not.
"""

from collections.abc import Callable

from sqlalchemy import BigInteger, Column, Connection, MetaData, String, Table, Text

Migration = Callable[[Connection], None]


def add_drift_samples(connection: Connection) -> None:
    """Version 2 remembers what drift detection said over time."""
    Table(
        "drift_samples",
        MetaData(),
        Column("scope", String, primary_key=True),
        Column("model_name", String, primary_key=True),
        Column("tick", BigInteger, primary_key=True),
        Column("content", Text, nullable=False),
    ).create(connection)
