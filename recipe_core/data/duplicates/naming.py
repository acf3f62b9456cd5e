"""How the two of a pair differ, in words, and the table that the search returns."""

import json
import math

import numpy as np
import pyarrow as pa

from recipe_core.data.duplicates.compare import Compared
from recipe_core.data.duplicates.overlay import Overlay
from recipe_core.data.duplicates.verdict import in_pixels, turn_and_shear

RESULT = pa.schema(
    [
        ("a", pa.int64()),
        ("b", pa.int64()),
        ("subkind", pa.string()),
        ("similarity", pa.float32()),
        ("distance", pa.int32()),
        ("evidence", pa.string()),
        ("pixels_a", pa.string()),
        ("pixels_b", pa.string()),
    ]
)
SEEN_ANGLE, SEEN_SCALE, SEEN_TONE = 2.0, 0.015, 0.06  # from where on a difference is named
SEEN_CHANGE, SEEN_TINT = 0.002, 6.0
SEEN_BLUR = 0.6  # of the other's sharpness
TURNS = (
    "",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned upside down",
    "mirrored and turned by 90 degrees",
    "turned by 90 degrees to the left",
    "turned by 90 degrees to the right",
    "mirrored and turned by 90 degrees",
)
MIRRORED, QUARTER_TURNS = {1, 2, 4, 7}, {5, 6}


def described(rows: pa.Table, pairs: np.ndarray, compared: Compared, overlay: Overlay) -> pa.Table:
    """The table of pairs.

    Args:
        pairs: int (n, 3 or more): first, second and the turn that makes the first look like the second; a is the row
            that comes first in the catalog.
        compared, overlay: what was measured of them.
    """
    columns = {name: rows[name].to_pylist() for name in ("pixel_hash", "width", "height", "format", "sharpness")}
    hashes = rows["phash_turned"]
    angles = turn_and_shear(in_pixels(rows, pairs, compared))[0].tolist()
    values = {name: getattr(compared, name).tolist() for name in Compared.__slots__ if name != "maps"}
    values |= {name: getattr(overlay, name).tolist() for name in Overlay.__slots__}
    found = []
    for place, (first, second, turn) in enumerate(pairs[:, :3].tolist()):
        one, other = ({name: column[row] for name, column in columns.items()} for row in (first, second))
        names = ("{a}", "{b}") if first < second else ("{b}", "{a}")
        one["name"], other["name"] = names
        seen = {name: column[place] for name, column in values.items()} | {"angle": angles[place]}
        differences = _differences(one, other, turn, seen)
        evidence = {"differences": [text for _, text in differences], "turn": TURNS[turn] or None}
        low, high = sorted((first, second))
        found.append(
            {
                "a": low,
                "b": high,
                "subkind": differences[0][0],
                "similarity": values["similarity"][place],
                "distance": (int(hashes[first][turn].as_py(), 16) ^ int(hashes[second][0].as_py(), 16)).bit_count(),
                "evidence": json.dumps(evidence | {name: round(value, 3) for name, value in seen.items()}),
                "pixels_a": columns["pixel_hash"][low],
                "pixels_b": columns["pixel_hash"][high],
            }
        )
    return pa.Table.from_pylist(found, RESULT)


def _differences(one: dict, other: dict, turn: int, seen: dict) -> list[tuple[str, str]]:
    """Subkinds and sentences, what tells most first; where the sentences have {a} and {b} the samples' names belong.

    Args:
        one, other: the rows of the catalog, with a "name".
        seen: what was measured of the pair.
    """
    straight = abs(seen["angle"]) <= SEEN_ANGLE
    turned = f"{other['name']} is {TURNS[turn]}" if turn in QUARTER_TURNS else TURNS[turn]
    found = [("mirrored" if turn in MIRRORED else "rotated", turned)] if turn else []
    found += [] if straight else [("rotated", f"turned by {abs(seen['angle']):.0f} degrees")]
    least = min(seen["overlap"], seen["covered"])
    whole = least > 1 - 2 * SEEN_SCALE
    if straight:
        found += [] if whole else [_beside(one, other, seen)]
        if seen["changed"] > SEEN_CHANGE and not any(subkind == "caption" for subkind, _ in found):
            found.append(("caption", f"{100 * seen['changed']:.2g} % of the picture is written on or covered"))
    if whole and {one["width"], one["height"]} != {other["width"], other["height"]}:
        found.append(("resized", " and ".join(f"{each['width']} x {each['height']} px" for each in (one, other))))
    return [*found, *_tones(one, other, seen), *_formats(one, other)] or [_hardly(one, other)]


def _beside(one: dict, other: dict, seen: dict) -> tuple[str, str]:
    """What one of the two shows beyond the edges of the other."""
    for name, share in ((one["name"], seen["bar_first"]), (other["name"], seen["bar_second"])):
        if share > SEEN_SCALE:
            return "caption", f"{name} has a bar or frame: {100 * share:.0f} % of it"
    names = (other["name"], one["name"]) if seen["overlap"] < seen["covered"] else (one["name"], other["name"])
    return (
        "cropped",
        f"{names[0]} is a crop of {names[1]}: {100 * (1 - min(seen['overlap'], seen['covered'])):.0f} % cut off",
    )


def _tones(one: dict, other: dict, seen: dict) -> list[tuple[str, str]]:
    found = []
    if abs(math.log(max(seen["gain"], 0.01))) > SEEN_TONE or abs(seen["lighter"]) > 255 * SEEN_TONE / 2:
        side = "lighter" if seen["lighter"] > 0 else "darker"
        tone = f"contrast x {seen['gain']:.2f}, {abs(seen['lighter']):.0f} grey levels {side}"
        found.append(("brightness", f"{other['name']}: {tone}"))
    if seen["grey_first"] or seen["grey_second"]:
        found.append(("brightness", f"{(one if seen['grey_first'] else other)['name']} has no colours"))
    elif seen["tint"] > SEEN_TINT:
        found.append(("brightness", "other colours"))
    return found


def _formats(one: dict, other: dict) -> list[tuple[str, str]]:
    return [("recompressed", f"{one['format']} and {other['format']}")] if one["format"] != other["format"] else []


def _hardly(one: dict, other: dict) -> tuple[str, str]:
    """Of two that are as large and as bright."""
    blurred, sharp = sorted((one, other), key=lambda each: each["sharpness"])
    if blurred["sharpness"] < SEEN_BLUR * sharp["sharpness"]:
        return "recompressed", f"{blurred['name']} is less sharp"
    return "recompressed", "compressed anew"
