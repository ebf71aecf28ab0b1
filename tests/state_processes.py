"""Other processes that use the state, and strangers who look into it."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[1]


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def release_together(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Let processes that are ready go on together, and return what each wrote then."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs


def query(url: str, statement: str) -> object:
    """Run a statement that gives one value, past the code under test."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            return file.execute(statement).fetchone()[0]
    with psycopg.connect(url) as server:
        row = server.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold what another writer would hold, until the block is left."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
            file.rollback()
    else:
        with psycopg.connect(url) as server:
            server.execute("LOCK TABLE snapshots, epochs, keyed_values IN EXCLUSIVE MODE")
            yield
            server.rollback()
