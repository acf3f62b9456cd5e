"""What a class looks like: its average, and which of its pictures are the most and least like it."""

import io

import numpy as np
import pyarrow as pa
import pytest
from catalog_helpers import write_catalog
from PIL import Image

from recipe_core.data.typical import SHOWN, SIDE, class_look


def encoded(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (20, 30), (level, 100, 50)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def catalog(tmp_path):
    """Pictures of one class that grow redder, two strangers among them; another class; one without a thumbnail."""
    levels = [100 + number for number in range(20)] + [250, 5] + [60] * 3
    data = [encoded(level) for level in levels]
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "1-0.bin").write_bytes(b"".join(data))
    ends = np.cumsum([len(one) for one in data])
    count = len(levels) + 1
    columns = {
        "key": [f"<b>{number:02}.png" for number in range(count)],
        "label": ["cat"] * 22 + ["dog"] * 3 + ["cow"],
        "readable": [True] * count,
        "pixel_hash": [f"{number * 7 % count:02}" for number in range(count)],
        "_shard": ["1-0"] * (count - 1) + [None],
        "_offset": pa.array([*(ends - [len(one) for one in data]).tolist(), None], pa.int64()),
        "_length": pa.array([len(one) for one in data] + [None], pa.int64()),
    }
    return write_catalog(tmp_path, columns)


def test_the_average_is_of_the_class_alone_and_strangers_are_its_least_typical(catalog):
    look = class_look(catalog, "cat")
    assert look.pictures == 22 and look.average.shape == (SIDE, SIDE, 3)
    expected = np.mean([100 + number for number in range(20)] + [250, 5])
    assert np.abs(look.average.reshape(-1, 3).mean(0) - [expected, 100, 50]).max() < 1
    assert set(look.least[:2]) == {"<b>20.png", "<b>21.png"}
    assert len(look.most) == SHOWN and not {*look.most} & {*look.least}
    assert {"<b>09.png", "<b>10.png"} <= {*look.most}


def test_a_class_of_few_pictures_has_no_least_typical_ones(catalog):
    look = class_look(catalog, "dog")
    assert len(look.most) == 3 and look.least == ()


@pytest.mark.parametrize("label", ["cow", "no such class"])
def test_a_class_without_a_picture_has_no_look(catalog, label):
    assert class_look(catalog, label) is None


def test_features_of_another_kind_may_order_the_pictures(catalog):
    by_name = class_look(catalog, "cat", lambda keys, _: np.array([[float(key[3:5])] for key in keys]))
    assert by_name.least[0] in ("<b>00.png", "<b>21.png")


def test_pictures_that_a_rescan_took_away_are_passed_over(catalog):
    (catalog.folder / "thumbnails" / "1-0.bin").unlink()
    assert class_look(catalog, "cat") is None
