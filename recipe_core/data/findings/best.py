"""Of each cluster of duplicates the best sample: what is excluded when only that one is kept.

    plan = keep_the_best(dataset.catalog, dataset.decisions, clusters.samples())
    dataset.decide("exclude", plan.exclude)

What somebody has kept by hand stays. Else, where a cluster spans splits, the copy that is tested or validated on stays,
so that the score goes on being measured on the same pictures and training no longer sees them; then come more pixels,
colours rather than none, more bits per pixel (less compressed) and sharper edges. A cluster whose labels disagree is
left alone: which label is right cannot be seen from quality.
"""

from dataclasses import dataclass

import duckdb
import pandas as pd

from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.data.findings import tables

RANK = ["kept", "held_out", "pixels", "coloured", "bits_per_pixel", "sharpness"]  # more is better
FACTS = """
    SELECT given.cluster, key, label, split, width * height AS pixels, colourfulness > 2 AS coloured,
        bits_per_pixel, sharpness,
        CASE split WHEN 'test' THEN 2 WHEN 'val' THEN 1 ELSE 0 END AS held_out
    FROM given JOIN samples USING (key)"""


@dataclass(frozen=True)
class Plan:
    """What keeping the best of each cluster comes to.

    Attributes:
        exclude: keys, sorted.
        best: keys of what stays of the clusters that lose samples, one each (more where more were kept by hand).
        across_splits: of those clusters, how many span splits.
        conflicts: clusters left alone because their labels disagree.
    """

    exclude: tuple[str, ...]
    best: tuple[str, ...]
    across_splits: int
    conflicts: int


def keep_the_best(catalog: Catalog, decisions: Decisions, clusters: pd.DataFrame) -> Plan:
    """Plan it.

    Args:
        clusters: key and cluster of each sample.
    """
    found = tables.ask(catalog, lambda rows: _facts(rows, clusters), pd.DataFrame())
    if found.empty:
        return Plan((), (), 0, 0)
    ruled = decisions.current().set_index("key")
    membership = found["key"].map(ruled["membership"])
    decided = found["key"].map(ruled["label"]).astype(object)
    found["label"] = found["label"].astype(object).where(decided.isna(), decided)
    found["kept"] = membership == "keep"
    left = found[membership != "exclude"]
    cluster = left.groupby("cluster")
    disagrees = cluster["label"].transform("nunique") > 1
    conflicts = int(left.loc[disagrees, "cluster"].nunique())
    left = left[~disagrees].sort_values([*RANK, "key"], ascending=[*[False] * len(RANK), True])
    best = left["kept"] | ~left.duplicated("cluster")
    losing = left[~best]
    touched = left[left["cluster"].isin(losing["cluster"])]
    return Plan(
        exclude=tuple(sorted(losing["key"])),
        best=tuple(sorted(touched.loc[best, "key"])),
        across_splits=int((touched.groupby("cluster")["split"].nunique() > 1).sum()),
        conflicts=conflicts,
    )


def _facts(rows: duckdb.DuckDBPyConnection, clusters: pd.DataFrame) -> pd.DataFrame:
    rows.register("given", clusters)
    return rows.execute(FACTS).fetch_df()
