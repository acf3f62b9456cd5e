"""Looks: which samples somebody looked at, whatever came of it. The gate of stage 1 wants a share of them seen."""

import time
from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert

from recipe_core.store import Store
from recipe_core.store import looks as table


class Looks:
    """Who looked first at each sample of one dataset, and when."""

    def __init__(self, store: Store, dataset: str):
        self.store = store
        self.dataset = dataset

    def add(self, keys: Iterable[str], by: str = "") -> None:
        """Remember that these samples were looked at."""
        rows = [{"dataset": self.dataset, "key": key, "by": by, "at": time.time()} for key in keys]
        if rows:
            with self.store.engine.begin() as connection:
                connection.execute(insert(table).on_conflict_do_nothing(), rows)

    def count(self) -> int:
        """How many samples were looked at."""
        with self.store.engine.connect() as connection:
            return connection.execute(select(func.count()).where(table.c.dataset == self.dataset)).scalar_one()
