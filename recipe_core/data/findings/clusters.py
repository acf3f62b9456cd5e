"""Findings that speak of clusters of samples: duplicates, leaks between the splits, labels that disagree.

Samples with the same pixels are one content; near-duplicate pairs link contents; what is linked is a cluster. A content
of 50,000 copies has 49,999 links, from its first sample to each other one, never all pairs.
"""

import json
from dataclasses import dataclass
from functools import cached_property

import duckdb
import numpy as np
import pandas as pd

from recipe_core.data.findings.cluster_words import counted, majority, message, named, of_all_samples_first
from recipe_core.data.findings.finding import CLUSTERED, Finding, Summary
from recipe_core.data.findings.implied import implied
from recipe_core.data.findings.integrity import BLANK
from recipe_core.data.findings.rulings import Rulings

SHOWN_LINKS = 100  # links whose difference stands in a finding's evidence
PAIRED = 60  # samples of a near duplicate up to which all its pairs are listed, those that are implied, too
DUPLICATES = ("exact_duplicate", "near_duplicate")  # a pair that is no duplicate is no leak and no conflict either

# Blanks have a finding of their own: of any colour there are many, and only the same file is the same blank.
ALONE = f"CASE WHEN {BLANK} THEN byte_hash END"
CONTENTS = f"""CREATE TEMP TABLE contents AS
    WITH counted AS (
        SELECT pixel_hash, width, height, {ALONE} AS alone, count(*) AS copies FROM samples WHERE readable GROUP BY ALL)
    SELECT pixel_hash, width, height, alone,
        row_number() OVER (ORDER BY pixel_hash, width, height, alone) - 1 AS content
    FROM counted WHERE copies > 1 OR pixel_hash IN (SELECT a FROM pairs UNION SELECT b FROM pairs)"""
# Within a content the samples with a label and a split come first, so that what disagrees is linked directly.
MEMBERS = f"""SELECT content, key, label, split, byte_hash, {BLANK} AS blank
    FROM (SELECT *, {ALONE} AS alone FROM samples WHERE readable) AS seen JOIN contents
        ON seen.pixel_hash = contents.pixel_hash AND seen.width = contents.width AND seen.height = contents.height
        AND seen.alone IS NOT DISTINCT FROM contents.alone
    ORDER BY content, label IS NULL, split IS NULL, key"""
EDGES = """SELECT x.content AS a, y.content AS b, subkind, similarity, distance, evidence
    FROM pairs JOIN contents AS x ON a = x.pixel_hash JOIN contents AS y ON b = y.pixel_hash
    ORDER BY similarity DESC, x.content, y.content"""


@dataclass(frozen=True)
class Members:
    """The samples that have a duplicate, sorted by content, and the near pairs of contents, most similar first.

    Contents count from 0; labels and splits are texts, or None.
    """

    keys: np.ndarray
    content: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    byte_hashes: np.ndarray
    blank: np.ndarray
    edges: pd.DataFrame  # a, b (contents), subkind, similarity, distance, evidence

    @classmethod
    def find(cls, tables: duckdb.DuckDBPyConnection) -> "Members":
        tables.execute(CONTENTS)
        found = tables.execute(MEMBERS).fetch_df()
        key, label, split, byte_hash = (found[name].to_numpy(object) for name in ("key", "label", "split", "byte_hash"))
        content, blank = found["content"].to_numpy(int), found["blank"].to_numpy(bool)
        return cls(key, content, label, split, byte_hash, blank, tables.execute(EDGES).fetch_df())

    @classmethod
    def none(cls) -> "Members":
        texts = np.array([], object)
        edges = pd.DataFrame({name: [] for name in ("a", "b", "subkind", "similarity", "distance", "evidence")})
        return cls(texts, np.array([], int), texts, texts, texts, np.array([], bool), edges)

    @property
    def contents(self) -> int:
        return int(self.content[-1]) + 1 if len(self.content) else 0


@dataclass(frozen=True)
class Links:
    """Pairs of samples, as positions among the members; `edge` is the near pair behind a link, -1 between copies."""

    left: np.ndarray
    right: np.ndarray
    edge: np.ndarray

    def where(self, wanted: np.ndarray) -> "Links":
        return Links(self.left[wanted], self.right[wanted], self.edge[wanted])


