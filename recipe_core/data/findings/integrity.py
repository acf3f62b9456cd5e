"""Findings that one row of the catalog shows by itself: broken, misnamed, blank and poor pictures.

Each is a rule over the catalog's columns, so that they are found while the scan still runs, and a page of them among
millions costs one query. What counts as dark, bright, blurred, tiny or oddly shaped is bounded twice: by what it is for
any picture, and by what is usual in this dataset, so that a dataset of night shots is not all dark.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from recipe_core.data.findings.finding import Finding, Summary
from recipe_core.data.findings.rulings import Rulings

USUAL_SAMPLES = 20  # readable pictures from which on a dataset's own distribution counts
SMALLEST_SHARP = 16  # px: a smaller picture has no detail to lose

# Measures. Light and shade reach as far as one standard deviation around the mean.
LIGHT = "(brightness + contrast)"
SHADE = "(255 - (brightness - contrast))"
# Sharpness grows with the square of the contrast: without it a foggy picture would count as blurred. White noise has
# 20, photographs 0.05 to 5.
DETAIL = "(sharpness / (contrast * contrast))"
SIDE = "sqrt(width * height::DOUBLE)"
# Spread of the opponent colours: what Hasler and Süsstrunk's colourfulness holds beside the mean colour.
TINTS = "(colourfulness - 0.3 * sqrt(pow(red - green, 2) + pow((red + green) / 2 - blue, 2)))"
# One even colour, maybe with the noise of a sensor or of compression. Something small on an even ground has far less
# entropy for its contrast than noise has; something faint but real varies slowly, so has less detail than noise.
BLANK = f"""(readable AND {TINTS} < 6 AND (
    contrast < 0.3 OR contrast < 1.5 AND entropy > 0.25 * contrast
    OR contrast < 6 AND {DETAIL} > 2.5 AND entropy > 0.25 * contrast))"""
SEEN = "readable AND NOT _blank"
# No name that begins with an underscore can be a column of metadata.
SAMPLES = f"(SELECT *, {BLANK} AS _blank FROM samples)"
# What the examination found, and what the decoder complained of in the scan, where most others pass over it in silence.
DAMAGED = """(SELECT samples.*, coalesce(_score, 0.9) AS _damage, coalesce(_told, error) AS _message, _evidence
    FROM samples LEFT JOIN (
        SELECT DISTINCT ON (content) content AS _content, score AS _score, message AS _told, evidence AS _evidence
        FROM damage WHERE score IS NOT NULL) ON byte_hash = _content
    WHERE readable AND _score IS NOT NULL OR error_kind = 'damaged')"""
CORRUPT = "NOT readable AND error_kind IS DISTINCT FROM 'damaged'"
RULED = "(SELECT key, list(kind) AS _kinds FROM ruled GROUP BY key)"


@dataclass(frozen=True)
class Rule:
    """One kind and subkind as SQL over `rows`; {limit} stands for the dataset's limit of that subkind."""

    kind: str
    subkind: str
    condition: str
    score: str
    evidence: tuple[str, ...]
    message: Callable[[dict], str]
    subkind_column: str = ""  # where the subkinds are the values of a column
    rows: str = SAMPLES

    @property
    def subkind_sql(self) -> str:
        return f"coalesce({self.subkind_column}, 'broken')" if self.subkind_column else f"'{self.subkind}'"


def _below(measure: str) -> str:
    """0.5 at the limit, 1 at nothing."""
    return f"(1 - 0.5 * {measure} / {{limit}})"


