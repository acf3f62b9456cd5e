"""Folders as sources: layouts, hostile names, links, what cannot be opened."""

import os
import pickle
import shutil

import pytest
from source_helpers import entries_of, keys_of, make_files, make_zip, placed, problems_of

from recipe_core import settings
from recipe_core.data.sources import Problems, open_source, understand
from recipe_core.errors import BadSource


@pytest.fixture(params=["folder", "zip"])
def open_as(request, tmp_path):
    """Opens the same files once as a folder and once as a zip."""

    def open_(*paths: str):
        if request.param == "zip":
            return open_source(make_zip(tmp_path / "x.zip", *paths))
        return open_source(make_files(tmp_path / "x", *paths))

    return open_


LAYOUTS = [
    ("folder of classes", {"cat/1.jpg": (None, "cat"), "dog/1.PNG": (None, "dog")}),
    ("folder of classes", {"1.jpg": (None, None), "cat/1.jpg": (None, "cat"), "dog/a/b/2.gif": (None, "dog")}),
    ("folder of classes", {"photos32/a/cat/1.jpg": (None, "cat"), "photos32/a/dog/1.jpg": (None, "dog")}),
    ("folder of classes", {"cat/1.jpg": (None, "cat"), "cat/2.jpg": (None, "cat")}),
    (
        "folder of classes",
        {"preview.jpg": (None, None), "all/cat/1.jpg": (None, "cat"), "all/dog/1.jpg": (None, "dog")},
    ),
    ("flat folder", {"1.jpg": (None, None), "2.webp": (None, None)}),
    ("flat folder", {"data/Images/1.jpg": (None, None)}),
    ("splits", {"train/1.jpg": ("train", None), "dev/1.jpg": ("val", None)}),
    ("splits", {"train/images/1.jpg": ("train", None), "val/images/1.jpg": ("val", None)}),
    ("splits and classes", {"train/cat/1.jpg": ("train", "cat"), "test/dog/1.jpg": ("test", "dog")}),
    ("splits and classes", {"train/cat/1.jpg": ("train", "cat"), "train/2.jpg": ("train", None)}),
    ("splits and classes", {"cat/train/1.jpg": ("train", "cat"), "dog/Holdout/1.jpg": ("test", "dog")}),
    ("splits and classes", {"a/b/Training/cat/x/1.jpg": ("train", "cat"), "a/b/VALID/cat/1.jpg": ("val", "cat")}),
    ("splits and classes", {"train/images/cat/1.jpg": ("train", "cat"), "test/images/cat/1.jpg": ("test", "cat")}),
    ("folder of classes", {"train/1.jpg": (None, "train"), "bus/1.jpg": (None, "bus")}),
]


@pytest.mark.parametrize(("kind", "expected"), LAYOUTS)
def test_folders_are_read_as_splits_and_classes(open_as, kind, expected):
    source = open_as(*expected)
    assert placed(source) == expected
    assert source.kind.removeprefix("zip: ") == kind


@pytest.mark.parametrize("name", ["train", "TRAINING", "val", "valid", "validation", "dev", "eval", "test", "holdout"])
def test_each_name_of_a_split_is_known_and_normalised(open_as, name):
    (split,) = {entry.split for entry in open_as(f"{name}/cat/1.jpg").entries([])}
    assert split in {"train", "val", "test"}


def test_images_come_in_one_order_from_a_folder_and_from_a_zip(open_as):
    assert keys_of(open_as("b/1.jpg", "a/z/1.jpg", "a/2.jpg", "a/10.jpg", "a-b/1.jpg", "z.jpg")) == [
        *("z.jpg", "a/10.jpg", "a/2.jpg", "a/z/1.jpg", "a-b/1.jpg", "b/1.jpg")
    ]


def test_hidden_files_and_leftovers_of_systems_are_ignored(open_as):
    ignored = [
        "cat/.hidden.jpg",
        ".git/x.jpg",
        "__MACOSX/cat/._1.jpg",
        "cat/Thumbs.db",
        "cat/notes.txt",
        "@eaDir/1.jpg",
    ]
    assert keys_of(open_as("cat/1.jpg", *ignored)) == ["cat/1.jpg"]


def test_all_suffixes_of_images_count_in_any_case(open_as):
    names = [f"x.{suffix}" for suffix in "JPG jpeg jpe jfif Png webp gif bmp DIB tif TIFF avif".split()]  # noqa: SIM905
    assert sorted(keys_of(open_as(*names))) == sorted(names)


