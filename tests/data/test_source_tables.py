"""CSV, TSV and Parquet as sources: columns, paths, and everything that can be broken in a row."""

import pickle
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_helpers import entries_of, keys_of, make_files, placed, problems_of

from recipe_core.data.sources import open_source, understand
from recipe_core.errors import BadSource


@pytest.fixture
def folder(tmp_path):
    return make_files(tmp_path / "set", *(f"img/{n}.jpg" for n in range(1, 10)))


def table(folder: Path, text: str | bytes, name: str = "labels.csv", columns=None):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_source(folder / name, columns)


def parquet(folder: Path, columns: dict):
    pq.write_table(pa.table(columns), folder / "labels.parquet", row_group_size=2)
    return open_source(folder / "labels.parquet")


def test_a_csv_gives_path_label_split_and_metadata(folder):
    source = table(folder, "file_name,species,subset,camera\nimg/1.jpg,cat,training,Canon\nimg/2.jpg,,dev,\n")
    first, second = entries_of(source)
    assert (first.key, first.label, first.split, first.metadata) == ("img/1.jpg", "cat", "train", {"camera": "Canon"})
    assert (second.label, second.split, second.metadata) == (None, "val", {"camera": None})
    assert first.token.startswith("9:")
    assert source.read("img/1.jpg") == b"img/1.jpg"
    understood = understand(source)
    assert understood.sentence == "table: train 1, val 1, 1 class, 1 without a class"
    assert understood.columns == {"path": "file_name", "label": "species", "split": "subset"}
    assert understood.available == ("file_name", "species", "subset", "camera")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["labels.csv", "LABELS.TSV"])
def test_the_delimiter_is_found(folder, delimiter, name):
    rows = [["path", "label", "note"], ["img/1.jpg", "cat", "a b"], ["img/2.jpg", "dog", "c d e"]]
    source = table(folder, "\r\n".join(delimiter.join(row) for row in rows), name)
    assert placed(source) == {"img/1.jpg": (None, "cat"), "img/2.jpg": (None, "dog")}


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + "path,label\nimg/1.jpg,Bär\n".encode(),
        *("path,label\nimg/1.jpg,Bär\n".encode(c) for c in ("utf-8", "utf-16")),
    ],
)
def test_byte_order_marks_and_utf16_are_understood(folder, data):
    source = table(folder, data)
    assert placed(source) == {"img/1.jpg": (None, "Bär")}
    assert source.available == ("path", "label")


def test_a_blank_after_the_separator_belongs_to_it(folder):
    assert placed(table(folder, "path, label\nimg/1.jpg, cat\n")) == {"img/1.jpg": (None, "cat")}


def test_a_table_without_a_header_is_read_from_its_first_row(folder):
    source = table(folder, "img/1.jpg,cat\nimg/2.jpg,dog\n", columns={"label": "column 2"})
    assert placed(source) == {"img/1.jpg": (None, "cat"), "img/2.jpg": (None, "dog")}


def test_columns_without_or_with_the_same_name_are_told_apart(folder):
    source = table(folder, ",path,path,\n0,img/1.jpg,x,y\n")
    assert source.available == ("column 1", "path", "column 3", "column 4")
    assert keys_of(source) == ["img/1.jpg"]


def test_the_path_column_is_the_one_whose_values_are_images(folder):
    assert keys_of(table(folder, "image_id,where\nA1,img/1.jpg\nA2,img/2.jpg\n")) == ["img/1.jpg", "img/2.jpg"]
    assert table(folder, "thumb,path\nt/1.jpg,img/1.jpg\n").columns["path"] == "path"


def test_a_split_column_of_any_name_is_known_by_its_values(folder):
    source = table(folder, "path,part,weather\nimg/1.jpg,Training,dry\nimg/2.jpg,test,train\n")
    assert source.columns["split"] == "part"
    assert table(folder, "path,part\nimg/1.jpg,train\nimg/2.jpg,cat\n").columns["split"] is None


def test_columns_can_be_given(folder):
    text = "a,b,label,c\nimg/1.jpg,img/2.jpg,x,train\n"
    assert placed(table(folder, text, columns={"path": "b", "label": "a", "split": "c"})) == {
        "img/2.jpg": ("train", "img/1.jpg")
    }
    assert placed(table(folder, text, columns={"label": None})) == {"img/1.jpg": ("train", None)}


def test_a_column_that_does_not_exist_is_answered_with_those_that_do(folder):
    with pytest.raises(BadSource) as error:
        table(folder, "path,species\nimg/1.jpg,cat\n", columns={"label": "specis"})
    assert str(error.value) == "labels.csv has no column specis, it has path, species; did you mean species?"