RULES = (
    Rule("corrupt", "", CORRUPT, "1.0", ("error",), lambda row: row["error"], "error_kind"),
    Rule(
        "damaged",
        "",
        "true",
        "_damage",
        ("_message", "_evidence"),
        lambda row: row["_message"],
        rows=DAMAGED,
    ),
    Rule(
        "wrong_extension",
        "",
        "misnamed",
        "0.5",
        ("extension", "format"),
        lambda row: f"The name ends in .{row['extension']}, but the file is in the format {row['format']}.",
    ),
    Rule(
        "blank",
        "",
        "_blank",
        "(1 - contrast / 12)",
        ("contrast", "brightness", "entropy"),
        lambda row: f"The picture is one even colour: its brightness varies by {row['contrast']:.1f} of 255.",
    ),
    Rule(
        "quality",
        "dark",
        f"{SEEN} AND {LIGHT} < {{limit}}",
        _below(LIGHT),
        ("brightness", "contrast"),
        lambda row: f"The picture is very dark: its mean brightness is {row['brightness']:.0f} of 255.",
    ),
    Rule(
        "quality",
        "bright",
        f"{SEEN} AND {SHADE} < {{limit}}",
        _below(SHADE),
        ("brightness", "contrast", "clipped_bright"),
        lambda row: f"The picture is very bright: its mean brightness is {row['brightness']:.0f} of 255.",
    ),
    Rule(
        "quality",
        "blurred",
        f"{SEEN} AND {DETAIL} < {{limit}} AND least(width, height) >= {SMALLEST_SHARP}",
        _below(DETAIL),
        ("sharpness", "contrast"),
        lambda row: "The picture is blurred: for its contrast it has hardly any fine detail.",
    ),
    Rule(
        "quality",
        "tiny",
        f"readable AND {SIDE} < {{limit}}",
        _below(SIDE),
        ("width", "height"),
        lambda row: f"The picture is tiny: {row['width']} x {row['height']} px.",
    ),
    Rule(
        "quality",
        "odd_shape",
        "readable AND (aspect > {wide} OR aspect < {tall})",
        "(1 - least(aspect, 1 / aspect))",
        ("width", "height", "aspect"),
        lambda row: f"The shape is odd: {row['width']} x {row['height']} px.",
    ),
)


@dataclass(frozen=True)
class Limits:
    """From where on a picture of this dataset is dark, bright, blurred, tiny or oddly shaped (wide, tall)."""

    dark: float = 60.0
    bright: float = 68.0
    blurred: float = 0.01
    tiny: float = 16.0
    wide: float = 5.0
    tall: float = 0.2

    def fill(self, rule: Rule, sql: str) -> str:
        """SQL of that rule with the limits in it."""
        return sql.format(limit=repr(getattr(self, rule.subkind, None)), wide=repr(self.wide), tall=repr(self.tall))


def find_limits(tables: duckdb.DuckDBPyConnection) -> Limits:
    """The limits of this dataset: the quarter of its pictures that is darkest (brightest, ...) tells what is usual."""
    quarters = ", ".join(f"quantile_cont({measure}, 0.25)" for measure in (LIGHT, SHADE, DETAIL, SIDE))
    shapes = "quantile_cont(aspect, [0.1, 0.9])"
    row = tables.execute(f"SELECT count(*), {quarters}, {shapes} FROM {SAMPLES} WHERE {SEEN}").fetchall()[0]
    if row[0] < USUAL_SAMPLES:
        return Limits()
    light, shade, detail, side, (narrow, wide) = row[1:]
    return Limits(
        dark=min(60.0, 0.5 * light),
        bright=min(68.0, 0.5 * shade),
        blurred=min(0.08, 0.12 * detail),
        tiny=min(128.0, 0.35 * side),
        wide=max(3.0, 1.6 * wide),
        tall=min(1 / 3, narrow / 1.6),
    )


def summaries(tables: duckdb.DuckDBPyConnection, limits: Limits, rulings: Rulings) -> list[Summary]:
    """How many samples each rule finds and how many of them are undecided."""
    found = _counts(tables, limits, "", lambda rule: "true")
    decided = {}
    if rulings.table.num_rows:
        tables.register("ruled", rulings.table)
        decided = _counts(tables, limits, f"JOIN {RULED} USING (key)", lambda rule: _is_ruled(rule.kind))
    return [
        Summary(kind, subkind, count, count, count - decided.get((kind, subkind), 0))
        for (kind, subkind), count in found.items()
    ]


