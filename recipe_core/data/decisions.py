"""Decisions: what people ruled on samples, by whom, when and why; nothing of it is ever deleted, only taken back.

    act = pets.decisions.decide("exclude", ["cat/7.jpg", "cat/9.jpg"], by="ann", note="a dog")
    pets.decisions.current()            # what stands now
    pets.decisions.undo(act)

A decision belongs to a sample's key and to the content of its file. Where that key is gone or has other content, the
decision follows the content, provided that no other sample had it when it was decided and exactly one has it now: a
file that was moved keeps its decision, and of two identical copies one can be excluded without the other. Of two
decisions on a sample the later act holds, whoever made it; both stay in the history.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, insert, or_, select, update

from recipe_core.data.catalog import Catalog
from recipe_core.data.condition import did_you_mean
from recipe_core.errors import BadDecision
from recipe_core.store import Store
from recipe_core.store import decided_samples as samples_table
from recipe_core.store import decisions as acts_table

RULINGS = ("keep", "exclude", "relabel", "not-a-problem")
MEMBERSHIP = {"keep": "keep", "exclude": "exclude", "relabel": "keep"}  # a sample with a new label is to be used
ACT = ("act", "at", "by", "ruling", "label", "kind", "note")

# `given` holds keys, `samples` what is there.
CONTENTS = """
    WITH found AS (SELECT samples.key, samples.content FROM samples SEMI JOIN given USING (key)),
         counted AS (SELECT content, count(*) AS samples FROM samples SEMI JOIN found USING (content) GROUP BY content)
    SELECT key, content, counted.samples = 1 AND content != '' AS "unique" FROM found JOIN counted USING (content)"""
CLOSEST = """
    SELECT samples.key FROM samples, given
    ORDER BY jaro_winkler_similarity(samples.key, given.key) DESC, samples.key LIMIT 1"""
DECIDED = {
    "decision": pa.int64(),
    "key": pa.string(),
    "content": pa.string(),
    "unique": pa.bool_(),
    "undone_by": pa.int64(),
}
# `given` holds decided samples; the answer is where each stands now, leaving out those that stand nowhere.
PLACES = """
    WITH here AS (SELECT given.* FROM given SEMI JOIN samples USING (key, content)),
         moved AS (SELECT given.* FROM given ANTI JOIN samples USING (key, content) WHERE given."unique"),
         places AS (
            SELECT content, min(key) AS key FROM samples SEMI JOIN moved USING (content)
            GROUP BY content HAVING count(*) = 1)
    SELECT decision AS act, undone_by, key AS decided_key, key FROM here
    UNION ALL
    SELECT moved.decision, moved.undone_by, moved.key, places.key FROM moved JOIN places USING (content)"""


@dataclass(frozen=True)
class _Standing:
    """What stands at one state of catalog and decisions."""

    state: tuple
    live: pd.DataFrame  # a row per act and sample, oldest act first: ACT, key (where it is now), decided_key
    current: pd.DataFrame
    columns: pa.Table | None  # what the catalog shows


class Decisions:
    """The decisions on one dataset's samples. Any number of processes may decide at once; threads may share it."""

    def __init__(self, store: Store, dataset: str, catalog: Catalog):
        self.store = store
        self.dataset = dataset
        self.catalog = catalog
        self._known: _Standing | None = None

    # Deciding

    def decide(
        self,
        ruling: str,
        keys: str | Iterable[str],
        *,
        label: str | None = None,
        kind: str = "",
        by: str = "",
        note: str = "",
    ) -> int:
        """Rule on samples in one act, and return the act's number.

        Args:
            ruling: keep, exclude, relabel or not-a-problem.
            label: the new one, of a relabel.
            kind: of a not-a-problem, the kind of findings that it speaks of; "" for all.

        Raises:
            BadDecision: no such ruling, a relabel without a label, no samples, or keys that no sample has; nothing is
                decided then.
        """
        if ruling not in RULINGS:
            raise BadDecision(f'There is no ruling "{ruling}"; {did_you_mean(ruling, RULINGS, "rulings")}')
        if ruling == "relabel" and not (label and label.strip()):
            raise BadDecision("To relabel a sample its new label is needed; give one.")
        if ruling != "relabel" and label is not None:
            raise BadDecision(f'"{ruling}" takes no label; use relabel to change one.')
        found = self._contents(_distinct(keys))
        with self.store.engine.begin() as connection:
            act = self._insert_act(connection, ruling, label=label, kind=kind, by=by, note=note)
            rows = [{"decision": act, "dataset": self.dataset, **row} for row in found.to_pylist()]
            connection.execute(insert(samples_table), rows)
        return act

    def undo(self, act: int, by: str = "") -> int:
        """Take a whole act back, and return the number of the act that does so.

        Raises:
            BadDecision: there is no such act on this dataset, or nothing of it stands any more.
        """
        with self.store.engine.begin() as connection:
            undoing = self._insert_act(connection, "undo", by=by, undoes=act)
            table = samples_table.c
            theirs = and_(table.dataset == self.dataset, table.decision == act, table.undone_by.is_(None))
            if not connection.execute(update(samples_table).where(theirs).values(undone_by=undoing)).rowcount:
                raise BadDecision(f'There is no act {act} on "{self.dataset}" that could be undone.')
        return undoing

    def undo_samples(self, ruling: str, keys: str | Iterable[str], by: str = "") -> int:
        """Take the latest such ruling on each of these samples back, where there is one; returns the act's number.

        Raises:
            BadDecision: no such ruling, keys that no sample has, or none of the samples has such a ruling.
        """
        if ruling not in RULINGS:
            raise BadDecision(f'There is no ruling "{ruling}"; {did_you_mean(ruling, RULINGS, "rulings")}')
        wanted = _distinct(keys)
        self._contents(wanted)
        live = self._standing().live
        latest = live[(live["ruling"] == ruling) & live["key"].isin(wanted)].drop_duplicates("key", keep="last")
        if latest.empty:
            raise _nothing_to_undo(self.dataset, ruling)
        table, acts = samples_table.c, latest["act"].unique()
        with self.store.engine.begin() as connection:
            undoing = self._insert_act(connection, "undo", by=by, undoes=int(acts[0]) if len(acts) == 1 else None)
            theirs = and_(table.decision == bindparam("act"), table.key == bindparam("its"), table.undone_by.is_(None))
            pairs = zip(latest["act"].tolist(), latest["decided_key"].tolist(), strict=True)
            undone = connection.execute(
                update(samples_table).where(theirs).values(undone_by=undoing),
                [{"act": act, "its": key} for act, key in pairs],
            )
            if not undone.rowcount:  # somebody else was faster
                raise _nothing_to_undo(self.dataset, ruling)
        return undoing

    # What stands

    @property
    def version(self) -> tuple:
        """Another one as soon as something else may stand: after every act, and with every other catalog."""
        return self.catalog.version, self.newest_act

    @property
    def newest_act(self) -> int | None:
        """The id of the last act, None before the first."""
        with self.store.engine.connect() as connection:
            newest = select(func.max(acts_table.c.id)).where(acts_table.c.dataset == self.dataset)
            return connection.execute(newest).scalar()

    def current(self) -> pd.DataFrame:
        """One row per sample on which a ruling stands, sorted by key.

        Columns: key; decision (what the catalog shows); membership (keep, exclude or None); label (the decided one, or
        None); not_a_problem (whatever the kind of findings); act, at, by, note (of the latest act).
        """
        return self._standing().current.copy()

    def shown(self) -> pa.Table | None:
        """What the catalog shows of it: key, decision, new_label; None where nothing stands."""
        return self._standing().columns

    def dismissed(self, kind: str) -> set[str]:
        """The samples that are not a problem as findings of this kind."""
        return set(self._dismissals(kind)["key"])

    def dismissed_together(self, kind: str) -> list[set[str]]:
        """The samples that were named together in an act as not a problem of this kind ("not a duplicate")."""
        groups = (set(keys) for _, keys in self._dismissals(kind).groupby("act")["key"])
        return [keys for keys in groups if len(keys) > 1]

    # What was done

    def history(self, limit: int = 50, offset: int = 0) -> pd.DataFrame:
        """Acts, newest first.

        Columns: act, at, by, ruling, label, kind, note, undoes; samples (how many), first_key; undone (all of it).
        """
        return self._told(lambda mine: mine.order_by(acts_table.c.id.desc()).limit(limit).offset(offset))

    def act(self, number: int) -> dict:
        """One act, as the history has it. Raises BadDecision: this dataset has none of that number."""
        told = self._told(lambda mine: mine.where(acts_table.c.id == number))
        if told.empty:
            raise BadDecision(f'There is no act {number} on "{self.dataset}".')
        return told.iloc[0].to_dict()

    def of(self, key: str) -> pd.DataFrame:
        """The acts that concern a sample, newest first: act, at, by, ruling, label, kind, note, undone.

        Raises:
            BadDecision: no sample has this key.
        """
        content = self._contents([key])["content"][0].as_py()
        table = samples_table.c
        rows = self._decided(or_(table.key == key, and_(table.content == content, table.unique)))
        rows = rows[rows["key"] == key].sort_values("act", ascending=False)
        return rows.assign(undone=rows["undone_by"].notna())[[*ACT, "undone"]].reset_index(drop=True)

    # How it is known

    def _contents(self, keys: Sequence[str]) -> pa.Table:
        """key, content, unique of each of these samples. Raises BadDecision."""
        try:
            given = pa.table({"key": pa.array(keys, pa.string())})
        except (pa.ArrowException, UnicodeEncodeError) as problem:
            raise BadDecision("A sample is named by its key, a text, as the catalog's column key has it.") from problem
        if not keys:
            raise BadDecision("No samples were given; name one at least.")
        found = self.catalog.compare(given, CONTENTS)
        if found is None:
            raise BadDecision(f'"{self.dataset}" has no samples yet; scan it first, or wait for its scan.')
        if found.num_rows < len(keys):
            raise self._unknown(keys, set(found["key"].to_pylist()))
        if not self.catalog.is_finished:  # what else has this content is not known before the scan's end
            found = found.set_column(2, "unique", pa.array([False] * len(keys)))
        return found

    def _unknown(self, keys: Sequence[str], known: set[str]) -> BadDecision:
        unknown = [key for key in keys if key not in known]
        closest = self.catalog.compare(pa.table({"key": unknown[:1]}), CLOSEST)
        meant = f'did you mean "{closest["key"][0]}"?' if closest else "it has none."
        of_all = f"{len(unknown):,} of the {len(keys):,} keys are no samples; the first: " if len(keys) > 1 else ""
        return BadDecision(f'{of_all}"{self.dataset}" has no sample "{unknown[0]}"; {meant} Nothing was decided.')

    def _insert_act(self, connection: Connection, ruling: str, **values: object) -> int:
        row = {"dataset": self.dataset, "ruling": ruling, "kind": "", "note": "", "at": time.time()} | values
        return connection.execute(insert(acts_table).values(row)).inserted_primary_key[0]  # type: ignore[index]

    def _standing(self) -> _Standing:
        state = self.version
        known = self._known
        if known is None or known.state != state:
            live = self._decided(samples_table.c.undone_by.is_(None)).sort_values("act")
            current = _current(live)
            known = self._known = _Standing(state, live, current, _columns(current))
        return known

    def _decided(self, condition: ColumnElement[bool]) -> pd.DataFrame:
        """The decided samples that satisfy a condition and are there now: ACT, key, decided_key, undone_by."""
        table = samples_table.c
        theirs = and_(table.dataset == self.dataset, condition)
        numbers = select(table.decision).where(theirs)
        with self.store.engine.connect() as connection:
            rows = connection.execute(select(*(table[name] for name in DECIDED)).where(theirs)).all()
            acts = _acts(connection.execute(select(acts_table).where(acts_table.c.id.in_(numbers))).all())
        columns = zip(*rows, strict=True) if rows else [()] * len(DECIDED)
        given = pa.table(
            [pa.array(values, type) for values, type in zip(columns, DECIDED.values(), strict=True)], list(DECIDED)
        )
        placed = self.catalog.compare(given, PLACES)
        if placed is None:
            return acts.iloc[:0].assign(key="", decided_key="", undone_by=None)
        return placed.to_pandas().merge(acts, on="act")

    def _told(self, choose: Callable[[Select], Select]) -> pd.DataFrame:
        """The chosen acts of this dataset with their samples counted."""
        with self.store.engine.connect() as connection:
            chosen = choose(select(acts_table).where(acts_table.c.dataset == self.dataset))
            acts = _acts(connection.execute(chosen).all())
            numbers = acts["act"].tolist()
            samples = {row.act: row for row in connection.execute(_counts(samples_table.c.decision, numbers))}
            samples |= {row.act: row for row in connection.execute(_counts(samples_table.c.undone_by, numbers))}
        of = [samples[number] for number in numbers]
        undone = pd.Series([row.undone == row.samples for row in of], dtype=bool) & (acts["ruling"] != "undo")
        return acts.assign(samples=[row.samples for row in of], first_key=[row.first for row in of], undone=undone)

    def _dismissals(self, kind: str) -> pd.DataFrame:
        live = self._standing().live
        return live[(live["ruling"] == "not-a-problem") & live["kind"].isin({kind, ""})]


