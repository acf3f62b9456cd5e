"""Waivers: a check of a stage's gate that somebody let pass as it is, with the reason."""

import time

import pandas as pd
from sqlalchemy import insert, select

from recipe_core.data.condition import did_you_mean
from recipe_core.errors import BadDecision
from recipe_core.store import Store
from recipe_core.store import waivers as table

CHECKS = ("findings", "looked")  # that the gate of stage 1 makes


class Waivers:
    """The waivers of one dataset."""

    def __init__(self, store: Store, dataset: str):
        self.store = store
        self.dataset = dataset

    def waive(self, check: str, reason: str, by: str = "") -> None:
        """Let a check pass. Raises BadDecision: there is no such check, or no reason."""
        if check not in CHECKS:
            raise BadDecision(f'There is no check "{check}"; {did_you_mean(check, CHECKS, "checks")}')
        if not reason.strip():
            raise BadDecision(f'To waive "{check}" a reason is needed, which stays with it; give one.')
        row = {"dataset": self.dataset, "check": check, "reason": reason, "by": by, "at": time.time()}
        with self.store.engine.begin() as connection:
            connection.execute(insert(table).values(row))

    def all(self) -> pd.DataFrame:
        """check, reason, by, at (seconds since the epoch) of each, newest first."""
        chosen = select(table.c.check, table.c.reason, table.c.by, table.c.at).where(table.c.dataset == self.dataset)
        with self.store.engine.connect() as connection:
            rows = connection.execute(chosen.order_by(table.c.id.desc())).all()
        return pd.DataFrame(rows, columns=["check", "reason", "by", "at"])