def _counts(
    tables: duckdb.DuckDBPyConnection, limits: Limits, join: str, also: Callable[[Rule], str]
) -> dict[tuple[str, str], int]:
    """(kind, subkind) -> samples, where there are any; of the rules without subkinds of their own in one pass."""
    plain = [rule for rule in RULES if rule.rows == SAMPLES and not rule.subkind_column]
    counts = ", ".join(f"count(*) FILTER ({limits.fill(rule, rule.condition)} AND {also(rule)})" for rule in plain)
    counted = tables.execute(f"SELECT {counts} FROM {SAMPLES} {join}").fetchall()[0]
    found = {(rule.kind, rule.subkind): count for rule, count in zip(plain, counted, strict=True) if count}
    for rule in RULES:
        if rule not in plain:
            chosen = f"FROM {rule.rows} {join} WHERE {rule.condition} AND {also(rule)}"
            grouped = tables.execute(f"SELECT {rule.subkind_sql}, count(*) {chosen} GROUP BY 1")
            found |= {(rule.kind, subkind): count for subkind, count in grouped.fetchall()}
    return found


def _is_ruled(kind: str) -> str:
    return f"coalesce(list_has_any(_kinds, ['', '{kind}']), false)"


def page(
    tables: duckdb.DuckDBPyConnection,
    limits: Limits,
    rulings: Rulings,
    kind: str,
    subkind: str | None = None,
    undecided_only: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> list[Finding]:
    """The findings of a kind, worst first."""
    rules = [rule for rule in RULES if rule.kind == kind and (rule.subkind_column or subkind in (None, rule.subkind))]
    if not rules:
        return []
    tables.register("ruled", rulings.table)
    columns = ", ".join(dict.fromkeys(name for rule in rules for name in rule.evidence))
    conditions = [limits.fill(rule, rule.condition) for rule in rules]
    # One pass for all rules: a sample that meets several is there several times.
    met = ", ".join(
        f"CASE WHEN {condition} THEN struct_pack(rule := {number}, subkind := {rule.subkind_sql}, "
        f"score := {limits.fill(rule, rule.score)}::DOUBLE) END"
        for number, (rule, condition) in enumerate(zip(rules, conditions, strict=True))
    )
    wanted = [f"NOT {_is_ruled(kind)}"] if undecided_only else []
    wanted += ["_met.subkind = $subkind"] if subkind is not None else []
    rows = tables.execute(
        f"""SELECT key, _met.rule AS _rule, _met.subkind AS _subkind, _met.score AS _score,
            {_is_ruled(kind)} AS _decided, {columns}
        FROM (SELECT *, unnest([{met}]) AS _met FROM {rules[0].rows} WHERE {" OR ".join(conditions)})
        LEFT JOIN {RULED} USING (key) WHERE _met IS NOT NULL {"".join(f" AND {part}" for part in wanted)}
        ORDER BY _score DESC, key, _subkind LIMIT {2**62 if limit is None else int(limit)} OFFSET {int(offset)}""",
        {"subkind": subkind} if subkind is not None else None,
    )
    names = [column[0] for column in rows.description]
    found = (dict(zip(names, row, strict=True)) for row in rows.fetchall())
    return [_finding(rules[row["_rule"]], row) for row in found]


def _finding(rule: Rule, row: dict) -> Finding:
    evidence = {name: row[name] for name in rule.evidence if not name.startswith("_")}
    if row.get("_evidence"):
        evidence |= json.loads(row["_evidence"])
    score = min(max(float(row["_score"]), 0.0), 1.0)
    message = rule.message(row) or "The file cannot be read."
    return Finding(
        rule.kind, row["_subkind"], (row["key"],), score, message, evidence=evidence, decided=row["_decided"]
    )