def _distinct(keys: str | Iterable[str]) -> list[str]:
    return [keys] if isinstance(keys, str) else list(dict.fromkeys(keys))


def _nothing_to_undo(dataset: str, ruling: str) -> BadDecision:
    return BadDecision(f'None of these samples of "{dataset}" is ruled "{ruling}"; there is nothing to undo.')


def _acts(rows: Sequence) -> pd.DataFrame:
    told = [(row.id, row.at, row.by, row.ruling, row.label, row.kind, row.note, row.undoes) for row in rows]
    acts = pd.DataFrame(told, columns=[*ACT, "undoes"], dtype=object)  # so that None stays None
    return acts.astype({"act": "int64", "at": "float64", "undoes": "Int64"})


def _counts(act, numbers: list[int]):
    """Samples, the first of them and how many are undone, of each act."""
    table = samples_table.c
    return (
        select(
            act.label("act"),
            func.count().label("samples"),
            func.min(table.key).label("first"),
            func.count(table.undone_by).label("undone"),
        )
        .where(act.in_(numbers))
        .group_by(act)
    )


def _current(live: pd.DataFrame) -> pd.DataFrame:
    """A row per sample, of what its live acts come to."""
    newest = live.drop_duplicates("key", keep="last").set_index("key")
    members = live[live["ruling"].isin(MEMBERSHIP)].drop_duplicates("key", keep="last").set_index("key")["ruling"]
    labels = live[live["ruling"] == "relabel"].drop_duplicates("key", keep="last").set_index("key")["label"]
    current = newest.assign(
        decision=members.reindex(newest.index).fillna("not-a-problem"),
        membership=members.map(MEMBERSHIP).reindex(newest.index),
        label=labels.reindex(newest.index),
        not_a_problem=newest.index.isin(live.loc[live["ruling"] == "not-a-problem", "key"]),
    )
    names = ["decision", "membership", "label", "not_a_problem", "act", "at", "by", "note"]
    current = current[names].sort_index().reset_index()
    return current.astype({"membership": object, "label": object}).where(current.notna(), None)


def _columns(current: pd.DataFrame) -> pa.Table | None:
    if current.empty:
        return None
    names = {"key": "key", "decision": "decision", "new_label": "label"}
    return pa.table({name: pa.array(current[column], pa.string()) for name, column in names.items()})
