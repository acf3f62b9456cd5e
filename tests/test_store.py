"""The database itself, where the machine does not let it work."""

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import OperationalError

from recipe_core.errors import Unavailable
from recipe_core.store import Store, datasets

BIG = insert(datasets).values(name="big", source="x" * 1_000_000, options={}, created=0)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_full_disk_is_told_in_one_sentence_and_nothing_is_lost(store):
    full = pytest.raises(Unavailable, match=r"recipe\.db cannot be used just now \(database or disk is full\)")
    with full, store.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # as full as SQLite allows
        connection.execute(BIG)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        connection.execute(BIG)
        assert connection.exec_driver_sql("SELECT count(*) FROM datasets").scalar() == 1


def test_a_database_that_somebody_else_holds_is_told_in_one_sentence(store):
    with store.engine.begin() as holder, store.engine.connect() as waiting:
        holder.exec_driver_sql("DELETE FROM datasets")  # takes the write lock
        waiting.exec_driver_sql("PRAGMA busy_timeout=1")
        with pytest.raises(Unavailable, match="database is locked"):
            waiting.execute(BIG)


def test_a_wrong_statement_is_no_matter_of_the_machine(store):
    with store.engine.begin() as connection, pytest.raises(OperationalError, match="no such column"):
        connection.exec_driver_sql("SELECT colour FROM datasets")
