"""Zips as sources: read in place, hostile members, tables inside, many readers at once."""

import multiprocessing
import stat
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_helpers import entries_of, keys_of, make_zip, placed, problems_of

from recipe_core.data.sources import open_source, understand
from recipe_core.errors import BadSource


@pytest.fixture
def file(tmp_path):
    return tmp_path / "x.zip"


def test_a_zip_is_read_in_place(file, tmp_path):
    source = open_source(make_zip(file, "photos32/train/cat/1.jpg", "photos32/test/cat/2.jpg"))
    understood = understand(source)
    assert understood.sentence == "zip: splits and classes: train 1, test 1, 1 class"
    assert source.read("photos32/train/cat/1.jpg") == b"photos32/train/cat/1.jpg"
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]
    (first, _) = entries_of(source)
    assert first.token.endswith(":23")


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04 cut off", b"PK\x05\x06" + b"\xff" * 18])
def test_a_corrupt_zip_is_one_clear_sentence(file, data):
    file.write_bytes(data)
    with pytest.raises(BadSource, match=r"x\.zip (is not a readable zip|holds no images)") as error:
        open_source(file)
    assert "\n" not in str(error.value)


def test_a_zip_cut_off_in_the_middle_is_refused(file):
    make_zip(file, *(f"cat/{n}.jpg" for n in range(20)))
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(BadSource, match="is not a readable zip"):
        open_source(file)


def test_members_that_want_outside_are_problems_and_cannot_be_read(file):
    source = open_source(
        make_zip(file, "cat/1.jpg", "../evil.jpg", "/etc/evil.jpg", "cat/../../evil.jpg", "./dog/2.jpg")
    )
    assert keys_of(source) == ["cat/1.jpg", "dog/2.jpg"]
    assert problems_of(source) == [
        f"The member {name} points outside the archive; it was left out."
        for name in ("../evil.jpg", "/etc/evil.jpg", "cat/../../evil.jpg")
    ]
    for name in ("../evil.jpg", "/etc/evil.jpg", "cat/../../evil.jpg"):
        with pytest.raises(FileNotFoundError):
            source.read(name)


def test_encrypted_linked_and_repeated_members_are_problems(file):
    link = zipfile.ZipInfo("cat/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cat/1.jpg", "first")
        archive.writestr(link, "/etc/hostname")
        archive.writestr("cat/secret.jpg", "x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("cat/1.jpg", "second")
    data = bytearray(file.read_bytes())
    data[data.rindex(b"cat/secret.jpg") - 46 + 8] |= 1  # the flag of encryption in the central directory
    file.write_bytes(data)
    source = open_source(file)
    assert keys_of(source) == ["cat/1.jpg"]
    assert source.read("cat/1.jpg") == b"first"
    assert problems_of(source) == [
        "The member cat/link.jpg is a symbolic link; it was left out.",
        "The member cat/secret.jpg is encrypted; it was left out.",
        "The member cat/1.jpg is there twice; it was left out.",
    ]


def test_a_zip_of_nothing_but_unusable_members_says_why(file):
    with pytest.raises(BadSource, match=r"holds no images .*; The member \.\./1\.jpg points outside"):
        open_source(make_zip(file, "../1.jpg"))


def test_a_damaged_member_is_one_clear_sentence_and_the_others_can_be_read(file):
    make_zip(file, "cat/1.jpg", "cat/2.jpg")
    data = file.read_bytes().replace(b"cat/1.jpgcat/1.jpg", b"cat/1.jpgcat/X.jpg")
    file.write_bytes(data)
    source = open_source(file)
    assert len(entries_of(source)) == 2
    with pytest.raises(BadSource, match=r"cat/1\.jpg in .*x\.zip is damaged: Bad CRC-32"):
        source.read("cat/1.jpg")
    assert source.read("cat/2.jpg") == b"cat/2.jpg"


def test_names_from_windows_and_macos_are_understood(file):
    backslashes = zipfile.ZipInfo("x")
    backslashes.filename, backslashes.create_system = "train\\Bär\\1.jpg", 0
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(backslashes, "1")
        archive.writestr("train/Bär/2.jpg", "2")
    # Clear the flag "names are UTF-8", as macOS does, in the local headers and the central directory.
    data = bytearray(file.read_bytes())
    for signature, flag in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + flag] &= ~0x08 & 0xFF
    file.write_bytes(data)
    source = open_source(file)
    assert placed(source) == {f"train/Bär/{n}.jpg": ("train", "Bär") for n in (1, 2)}
    assert source.read("train/Bär/1.jpg") == b"1"


