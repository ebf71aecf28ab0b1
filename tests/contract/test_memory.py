"""What is remembered of the database is never older than the question."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from service.state.database import Database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def counted(asked: list[int]) -> Callable[[Connection], int]:
    def read(connection: Connection) -> int:
        asked.append(1)
        found: int = connection.exec_driver_sql("SELECT count(*) FROM keyed_values").scalar_one()
        return found

    return read


def add(file: Path, key: str) -> None:
    with sqlite3.connect(file) as other:
        other.execute("INSERT INTO keyed_values (scope, key, content) VALUES ('s', ?, x'00')", key)
    other.close()


def test_nothing_is_read_again_while_nobody_commits(file: Path) -> None:
    database = Database.open(file, 5.0)
    asked: list[int] = []

    answers = [database.remembered("rows", counted(asked)) for _ in range(3)]
    database.close()

    assert (answers, len(asked)) == ([0, 0, 0], 1)


def test_the_commit_of_another_connection_is_seen_at_once(file: Path) -> None:
    database = Database.open(file, 5.0)
    asked: list[int] = []
    answers = [database.remembered("rows", counted(asked))]
    for key in "abc":
        add(file, key)
        answers.append(database.remembered("rows", counted(asked)))
    database.close()

    assert answers == [0, 1, 2, 3]


def test_an_own_commit_is_seen_at_once(file: Path) -> None:
    database = Database.open(file, 5.0)
    before = database.remembered("rows", counted([]))
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO keyed_values VALUES ('s', 'k', x'00')")
    after = database.remembered("rows", counted([]))
    database.close()

    assert (before, after) == (0, 1)


def test_a_commit_while_the_answer_is_read_makes_the_next_one_new(file: Path) -> None:
    database = Database.open(file, 5.0)

    def read_while_another_commits(connection: Connection) -> int:
        found: int = connection.exec_driver_sql("SELECT count(*) FROM keyed_values").scalar_one()
        add(file, "a")
        return found

    first = database.remembered("rows", read_while_another_commits)
    second = database.remembered("rows", counted([]))
    database.close()

    assert (first, second) == (0, 1)


def test_few_answers_are_kept_however_many_questions_there_are(file: Path) -> None:
    database = Database.open(file, 5.0)
    asked: list[int] = []
    for number in range(1000):
        database.remembered(number, counted(asked))
    database.remembered(0, counted(asked))
    database.close()

    assert len(asked) == 1001
