"""Conditions: what SQL can say of one row is answered as pandas would; all else is refused in one sentence."""

import pyarrow as pa
import pytest
from catalog_helpers import columns, write_catalog

from recipe_core import settings
from recipe_core.data.condition import MAX_LENGTH
from recipe_core.data.selection import Selection
from recipe_core.errors import BadQuery


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return write_catalog(tmp_path_factory.mktemp("pets"), columns())


@pytest.fixture(scope="module")
def frame():
    return pa.table(columns()).to_pandas()


def count(catalog, where):
    return catalog.count(Selection(where=where))


VALID = {
    "label = 'cat' and width < 16": "label == 'cat' and width < 16",
    "LABEL = 'cat' OR Width >= 32": "label == 'cat' or width >= 32",
    "not (label = 'cat') -- a remark": "label.notna() and label != 'cat'",
    "label /* in the middle */ is null": "label.isna()",
    "label in ('dog', 'Ätna')": "label in ['dog', 'Ätna']",
    "age between 3 and 9": "3 <= age <= 9",
    "age is not null and age % 2 = 0": "age.notna() and age % 2 == 0",
    "abs(age - 40) * 2 <= 10": "abs(age - 40) * 2 <= 10",
    "lower(note) like '%eye%'": "note in ['left Eye', 'right eye']",
    "note ilike 'LEFT%'": "note == 'left Eye'",
    "regexp_matches(note, '^r.*e$')": "note == 'right eye'",
    "contains(key, '/00')": "key.str.contains('/00', regex=False)",
    "case when width = 8 then true else age > 50 end": "width == 8 or age > 50",
    "coalesce(age, 99) = 99": "age.isna()",
    '"a.b" > 3 and "naïve ü" < 0.5': "`a.b` > 3 and `naïve ü` < 0.5",
    '"say ""hi"", you desc" = 2': '`say "hi", you desc` == 2',
    "captured_at >= date '2020-01-05'": "captured_at >= '2020-01-05'",
    "captured_at + interval 1 day < timestamp '2020-01-05'": "captured_at < '2020-01-04'",
    "hour(captured_at) = 3 and year(captured_at) = 2020": "captured_at.dt.hour == 3",
    "width::varchar = '8'": "width == 8",
    "try_cast(note as integer) is null": "key == key",
    "readable": "readable == True",
    "list_contains(phash_turned, 'ab')": "key == key",
    "((((((width = 8))))))": "width == 8",
    "width in (" + ",".join(map(str, range(9, 1500))) + ")": "width > 8",
}


@pytest.mark.parametrize("where", VALID, ids=lambda where: where[:40])
def test_a_condition_selects_what_pandas_selects(catalog, frame, where):
    found = set(catalog.rows(Selection(where=where))["key"])
    assert found == set(frame.query(VALID[where], engine="python")["key"])