@pytest.mark.parametrize(
    "name", ["new\nline.jpg", "<b onclick='x'>&\".jpg", "日本 é.jpg", "a b%20?#.jpg", "\x1b[31m.jpg"]
)
def test_strange_names_are_keys_that_can_be_read(open_as, name):
    source = open_as(f"cat/{name}")
    assert keys_of(source) == [f"cat/{name}"]
    assert source.read(f"cat/{name}") == f"cat/{name}".encode()


def test_names_that_are_not_utf8_get_keys_that_are_and_lead_back(tmp_path):
    names = [b"caf\xe9.jpg", "caf\uf7e9.jpg".encode(), b"\xff\xfe/1.jpg"]  # the second would be taken for the first
    for name in names:
        path = tmp_path / "x" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    source = open_source(tmp_path / "x")
    keys = keys_of(source)
    assert len({key.encode("utf-8") for key in keys}) == 3
    assert {source.read(key) for key in keys} == set(names)
    assert all(entry.token for entry in entries_of(source))


@pytest.mark.parametrize(
    "key", ["../secret.jpg", "cat/../../secret.jpg", "/etc/hostname", "..", "", "cat\0.jpg", "\ud800.jpg"]
)
def test_reading_never_leaves_the_source(open_as, tmp_path, key):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    source = open_as("cat/1.jpg")
    with pytest.raises((BadSource, FileNotFoundError)):
        source.read(key)


def test_a_missing_key_is_file_not_found(open_as):
    with pytest.raises(FileNotFoundError):
        open_as("cat/1.jpg").read("cat/2.jpg")


def test_a_source_travels_to_other_processes(open_as):
    source = pickle.loads(pickle.dumps(open_as("cat/1.jpg")))
    assert source.read("cat/1.jpg") == b"cat/1.jpg"
    assert keys_of(source) == ["cat/1.jpg"]


def test_a_token_changes_with_the_bytes(tmp_path):
    source = open_source(make_files(tmp_path, "cat/1.jpg"))
    (before,) = entries_of(source)
    (tmp_path / "cat/1.jpg").write_bytes(b"another picture")
    (after,) = entries_of(source)
    assert before.token != after.token


def test_an_image_beyond_the_limit_is_refused_in_one_sentence(open_as, monkeypatch):
    source = open_as("cat/1.jpg")
    monkeypatch.setattr(settings, "MAX_IMAGE_BYTES", 5)
    with pytest.raises(BadSource, match="has 9 bytes; at most 5 are read"):
        source.read("cat/1.jpg")


def test_links_to_folders_are_followed_and_loops_reported(tmp_path):
    root = make_files(tmp_path / "x", "cat/1.jpg")
    make_files(tmp_path / "elsewhere", "2.jpg", "deep/3.jpg")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat/loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    source = open_source(root)
    assert keys_of(source) == ["cat/1.jpg", "dog/2.jpg", "dog/deep/3.jpg"]
    assert problems_of(source) == [
        "The link up leads back to a folder that contains it; it was left out.",
        "The link cat/loop leads back to a folder that contains it; it was left out.",
    ]


def test_links_among_linked_folders_end(tmp_path):
    names = [f"d{n}" for n in range(12)]
    root = make_files(tmp_path / "x", *(f"{name}/1.jpg" for name in names))
    for name in names:
        for other in names:
            (root / name / f"to-{other}").symlink_to(root / other)
    assert set(keys_of(open_source(root))) >= {f"{name}/1.jpg" for name in names}


def test_one_folder_linked_into_two_splits_is_read_in_both(tmp_path):
    make_files(tmp_path, "elsewhere/1.jpg", "x/train/dog/1.jpg", "x/val/dog/1.jpg")
    for split in ("train", "val"):
        (tmp_path / "x" / split / "cat").symlink_to(tmp_path / "elsewhere")
    assert {"train/cat/1.jpg", "val/cat/1.jpg"} < set(keys_of(open_source(tmp_path / "x")))


