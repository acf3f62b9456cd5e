"""Labels that are likely wrong, by what the analysis of the embeddings left (embeddings/label_errors.py)."""

import duckdb
import pyarrow as pa

from recipe_core.data.findings.finding import Finding, Summary
from recipe_core.data.findings.integrity import RULED
from recipe_core.data.findings.rulings import Rulings

KIND = "label_error"
# From this probability on a label is a finding. Below a half: the pictures that the model cannot tell apart make the
# probabilities of real errors too low (benchmarks/labels.py).
CUT = 0.4
# The analysis speaks of a content and the label that the first of its samples has.
JUDGED = "samples JOIN label_errors ON byte_hash = content AND label = given"
DECIDED = f"coalesce(list_has_any(_kinds, ['', '{KIND}']), false)"
NEAREST = """SELECT turn, list(first.key ORDER BY place) AS keys
    FROM (SELECT turn, unnest(near) AS near, generate_subscripts(near, 1) AS place FROM shown) AS shown
    JOIN (SELECT byte_hash, min(key) AS key FROM samples GROUP BY byte_hash) AS first ON near = byte_hash
    GROUP BY turn"""


def summaries(tables: duckdb.DuckDBPyConnection, rulings: Rulings) -> list[Summary]:
    """How many labels are likely wrong."""
    tables.register("ruled", rulings.table)
    found = f"FROM {JUDGED} LEFT JOIN {RULED} USING (key) WHERE wrong > {CUT}"
    counted = tables.execute(f"SELECT count(*), count(*) FILTER (NOT {DECIDED}) {found}").fetchall()
    return [Summary(KIND, "", count, count, undecided) for count, undecided in counted if count]


def page(
    tables: duckdb.DuckDBPyConnection,
    rulings: Rulings,
    undecided_only: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> list[Finding]:
    """Some of the labels that are likely wrong, the surest first."""
    tables.register("ruled", rulings.table)
    wanted = f"AND NOT {DECIDED}" if undecided_only else ""
    rows = tables.execute(
        f"""SELECT key, given, suggested, wrong, for_given, for_suggested, {DECIDED}
        FROM {JUDGED} LEFT JOIN {RULED} USING (key) WHERE wrong > {CUT} {wanted}
        ORDER BY wrong DESC, key LIMIT {2**62 if limit is None else int(limit)} OFFSET {int(offset)}"""
    ).fetchall()
    nearest = _keys(tables, [row[4] for row in rows] + [row[5] for row in rows])
    return [
        Finding(
            KIND,
            "",
            (key,),
            wrong,
            f"The label “{given}” is likely wrong ({wrong:.0%}): by the others it is “{suggested}”.",
            suggested_label=suggested,
            evidence={
                "given_label": given,
                "for_given": nearest.get(at, []),
                "for_suggested": nearest.get(len(rows) + at, []),
            },
            decided=decided,
        )
        for at, (key, given, suggested, wrong, _, _, decided) in enumerate(rows)
    ]


def _keys(tables: duckdb.DuckDBPyConnection, contents: list[list[str] | None]) -> dict[int, list[str]]:
    """Place in the list -> the first samples that have these contents, in their order."""
    if not any(contents):
        return {}
    near = pa.array(contents, pa.list_(pa.string()))
    tables.register("shown", pa.table({"turn": list(range(len(contents))), "near": near}))
    return dict(tables.execute(NEAREST).fetchall())