REFUSED = {
    "statements": [
        "select 1",
        "drop table catalog",
        "width > 1; drop table catalog",
        "width > 1;",
        "copy catalog to 'x'",
    ],
    "settings": [
        "set threads = 1",
        "pragma version",
        "attach 'x.db'",
        "install httpfs",
        "current_setting('threads') = 1",
    ],
    "queries of its own": [
        "exists (select 1)",
        "width in (select 1)",
        "(select true)",
        "width = any(select 1)",
        "key in (from 'x.csv')",
        "(from read_text('/etc/passwd')) is not null",
        "(values (true))",
        "key in (select content from read_text('/etc/passwd'))",
        "exists (from '/etc/passwd')",
        "exists (from glob('/*'))",
        "not exists (with x as (select 1) select * from x)",
    ],
    "escapes": [
        "1=1) or (1=1",
        "1=1) union select (1",
        "1=1 /*",
        "*/ 1=1",
        "1=1) --",
        "')' = ')' ) group by (key",
        "((1=1)",
    ],
    "aliases and lists": ["width > 1 as x", "1, 2", "*", "columns('w.*') > 3", "width > 1 order by 1", "true limit 1"],
    "other tables": [
        "catalog.width > 1",
        "other.width > 1",
        "information_schema.tables = 1",
        "duckdb_settings() is null",
    ],
    "files and surroundings": [
        "read_text('/etc/passwd') is not null",
        "read_blob('/etc/passwd') is not null",
        "glob('/*') is not null",
        "getenv('HOME') = 'x'",
        "getvariable('x') = 1",
        "nextval('x') > 1",
        "current_database() = 'memory'",
        "query('select 1') is null",
    ],
    "what runs for ever or eats memory": [
        "pg_sleep(100)",
        "sleep_ms(100)",
        "repeat('x', 1000000000) = 'x'",
        "lpad('x', 1000000000, 'x') = 'x'",
        "range(1000000000) is null",
        "generate_series(1, 1000000000) is null",
        "list_transform([1], lambda x: x) is null",
        "error('x')",
        "random() > 0.5",
    ],
    "windows and aggregates": ["row_number() over () < 9", "count(*) > 1", "sum(width) > 1", "grouping(width) = 1"],
    "placeholders": ["width > ?", "width > $1", "width > $name", "#1 > 1", "default"],
    "unknown names": ["widht > 3", '"nothing here" = 1', "file_row_number > 1", "rowid > 1", "filename = 'x'"],
    "wrong types": [
        "label",
        "width = 'abc'",
        "label + 1 > 2",
        "abs(label) > 1",
        "width::nosuchtype = 1",
        "captured_at > 3",
    ],
    "nonsense": [
        "",
        "-- nothing",
        "label =",
        "= 3",
        "label == = 'x'",
        "'unfinished",
        '"unfinished',
        "\\",
        "\0",
        "💥",
        "and",
    ],
    "surrogates": ["labell = '\udc80'", "\ud800"],
}


@pytest.mark.parametrize("where", [where for group in REFUSED.values() for where in group if where])
def test_anything_but_a_condition_is_refused_in_one_sentence(catalog, where):
    with pytest.raises(BadQuery) as caught:
        catalog.rows(Selection(where=where))
    sentence = str(caught.value)
    assert 10 < len(sentence) < 600
    assert "\n" not in sentence
    assert "Traceback" not in sentence


@pytest.mark.parametrize("where", REFUSED["queries of its own"])
def test_a_query_inside_a_condition_is_called_what_it_is(catalog, where):
    with pytest.raises(BadQuery, match="cannot hold a query of its own"):
        catalog.rows(Selection(where=where))


def test_no_condition_selects_everything(catalog, frame):
    assert count(catalog, "") == count(catalog, " \n ") == len(frame)


def test_bytes_that_are_no_utf_8_are_compared_and_found_nowhere(catalog):
    assert count(catalog, "label = '\udc80'") == 0


def test_a_wrong_name_is_answered_with_the_right_ones(catalog):
    with pytest.raises(BadQuery, match="did you mean brightness"):
        count(catalog, "brightnes > 3")
    with pytest.raises(BadQuery, match="the columns are key, label") as caught:
        count(catalog, "qqqqqq > 3")
    assert "_token" not in str(caught.value)


def test_a_condition_has_a_length(catalog):
    with pytest.raises(BadQuery, match="100,001 characters"):
        count(catalog, "x" * 100_001)
    long = "width = 8 or " * (MAX_LENGTH // 13 - 1) + "width = 8"
    assert count(catalog, long) == count(catalog, "width = 8")


@pytest.mark.parametrize("levels", [10, 100, 300, 450, 900, 2000])
@pytest.mark.parametrize(
    "shape", ["(|1=1|)", "not |true|", "abs(|1|)", "1+|1|", "- |1|", "case when |true| then true end"]
)
def test_deep_nesting_is_answered_or_refused_but_never_fatal(catalog, shape, levels):
    before, core, after = shape.split("|")
    where = before * levels + core + after * levels
    if core == "1":
        where += " > 0"
    try:
        count(catalog, where)
    except BadQuery as problem:
        assert levels > 100
        assert "\n" not in str(problem)


def test_a_condition_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    large = write_catalog(tmp_path, {"key": [f"{number}" for number in range(200_000)]})
    monkeypatch.setattr(settings, "QUERY_SECONDS", 0.3)
    with pytest.raises(BadQuery, match="stopped after"):
        count(large, " or ".join(f"regexp_matches(key || key, '[{n}a]+.*x{n}')" for n in range(150)))
    assert count(large, "key = '7'") == 1