def test_a_broken_link_is_an_entry_without_token(tmp_path):
    make_files(tmp_path, "cat/1.jpg")
    (tmp_path / "cat/gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "cat/self.jpg").symlink_to("self.jpg")
    source = open_source(tmp_path)
    assert {e.key for e in entries_of(source) if not e.token} == {"cat/gone.jpg", "cat/self.jpg"}
    for key in ("cat/gone.jpg", "cat/self.jpg"):
        with pytest.raises(OSError):
            source.read(key)


def test_a_pipe_with_the_name_of_an_image_does_not_hang(tmp_path):
    make_files(tmp_path, "cat/1.jpg")
    os.mkfifo(tmp_path / "cat/pipe.jpg")
    source = open_source(tmp_path)
    assert [e.token == "" for e in entries_of(source)] == [False, True]
    with pytest.raises(BadSource, match="is not a file"):
        source.read("cat/pipe.jpg")


def test_an_unreadable_folder_is_a_problem_and_the_rest_goes_on(tmp_path):
    make_files(tmp_path / "x", "dog/1.jpg", "cat/1.jpg")
    here = os.open(tmp_path / "x/cat", os.O_RDONLY)
    for _ in range(20):  # longer than the system opens by name, for root as well
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    source = open_source(tmp_path / "x")
    assert keys_of(source) == ["cat/1.jpg", "dog/1.jpg"]
    (problem,) = problems_of(source)
    assert problem.startswith("The folder cat/ddd")
    assert problem.endswith("cannot be read (File name too long); it was left out.")
    shutil.rmtree(tmp_path / "x")


def test_a_folder_that_has_gone_is_an_error_and_not_an_empty_source(tmp_path):
    source = open_source(make_files(tmp_path / "x", "cat/1.jpg"))
    shutil.rmtree(tmp_path / "x")
    with pytest.raises(BadSource, match=r"cannot be read: No such file"):
        entries_of(source)


@pytest.mark.parametrize("location", ["", " ", "no-such-folder", "nul\0byte", "x" * 300])
def test_a_path_that_leads_nowhere_is_one_clear_sentence(tmp_path, monkeypatch, location):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSource, match=r"does not exist|No path was given|cannot be read") as error:
        open_source(location)
    assert "\n" not in str(error.value)


def test_what_is_no_folder_table_or_zip_is_refused(tmp_path):
    make_files(tmp_path, "x.txt", "empty/notes.txt")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(BadSource, match=r"x\.txt is no folder, no table .* and no \.zip"):
        open_source(tmp_path / "x.txt")
    with pytest.raises(BadSource, match="neither a folder nor a file"):
        open_source(tmp_path / "pipe.csv")
    with pytest.raises(BadSource, match=r"empty holds no images \(jpg, .*\)\.$"):
        open_source(tmp_path / "empty")


def test_a_folder_with_only_a_table_says_to_open_the_table(tmp_path):
    make_files(tmp_path, "labels.csv")
    with pytest.raises(BadSource, match=r"holds no images .*; its table labels\.csv can be opened itself\.$"):
        open_source(tmp_path)


def test_columns_are_refused_for_a_folder(tmp_path):
    with pytest.raises(BadSource, match="has no columns; name the table in it"):
        open_source(make_files(tmp_path, "1.jpg"), {"path": "file"})


def test_a_folder_with_images_beside_a_table_stays_a_folder(tmp_path):
    assert open_source(make_files(tmp_path, "cat/1.jpg", "dog/1.jpg", "labels.csv")).kind == "folder of classes"


def test_understanding_counts_and_says_it_in_one_sentence(open_as):
    paths = [f"{split}/{label}/{n}.jpg" for split in ("test", "train", "dev") for label in "cd" for n in range(3)]
    understood = understand(open_as(*paths, "train/x.jpg"))
    assert understood.sentence.removeprefix("zip: ") == (
        "splits and classes: train 7, val 6, test 6, 2 classes, 1 without a class"
    )
    assert list(understood.splits.items()) == [("train", 7), ("val", 6), ("test", 6)]
    assert understood.class_counts == {"c": 9, "d": 9}
    assert (understood.samples, understood.classes, understood.columns, understood.available) == (19, 2, None, ())


def test_understanding_of_a_flat_folder_counts_samples(tmp_path):
    assert understand(open_source(make_files(tmp_path, "1.jpg"))).sentence == "flat folder: 1 sample"


def test_problems_keep_a_bounded_number_of_sentences_and_count_the_rest():
    problems = Problems()
    for n in range(1_234):
        problems.append(f"line {n}")
    assert len(problems) == Problems.LIMIT
    assert problems.sentences()[-1] == "1,134 more problems are not listed."


def test_opening_and_listing_read_no_image(open_as, monkeypatch):
    source = open_as("cat/1.jpg", "dog/2.jpg")
    monkeypatch.setattr("recipe_core.data.sources.folder.read_file", None)
    monkeypatch.setattr("zipfile.ZipFile.open", None)
    assert understand(pickle.loads(pickle.dumps(source))).samples == 2