def test_a_table_without_paths_says_which_columns_it_has(folder):
    with pytest.raises(BadSource, match=r"no column with paths of image files \(it has id, url\); name one"):
        table(folder, "id,url\n1,https://x.org/1.jpg\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "labels.csv is empty"),
        ("\n\n", "labels.csv is empty"),
        ("path,label\n", "labels.csv has no rows"),
        ("path,label\nimg/1.jpg\n", "no rows that can be read: line 2 of labels.csv has 1 field where 2 are expected"),
        (b"p\0th,label\nimg/1.jpg,x\n", "The header of labels.csv holds NUL bytes"),
        (b"p\xffth,label\nimg/1.jpg,x\n", "The header of labels.csv holds bytes that are not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "labels.csv"),
        (b"\0" * 3_000_000, "labels.csv"),
    ],
)
def test_a_table_without_usable_rows_is_one_clear_sentence(folder, text, sentence):
    with pytest.raises(BadSource) as error:
        table(folder, text)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_rows_are_reported_with_their_line_and_cost_only_themselves(folder):
    lines = [
        b"path,label",
        b"img/1.jpg,cat",
        b"img/2.jpg",
        b"img/3.jpg,cat,dog",
        b"",
        b"img/4.jpg,\xffcat",
        b"img/5.jpg,ca\0t",
        b",cat",
        b"https://x.org/5.jpg,cat",
        b"../6.jpg,cat",
        b"img/../img/1.jpg,dog",
        b"img/none.jpg,cat",
        b"img/7.jpg,dog",
    ]
    source = table(folder, b"\n".join(lines))
    assert keys_of(source) == ["img/1.jpg", "img/none.jpg", "img/7.jpg"]
    assert [e.key for e in entries_of(source) if not e.token] == ["img/none.jpg"]
    assert problems_of(source) == [
        "line 3 of labels.csv has 1 field where 2 are expected; it was left out.",
        "line 4 of labels.csv has 3 fields where 2 are expected; it was left out.",
        "line 6 of labels.csv holds bytes that are not UTF-8; it was left out.",
        "line 7 of labels.csv holds NUL bytes; it was left out.",
        "line 8 of labels.csv has no path; it was left out.",
        "line 9 of labels.csv points to https://x.org/5.jpg, which is a web address and not a file; it was left out.",
        "line 10 of labels.csv points to ../6.jpg, which is outside the table's folder; it was left out.",
        "line 11 of labels.csv lists img/1.jpg again; it was left out.",
        "line 12 of labels.csv points to img/none.jpg, which does not exist.",
    ]


def test_broken_utf16_costs_only_its_row(folder):
    text = "path,label\nimg/1.jpg,c?t\nimg/2.jpg,dog\n".encode("utf-16-le").replace(b"?\0", b"\x00\xdc")
    source = table(folder, b"\xff\xfe" + text)
    assert keys_of(source) == ["img/2.jpg"]
    assert problems_of(source) == ["line 2 of labels.csv holds bytes that are not UTF-16; it was left out."]


def test_lines_are_counted_where_fields_hold_line_breaks(folder):
    source = table(
        folder,
        'path,note\nimg/1.jpg,"two\nlines"\r\nimg/2.jpg,"a\n\nb\n"\nimg/3.jpg\nimg/none.jpg,"x\ny"\nimg/4.jpg,z\n',
    )
    assert keys_of(source) == ["img/1.jpg", "img/2.jpg", "img/none.jpg", "img/4.jpg"]
    assert problems_of(source) == [
        "line 8 of labels.csv has 1 field where 2 are expected; it was left out.",
        "line 9 of labels.csv points to img/none.jpg, which does not exist.",
    ]
    assert entries_of(source)[0].metadata == {"note": "two\nlines"}


@pytest.mark.parametrize("rows_after", [1, 30_000])
def test_a_quote_that_never_closes_costs_only_its_line(folder, rows_after):
    text = (
        'path,label\nimg/1.jpg,cat\nimg/2.jpg,"dog\n'
        + "".join(f"img/x{n}.jpg,cat\n" for n in range(rows_after))
        + "img/3.jpg"
    )
    problems = problems_of(table(folder, text))
    assert problems[0].startswith("line 3 of labels.csv cannot be read as a row (")
    assert problems[1] == "line 4 of labels.csv points to img/x0.jpg, which does not exist."
    assert len(keys_of(table(folder, text))) == rows_after + 1


def test_html_and_quotes_in_labels_come_through_unchanged(folder):
    assert placed(table(folder, 'path,label\nimg/1.jpg,"<b>""x"",\'; DROP"\n')) == {
        "img/1.jpg": (None, '<b>"x",\'; DROP')
    }


def test_absolute_paths_are_read_if_the_table_lists_them(folder, tmp_path):
    other = make_files(tmp_path / "other", "a.jpg", "b.jpg")
    source = table(folder, f"path\n{folder}/img/1.jpg\n{other}/a.jpg\n")
    assert keys_of(source) == ["img/1.jpg", f"{other}/a.jpg"]
    for copy in (source, pickle.loads(pickle.dumps(source))):
        assert copy.read(f"{other}/a.jpg") == b"a.jpg"
        assert copy.read("img/1.jpg") == b"img/1.jpg"
        for key in (f"{other}/b.jpg", f"{other}/../other/b.jpg", "../other/a.jpg", "/etc/hostname"):
            with pytest.raises(BadSource):
                copy.read(key)