def test_names_in_old_code_pages_can_be_read(file):
    make_zip(file, **{"cat__caf-_jpg": b"1"})
    file.write_bytes(file.read_bytes().replace(b"caf-", b"caf\x82"))
    source = open_source(file)
    assert keys_of(source) == ["cat/café.jpg"]
    assert source.read("cat/café.jpg") == b"1"


@pytest.mark.parametrize("folder", ["", "set/"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_table_in_a_zip_names_its_samples(file, tmp_path, folder, kind):
    columns = {"path": ["img/1.jpg", "img/9.jpg"], "label": ["cat", "dog"]}
    if kind == "parquet":
        pq.write_table(pa.table(columns), tmp_path / "t")
        content = (tmp_path / "t").read_bytes()
    else:
        content = "path,label\nimg/1.jpg,cat\nimg/9.jpg,dog\n".replace(",", "\t" if kind == "tsv" else ",").encode()
    make_zip(file, f"{folder}img/1.jpg", f"{folder}img/2.jpg")
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}labels.{kind}", content)
    source = open_source(file)
    assert placed(source) == {f"{folder}img/1.jpg": (None, "cat"), f"{folder}img/9.jpg": (None, "dog")}
    assert source.kind == "zip: table"
    assert source.read(f"{folder}img/1.jpg") == f"{folder}img/1.jpg".encode()
    where = "row 2" if kind == "parquet" else "line 3"
    assert problems_of(source) == [f"{where} of labels.{kind} points to {folder}img/9.jpg, which does not exist."]


@pytest.mark.parametrize("row", ["/etc/hostname.jpg", "../x.jpg", "img/../../x.jpg"])
def test_a_table_in_a_zip_cannot_name_files_outside(file, row):
    source = open_source(make_zip(file, "img/1.jpg", labels_csv=f"path\nimg/1.jpg\n{row}\n"))
    assert keys_of(source) == ["img/1.jpg"]
    (problem,) = problems_of(source)
    assert problem.startswith("line 3 of labels.csv points to ")
    with pytest.raises((BadSource, FileNotFoundError)):
        source.read(row)


@pytest.mark.parametrize(
    "tables",
    [
        {"classes_csv": "id,name\n1,cat\n"},
        {"old_csv": "path\nnowhere/1.jpg\n"},
        {"broken_parquet": b"PAR1"},
        {"a_csv": "path\ncat/1.jpg\n", "b_csv": "path\ncat/1.jpg\n"},
        {"notes__list_csv": "path\n../cat/1.jpg\n"},
    ],
)
def test_a_zip_whose_tables_do_not_name_its_images_is_read_by_folders(file, tables):
    assert open_source(make_zip(file, "cat/1.jpg", "dog/1.jpg", **tables)).kind == "zip: folder of classes"


def test_columns_of_a_table_in_a_zip_can_be_given(file):
    make_zip(file, "img/1.jpg", labels_csv="path,a,b\nimg/1.jpg,x,y\n")
    assert placed(open_source(file, {"label": "b"})) == {"img/1.jpg": (None, "y")}
    with pytest.raises(BadSource, match="no column c, it has path, a, b"):
        open_source(file, {"label": "c"})
    with pytest.raises(BadSource, match="holds 0 tables"):
        open_source(make_zip(file, "img/1.jpg"), {"label": "b"})


def test_threads_read_one_zip_at_once(file):
    keys = [f"cat/{n}.jpg" for n in range(300)]
    source = open_source(make_zip(file, *keys))
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(source.read, keys * 5)) == [key.encode() for key in keys * 5]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_one_zip_at_once(file, method):
    keys = [f"cat/{n}.jpg" for n in range(300)]
    source = open_source(make_zip(file, *keys))
    source.read(keys[0])
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as processes:
        assert list(processes.map(source.read, keys, chunksize=30)) == [key.encode() for key in keys]


def test_a_zip_that_was_replaced_is_opened_again(file):
    source = open_source(make_zip(file, "cat/1.jpg"))
    make_zip(file, "cat/1.jpg", "cat/2.jpg")
    assert source.read("cat/2.jpg") == b"cat/2.jpg"
    file.unlink()
    with pytest.raises(BadSource, match=r"x\.zip cannot be read: No such file"):
        source.read("cat/1.jpg")