class Clusters:
    """The clusters at one threshold and one state of the decisions."""

    def __init__(self, members: Members, rulings: Rulings, threshold: float | None = None):
        """With a threshold, near pairs that are less similar are none."""
        from scipy.sparse import coo_matrix  # slow to import, and every command imports this file
        from scipy.sparse.csgraph import connected_components

        self.members, self.rulings = members, rulings
        edges = members.edges if threshold is None else members.edges[members.edges["similarity"] >= threshold]
        self.edges = edges.reset_index(drop=True)
        ends = (self.edges["a"].to_numpy(int), self.edges["b"].to_numpy(int))
        graph = coo_matrix((np.ones(len(ends[0]), bool), ends), shape=(members.contents,) * 2)
        self._of_content = connected_components(graph, directed=False)[1].astype(int)
        self._component = self._of_content[members.content]
        self._by_component = np.argsort(self._component, kind="stable")
        self._links = self._linked(np.ones(len(members.keys), bool))
        self._found: dict[str, pd.DataFrame] = {}

    # The findings of one kind

    def summaries(self) -> list[Summary]:
        return [
            Summary(kind, str(subkind), len(groups), int(groups["samples"].sum()), int(groups["undecided"].sum()))
            for kind in CLUSTERED
            for subkind, groups in self.found(kind).groupby("subkind")
        ]

    def page(
        self,
        kind: str,
        subkind: str | None = None,
        undecided_only: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Finding]:
        """The findings of a kind, worst first."""
        groups = self.found(kind)
        groups = groups[_wanted(groups, subkind, undecided_only)]
        shown = groups.iloc[offset : None if limit is None else offset + limit]
        return [self._finding(kind, row) for row in shown.itertuples()]

    def found(self, kind: str) -> pd.DataFrame:
        """The findings of a kind, worst first: group (content or component), subkind, score, samples, undecided."""
        if kind not in self._found:
            links = self._of_kind(kind, self._links, self.members.labels)
            group, score = self._group(kind, links), self._similarity(links)
            table = pd.DataFrame({"group": group, "subkind": self._subkinds(kind, links), "score": score})
            # Of a group's subkinds the commonest names it, of those equally common the surest.
            named = table.groupby(["group", "subkind"])["score"].agg(["size", "max"]).reset_index()
            named = named.sort_values(["size", "max"], ascending=False, kind="stable").drop_duplicates("group")
            found = named.set_index("group")[["subkind"]].assign(score=table.groupby("group")["score"].max())
            sizes = np.bincount(self._group_of_member(kind), minlength=1)
            found = found.reset_index().assign(samples=lambda groups: sizes[groups["group"]])
            found["undecided"] = found["group"].isin(self._undecided(kind))
            found = found.sort_values(["score", "samples", "group"], ascending=[False, False, True])
            self._found[kind] = found.reset_index(drop=True)
        return self._found[kind]

    # All kinds joined: each cluster once

    def count(self, kind: str | None = None, subkind: str | None = None, undecided_only: bool = False) -> int:
        """How many clusters there are; with a kind, those that such a finding speaks of."""
        return len(self._chosen(kind, subkind, undecided_only))

    def joined(
        self,
        kind: str | None = None,
        subkind: str | None = None,
        undecided_only: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Finding]:
        """The clusters, each as its most harmful finding, worst first: leaks and conflicts, then duplicates.

        Its evidence has all its kinds and its pairs all that links its samples.
        """
        chosen = self._chosen(kind, subkind, undecided_only)
        shown = chosen.iloc[offset : None if limit is None else offset + limit]
        return [self._finding(row.kind, row, joined=True) for row in shown.itertuples()]

    def samples(
        self, kind: str | None = None, subkind: str | None = None, undecided_only: bool = False
    ) -> pd.DataFrame:
        """The samples of these clusters: key, cluster (a number)."""
        of_chosen = np.isin(self._component, self._chosen(kind, subkind, undecided_only)["group"])
        return pd.DataFrame({"key": self.members.keys[of_chosen], "cluster": self._component[of_chosen]})

    def pairs(self) -> pd.DataFrame:
        """The near pairs of contents, most similar first, by their first samples: a < b (keys), subkind, similarity."""
        first = self.members.keys[np.unique(self.members.content, return_index=True)[1]]
        left, right = (first[self.edges[end].to_numpy(int)] for end in ("a", "b"))
        ends = {"a": np.where(left < right, left, right), "b": np.where(left < right, right, left)}
        return self.edges[["subkind", "similarity"]].assign(**ends)

    def _chosen(self, kind: str | None, subkind: str | None, undecided_only: bool) -> pd.DataFrame:
        if kind is None:
            return self._joint[_wanted(self._joint, None, undecided_only)]
        of_kind = self._findings_of_components[self._findings_of_components["kind"] == kind]
        chosen = of_kind.loc[_wanted(of_kind, subkind, undecided_only), "group"]
        return self._joint[self._joint["group"].isin(chosen)]

    @cached_property
    def _findings_of_components(self) -> pd.DataFrame:
        frames = []
        for rank, kind in enumerate(CLUSTERED):
            found = self.found(kind).assign(kind=kind, rank=rank)
            if kind == "exact_duplicate":
                found["group"] = self._of_content[found["group"]]
            frames.append(found)
        return pd.concat(frames)

    @cached_property
    def _joint(self) -> pd.DataFrame:
        everything = self._findings_of_components
        undecided = everything.groupby("group")["undecided"].any()
        ranked = everything.sort_values(["rank", "score"], ascending=[True, False], kind="stable")
        joint = ranked.drop_duplicates("group").set_index("group")
        joint = joint.assign(undecided=undecided, samples=np.bincount(self._component, minlength=1)[joint.index])
        worst_first = {"rank": True, "score": False, "samples": False, "group": True}
        return joint.reset_index().sort_values(list(worst_first), ascending=list(worst_first.values()))

    # Links

    def _linked(self, there: np.ndarray) -> Links:
        """How the members that are there are linked: copies with the first of their content, firsts by near pairs."""
        first = np.full(self.members.contents, -1)
        at = np.flatnonzero(there)
        first[self.members.content[at][::-1]] = at[::-1]  # the last assignment holds: the first member
        copies = at[first[self.members.content[at]] != at]
        left, right = first[self.edges["a"].to_numpy(int)], first[self.edges["b"].to_numpy(int)]
        near = np.flatnonzero((left >= 0) & (right >= 0))
        return Links(
            np.concatenate([first[self.members.content[copies]], left[near]]),
            np.concatenate([copies, right[near]]),
            np.concatenate([np.full(len(copies), -1), near]),
        )

    def _of_kind(self, kind: str, links: Links, labels: np.ndarray) -> Links:
        """The links that make a finding of this kind."""
        if kind == "exact_duplicate":
            return links.where(links.edge < 0)
        if kind == "near_duplicate":
            return links.where(links.edge >= 0)
        codes = pd.factorize(self.members.splits if kind == "split_leak" else labels)[0]
        left, right = codes[links.left], codes[links.right]
        # Blanks are alike without being the same picture.
        return links.where((left != right) & (left >= 0) & (right >= 0) & ~self.members.blank[links.left])

    def _undecided(self, kind: str) -> np.ndarray:
        """The groups that have a link on which nobody has ruled yet."""
        keys, rulings = self.members.keys, self.rulings
        if rulings.is_empty:
            return self._group(kind, self._of_kind(kind, self._links, self.members.labels))
        links = self._of_kind(kind, self._links_left, self._labels_now)
        kept = self._kept[links.left] & self._kept[links.right]
        links = links.where(~kept)
        dismissed = rulings.dismissed_pairs({*DUPLICATES, kind}, keys[links.left], keys[links.right])
        return self._group(kind, links.where(~dismissed))

    @cached_property
    def _links_left(self) -> Links:
        return self._linked(~pd.Series(self.members.keys).isin(self.rulings.excluded).to_numpy())

    @cached_property
    def _kept(self) -> np.ndarray:
        return pd.Series(self.members.keys).isin(self.rulings.kept).to_numpy()

    @cached_property
    def _labels_now(self) -> np.ndarray:
        keys = pd.Series(self.members.keys)
        changed = keys[keys.isin(list(self.rulings.labels))]
        labels = self.members.labels.copy()
        labels[changed.index] = changed.map(self.rulings.labels)
        return labels

    def _group_of_member(self, kind: str) -> np.ndarray:
        return self.members.content if kind == "exact_duplicate" else self._component

    def _group(self, kind: str, links: Links) -> np.ndarray:
        return self._group_of_member(kind)[links.left]

    def _similarity(self, links: Links) -> np.ndarray:
        similarity = np.ones(len(links.edge))
        near = links.edge >= 0
        similarity[near] = self.edges["similarity"].to_numpy(float)[links.edge[near]].clip(0, 1)
        return similarity

    def _subkinds(self, kind: str, links: Links) -> np.ndarray:
        if kind == "near_duplicate":
            return self.edges["subkind"].to_numpy(object)[links.edge]
        if kind == "exact_duplicate":
            hashes = self.members.byte_hashes
            differ = pd.Series(hashes[links.left] != hashes[links.right])
            some_differ = differ.groupby(self._group(kind, links)).transform("any").to_numpy(bool)
            return np.where(some_differ, "pixels", "bytes").astype(object)
        exact = pd.Series(links.edge < 0).groupby(self._group(kind, links)).transform("any").to_numpy(bool)
        return np.where(exact, "exact", "near").astype(object)

    # One finding

    def _finding(self, kind: str, row, joined: bool = False) -> Finding:
        at = self._members_of(kind if not joined else "near_duplicate", row.group)
        links = self._links_within(at)
        if not joined:
            links = self._of_kind(kind, links, self.members.labels)
        keys = self.members.keys
        near = [
            self._difference(link) for link in zip(links.left, links.right, links.edge, strict=True) if link[2] >= 0
        ]
        distances = np.append(self.edges["distance"].to_numpy(float), 0.0)[links.edge]  # of copies, -1: the last
        pairs = list(zip(links.left.tolist(), links.right.tolist(), distances.tolist(), strict=True))
        if kind == "near_duplicate" and not joined and len(at) <= PAIRED:
            of_content = pd.Series(at).groupby(self.members.content[at]).agg(list)
            pairs += implied(pairs, {copies[0]: copies for copies in of_content})
        labels, splits = (counted(texts[at]) for texts in (self.members.labels, self.members.splits))
        evidence: dict = {"labels": labels, "splits": splits, "pairs": of_all_samples_first(near)[:SHOWN_LINKS]}
        if joined:
            of = self._findings_of_components
            evidence["kinds"] = of.loc[of["group"] == row.group, "kind"].drop_duplicates().tolist()
        return Finding(
            kind=kind,
            subkind=row.subkind,
            samples=tuple(sorted(keys[at])),
            score=float(row.score),
            message=message(kind, row.subkind, len(at), labels, splits, near),
            pairs=tuple((keys[left], keys[right], distance) for left, right, distance in pairs),
            suggested_label=majority(labels) if kind == "label_conflict" else None,
            evidence=evidence,
            decided=not row.undecided,
        )

    def _members_of(self, kind: str, group: int) -> np.ndarray:
        if kind == "exact_duplicate":
            return np.arange(*np.searchsorted(self.members.content, [group, group + 1]))
        sorted_by = self._component[self._by_component]
        return np.sort(self._by_component[slice(*np.searchsorted(sorted_by, [group, group + 1]))])

    def _links_within(self, at: np.ndarray) -> Links:
        first, last = np.searchsorted(self._link_groups, [self._component[at[0]], self._component[at[0]] + 1])
        links = self._links.where(self._links_by_component[first:last])
        return links.where(np.isin(links.left, at) & np.isin(links.right, at))

    @cached_property
    def _links_by_component(self) -> np.ndarray:
        return np.argsort(self._component[self._links.left], kind="stable")

    @cached_property
    def _link_groups(self) -> np.ndarray:
        return self._component[self._links.left][self._links_by_component]

    def _difference(self, link: tuple[int, int, int]) -> dict:
        """How the two samples of a near link differ."""
        left, right, edge = link
        pair = self.edges.iloc[edge]
        told = {"a": self.members.keys[left], "b": self.members.keys[right], "subkind": pair["subkind"]}
        told |= {"similarity": float(pair["similarity"]), "distance": float(pair["distance"])}
        return told | named(json.loads(pair["evidence"] or "{}"), told["a"], told["b"])


def _wanted(groups: pd.DataFrame, subkind: str | None, undecided_only: bool) -> pd.Series:
    wanted = pd.Series(True, groups.index)
    if subkind is not None:
        wanted &= groups["subkind"] == subkind
    return wanted & groups["undecided"] if undecided_only else wanted