def test_paths_written_on_windows_are_found(folder):
    assert keys_of(table(folder, "path\nimg\\1.jpg\n.\\img\\2.jpg\n")) == ["img/1.jpg", "img/2.jpg"]


def test_a_row_that_names_a_folder_points_nowhere(folder):
    (entry,) = entries_of(table(folder, "path,x\nimg,1\n", columns={"path": "path"}))
    assert entry.token == ""


def test_parquet_keeps_numbers_times_and_labels_as_text(folder):
    when = datetime(2020, 1, 2, 3, 4, 5)
    columns = {
        "path": ["img/1.jpg", "img/2.jpg", "img/3.jpg"],
        "label": pa.array([3.0, None, float("nan")]),
        "split": pa.array(["test", "train", None]).dictionary_encode(),
        "n": [1, 2, None],
        "ok": [True, False, None],
        "when": pa.array([when] * 3, pa.timestamp("ns")),
        "tags": [["a"], [], None],
        "thumbnail": [b"\x89PNG", b"", None],
    }
    source = parquet(folder, columns)
    entries = entries_of(source)
    assert [(e.label, e.split) for e in entries] == [("3", "test"), (None, "train"), (None, None)]
    assert entries[0].metadata == {"n": 1, "ok": True, "when": when, "tags": "['a']"}
    assert type(entries[0].metadata["when"]) is datetime
    assert "thumbnail" not in source.available
    assert [e.label for e in parquet(folder, {"path": ["img/1.jpg"], "label": [7]}).entries([])] == ["7"]


def test_broken_rows_of_a_parquet_are_reported_with_their_number(folder):
    raw = pa.array([b"img/1.jpg", b"img/2.jpg", b"img/3.jpg", b"img/none.jpg", None, b"img/\0.jpg"]).cast(pa.string())
    labels = pa.Array.from_buffers(pa.string(), 6, pa.array([b"a", b"\xff", b"c", b"d", b"e", b"f"]).buffers())
    source = parquet(folder, {"path": raw, "label": labels, "again": labels.dictionary_encode()})
    assert keys_of(source) == ["img/1.jpg", "img/3.jpg", "img/none.jpg"]
    assert problems_of(source) == [
        "row 2 of labels.parquet holds text that is not UTF-8; it was left out.",
        "row 4 of labels.parquet points to img/none.jpg, which does not exist.",
        "row 5 of labels.parquet has no path; it was left out.",
        "row 6 of labels.parquet has a path with NUL bytes; it was left out.",
    ]


def test_times_that_python_cannot_hold_stay_text(folder):
    columns = {"path": ["img/1.jpg"], "when": pa.array([2**50], pa.timestamp("ms"))}
    (entry,) = entries_of(parquet(folder, columns))
    assert isinstance(entry.metadata["when"], str)


@pytest.mark.parametrize("data", [b"", b"PAR1 no parquet PAR1", b"PAR1"])
def test_a_corrupt_parquet_is_one_clear_sentence(folder, data):
    with pytest.raises(BadSource, match=r"labels\.parquet is not a readable Parquet file"):
        table(folder, data, "labels.parquet")


def test_a_parquet_damaged_in_the_middle_gives_the_rows_before_it(folder):
    rows = pa.table({"path": [f"img/{n}.jpg" for n in range(1, 10_001)]})
    pq.write_table(rows, folder / "labels.parquet", row_group_size=4096, use_dictionary=False)
    second = pq.read_metadata(folder / "labels.parquet").row_group(1).column(0).data_page_offset
    data = bytearray((folder / "labels.parquet").read_bytes())
    data[second : second + 20] = b"\xff" * 20  # the header of a page
    source = table(folder, bytes(data), "labels.parquet")
    assert problems_of(source)[0].startswith("labels.parquet cannot be read after row 4096 (")
    assert keys_of(source)[-1] == "img/4096.jpg"


def test_an_edited_table_asks_to_be_opened_again(folder):
    source = table(folder, "path,label\nimg/1.jpg,cat\n")
    (folder / "labels.csv").write_text("label,path\ncat,img/1.jpg\n")
    with pytest.raises(BadSource, match="have changed since it was opened"):
        entries_of(source)


def test_a_table_that_has_gone_is_one_clear_sentence(folder):
    source = table(folder, "path,label\nimg/1.jpg,cat\n")
    (folder / "labels.csv").unlink()
    with pytest.raises(BadSource, match=r"labels\.csv cannot be read: No such file"):
        entries_of(source)


def test_rows_are_read_as_they_are_asked_for(folder):
    source = table(folder, "path,label\n" + "img/1.jpg,cat\n" * 100_000)
    first = next(source.entries(problems := []))
    assert (first.key, problems) == ("img/1.jpg", [])
