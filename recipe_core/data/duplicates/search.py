"""The search for near duplicates: candidates by hash and layout, then the verdict of the pictures.

    pairs = near_duplicates(rows, read_picture)

Every candidate is looked at twice: at 16 px, where most fall, and at 32 px; large pictures a third time, at 64 px.
Copies are those that agree place by place and are more alike than the look-alikes around them; and, since smooth
pictures have no details that could agree, those that have the same colours, as they lie or where they are laid.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch

from recipe_core.data.duplicates.align import in_place, unmoved, warp
from recipe_core.data.duplicates.candidates import hash_alikes
from recipe_core.data.duplicates.coincide import Coincidence, as_it_lies, coincidence, laid
from recipe_core.data.duplicates.compare import Compared, compare
from recipe_core.data.duplicates.hues import colours_part
from recipe_core.data.duplicates.layout import PARTS, SIDE, look_alikes, once, strangers
from recipe_core.data.duplicates.naming import RESULT, described
from recipe_core.data.duplicates.overlay import overlaid
from recipe_core.data.duplicates.pictures import GREY, Reader, paired, read_squares
from recipe_core.data.duplicates.stand_out import stand_out
from recipe_core.data.duplicates.verdict import SLID, accepted, laid_as_copies

LEAST_CONTRAST = 3.0  # standard deviation of grey: flatter pictures are a finding of their own
LARGE_SIDE = 64  # px of the last look
LARGE = 64  # px that the shorter side of both needs for it
WORST_MISFIT, LEAST_GLANCE, SURE_FIT = 0.4, 0.4, 0.1  # of a pair that is looked at again: alike, or lying so well
NOISE, LARGE_NOISE = 2.5, 1.2  # grey levels that compression leaves on details, at 32 and at 64 px
COLOUR_NOISE = 4.0  # levels of red, green and blue that it leaves, at 16 px
CHUNK = 1024  # pairs compared at once
WHOLE = list(PARTS).index("whole")

Measured = TypeVar("Measured", Compared, Coincidence)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of some candidates."""

    likely: np.ndarray  # bool: which were looked at after a glance
    glance: np.ndarray  # how alike all are at a glance, 0..1
    compared: Compared  # of the likely ones


@dataclass(frozen=True, slots=True)
class _Copies:
    """Pairs of which one was made from the other, as the candidates, and what was measured of them."""

    pairs: np.ndarray
    compared: Compared

    def and_also(self, others: "_Copies") -> "_Copies":
        return _Copies(np.concatenate([self.pairs, others.pairs]), _joined([self.compared, others.compared]))


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier search has settled: the pixel hashes of its pictures, and the table that it returned."""

    pixel_hashes: frozenset[str] = field(default_factory=frozenset)
    pairs: pa.Table = field(default_factory=RESULT.empty_table)


def near_duplicates(
    rows: pa.Table,
    read_picture: Reader,
    check: Callable[[], None] = lambda: None,
    report: Callable[[float], None] = lambda share: None,
    earlier: Earlier | None = None,
    executor: Executor | None = None,
) -> pa.Table:
    """Pairs of pictures of which one was made from the other.

    Args:
        rows: one per distinct picture, with the catalog's columns pixel_hash, phash_turned, width, height, contrast,
            sharpness, format.
        read_picture: row number -> uint8 (height, width, 3), or None; pickled where there is an executor.
        check: called now and then; may raise to end the search.
        report: called with the share that is done, 0 to 1.
        earlier: pictures compared before; of two of them the earlier verdict is taken.
        executor: where pictures are read; here if not given.

    Returns:
        A table with the columns of `verdict.RESULT`, a < b, ordered by a, then b. Each picture is compared with its
        likeliest partners only, so a crowd of copies is connected without being listed pair by pair.
    """
    usable = _usable(rows)
    squares = np.zeros((len(rows), SIDE, SIDE), np.uint8)
    colours = np.zeros((len(rows), SIDE // 2, SIDE // 2, 3), np.uint8)
    for chosen, found in read_squares(read_picture, usable, SIDE, executor, "RGB"):
        check()
        squares[chosen] = (found.astype(np.float32) @ GREY).round()
        colours[chosen] = found.reshape(-1, SIDE // 2, 2, SIDE // 2, 2, 3).mean((2, 4)).round()
        report(0.2 * float(chosen[-1] + 1) / len(rows))
    usable = usable[squares[usable].std((1, 2)) >= LEAST_CONTRAST]
    candidates = _candidates(rows, squares, usable, check)
    old = _old(rows, earlier)
    candidates = candidates[~(old[candidates[:, 0]] & old[candidates[:, 1]])]
    report(0.3)

    pictures = torch.from_numpy(squares)
    looks = []
    for start in range(0, len(candidates), CHUNK):
        check()
        looks.append(_looked_at(pictures, candidates[start : start + CHUNK]))
        report(0.3 + 0.5 * start / len(candidates))
    table = RESULT.empty_table()
    if looks:
        likely, glances = (
            np.concatenate([each.likely for each in looks]),
            np.concatenate([each.glance for each in looks]),
        )
        pairs, compared = candidates[likely], _joined([each.compared for each in looks])
        compared = _looked_at_closely(rows, pairs, compared, read_picture, executor, check)
        coloured = torch.from_numpy(colours).movedim(3, 1)
        copies = _alike_in_details(rows, coloured, pairs, compared, candidates[~likely], glances[~likely])
        for brightened in (False, True):
            kept = (pairs, compared)
            more = _the_same_in_colour(rows, coloured, candidates, kept, brightened, copies.pairs, check)
            copies = copies.and_also(more)
        report(0.9)
        table = _described(rows, copies, read_picture, executor, check)
    report(1.0)
    return _with_earlier(rows, table, earlier, old)


def _alike_in_details(
    rows: pa.Table,
    colours: torch.Tensor,
    pairs: np.ndarray,
    compared: Compared,
    others: np.ndarray,
    glances: np.ndarray,
) -> "_Copies":
    """The copies among the pairs that were looked at: laid over each other, their details agree.

    Args:
        others: pairs that fell at a glance; `glances` is how alike they were.
    """
    none = np.zeros(len(others), bool)
    eligible, unclear = (np.append(each, none) for each in accepted(rows, pairs, compared))
    similarity = np.append(compared.similarity.numpy(), glances)
    everything = np.concatenate([pairs, others])
    best = _best_of_each_two(everything, similarity, eligible)
    good = stand_out(everything[best, :2], similarity[best], (eligible | unclear)[best], len(rows))
    good = best[good & eligible[best]]
    good = good[~_colours_part(colours, pairs[good], compared.maps[torch.from_numpy(good)])]
    return _Copies(pairs[good], compared.take(torch.from_numpy(good)))


def _colours_part(colours: torch.Tensor, pairs: np.ndarray, maps: torch.Tensor) -> np.ndarray:
    """Of which pairs the colours say that they are different pictures, bool."""
    found = [np.zeros(0, bool)]
    for start in range(0, len(pairs), CHUNK):
        first, second = paired(colours, pairs[start : start + CHUNK])
        inside = warp(second[:, 0], maps[start : start + CHUNK])[1]
        found.append(colours_part(*laid(first, second, maps[start : start + CHUNK]), inside).numpy())
    return np.concatenate(found)


def _the_same_in_colour(
    rows: pa.Table,
    colours: torch.Tensor,
    candidates: np.ndarray,
    kept: tuple[np.ndarray, Compared],
    brightened: bool,
    known: np.ndarray,
    check: Callable[[], None],
) -> "_Copies":
    """The copies, beside the known ones, that are the same as they lie, or once they are laid over each other.

    Args:
        kept: the pairs that were looked at, and how they were laid.
    """
    # A slope of light fits any other of its colour, if it may be moved and brightened.
    usual = np.flatnonzero(laid_as_copies(rows, *kept, SLID) & (not brightened))
    moved, compared = kept[0][usual], kept[1].take(torch.from_numpy(usual))
    looks = []
    for start in range(0, len(candidates), CHUNK):
        check()
        looks.append(coincidence(*paired(colours, candidates[start : start + CHUNK]), COLOUR_NOISE, brightened))
    for start in range(0, len(moved), CHUNK):
        check()
        pair = laid(*paired(colours, moved[start : start + CHUNK]), compared.maps[start : start + CHUNK])
        looks.append(coincidence(*pair, COLOUR_NOISE, brightened))
    found = _joined(looks)
    copies = _coinciding(rows, np.concatenate([candidates, moved]), found, known)
    still, laid_over = copies[copies < len(candidates)], copies[copies >= len(candidates)]
    places = laid_over - len(candidates)
    agreeing = compared.take(torch.from_numpy(places)).agreeing(found.same[laid_over])
    moved_copies = _Copies(moved[places], agreeing)
    if not len(still):
        return moved_copies
    first, second = (each.mean(1) for each in paired(colours, candidates[still]))
    return moved_copies.and_also(_Copies(candidates[still], as_it_lies(first, second, found.take(still))))


def _coinciding(rows: pa.Table, pairs: np.ndarray, found: Coincidence, known: np.ndarray) -> np.ndarray:
    """Places of the pairs, beside the known ones, that are the same as only copies are."""
    best = _best_of_each_two(pairs, found.same.numpy(), found.suffices())
    ends, others = (np.sort(each[:, :2], axis=1).astype(np.int64) @ [len(rows), 1] for each in (pairs[best], known))
    best = best[~np.isin(ends, others)]
    found = found.take(best)
    return best[stand_out(pairs[best, :2], found.same.numpy(), found.suffices(), len(rows), doubtful=True)]


def _described(
    rows: pa.Table, copies: _Copies, read_picture: Reader, executor: Executor | None, check: Callable[[], None]
) -> pa.Table:
    """The table of the copies; a last look, in colour, says how the two of each differ."""
    if not len(copies.pairs):
        return RESULT.empty_table()
    overlay = overlaid(rows, copies.pairs, copies.compared, read_picture, executor, check)
    return described(rows, copies.pairs, copies.compared, overlay)


def _usable(rows: pa.Table) -> np.ndarray:
    contrast = rows["contrast"].to_numpy(zero_copy_only=False).astype(float)
    return np.flatnonzero(contrast >= LEAST_CONTRAST)


def _candidates(rows: pa.Table, squares: np.ndarray, usable: np.ndarray, check: Callable[[], None]) -> np.ndarray:
    """int32 (pairs, 4): a, b, the turn that makes a look like b, and where to look first (number in PARTS)."""
    if len(usable) < 2:
        return np.empty((0, 4), np.int32)
    texts = rows["phash_turned"].combine_chunks().take(pa.array(usable)).flatten()
    digits = b"".join(text.encode() for text in texts.to_pylist())
    hashes = np.frombuffer(bytes.fromhex(digits.decode()), ">u8").astype(np.uint64).reshape(-1, 8)
    by_hash = np.pad(hash_alikes(hashes, check), ((0, 0), (0, 1)), constant_values=WHOLE)
    pairs = once(np.concatenate([look_alikes(squares[usable], check), by_hash, strangers(squares[usable], check)]))
    pairs[:, :2] = usable[pairs[:, :2]]
    return pairs


def _looked_at(pictures: torch.Tensor, candidates: np.ndarray) -> "_Look":
    """Which of the candidates may be copies, and how those look at 32 px."""
    first, second = paired(pictures, candidates)
    masks = torch.zeros(len(PARTS), 8, 8)
    for number, part in enumerate(PARTS.values()):
        masks[number][part] = 1
    masks = masks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    where = masks[torch.from_numpy(candidates[:, 3]).long()]
    one, other = _halved(first), _halved(second)
    glance = compare(one, other, unmoved(len(first)), 6, LARGE_NOISE, where)
    likely = (glance.misfit < WORST_MISFIT) & (glance.similarity > LEAST_GLANCE) | (glance.misfit < SURE_FIT)
    first, second = first[likely], second[likely]
    compared = compare(first, second, glance.take(likely).start(first), 4, NOISE)
    still = compare(one[likely], other[likely], in_place(one[likely], other[likely]), 0, LARGE_NOISE)
    _left_in_place(first, second, still, compared)
    return _Look(likely.numpy(), glance.similarity.numpy(), compared)


def _left_in_place(first: torch.Tensor, second: torch.Tensor, still: Compared, compared: Compared) -> None:
    """Most copies lie where the original does, but a wide caption pulls at the map: such pairs are not moved at all.

    Args:
        still: how the pairs look at 16 px as they lie.
        compared: how they look at 32 px once they are moved; changed in place.
    """
    again = torch.nonzero((still.misfit < WORST_MISFIT) & (still.similarity > LEAST_GLANCE)).flatten()
    if not len(again):
        return
    first, second = first[again], second[again]
    still = compare(first, second, in_place(first, second), 0, NOISE)
    moved = compared.take(again)
    better = (still.similarity > moved.similarity) & (still.misfit < moved.misfit)
    compared.put(again[better], still.take(better))


def _looked_at_closely(
    rows: pa.Table,
    pairs: np.ndarray,
    compared: Compared,
    read_picture: Reader,
    executor: Executor | None,
    check: Callable[[], None],
) -> Compared:
    """The same pairs; of large pictures, those that may be copies as they look at 64 px."""
    shorter = np.minimum(rows["width"].to_numpy(), rows["height"].to_numpy())
    large = (shorter[pairs[:, :2]] >= LARGE).all(1)
    again = np.flatnonzero(large & (compared.misfit.numpy() < WORST_MISFIT))
    again = again[np.lexsort((pairs[again, 1], pairs[again, 0]))]
    for start in range(0, len(again), CHUNK // 4):
        check()
        chosen = again[start : start + CHUNK // 4]
        needed = np.unique(pairs[chosen, :2])
        pictures = torch.zeros(len(needed), LARGE_SIDE, LARGE_SIDE, dtype=torch.uint8)
        for numbers, found in read_squares(read_picture, needed, LARGE_SIDE, executor):
            pictures[np.searchsorted(needed, numbers)] = torch.from_numpy(found)
        here = pairs[chosen].copy()
        here[:, :2] = np.searchsorted(needed, here[:, :2])
        at = torch.from_numpy(chosen)
        first, second = paired(pictures, here)
        start_at = compared.take(at).start(first)
        compared.put(at, compare(first, second, start_at, 5, LARGE_NOISE, but_for_lines=True))
    return compared


def _best_of_each_two(pairs: np.ndarray, similarity: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Places of the pairs, of those that differ in the turn only the most alike of the eligible."""
    order = np.lexsort((-similarity, ~eligible))
    return order[np.unique(np.sort(pairs[order, :2], axis=1), axis=0, return_index=True)[1]]


def _halved(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean((2, 4))


def _joined(parts: list[Measured]) -> Measured:
    kind = type(parts[0])
    return kind(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(kind)))


# What an earlier search has settled


def _old(rows: pa.Table, earlier: Earlier | None) -> np.ndarray:
    if earlier is None:
        return np.zeros(len(rows), bool)
    return np.fromiter((text in earlier.pixel_hashes for text in rows["pixel_hash"].to_pylist()), bool, len(rows))


def _with_earlier(rows: pa.Table, table: pa.Table, earlier: Earlier | None, old: np.ndarray) -> pa.Table:
    """The new pairs and those earlier ones whose pictures are both still there, ordered."""
    if earlier is not None:
        hashes = rows["pixel_hash"].to_pylist()
        number = {hashes[row]: int(row) for row in np.flatnonzero(old)}
        again = [
            pair | {"a": number[pair["pixels_a"]], "b": number[pair["pixels_b"]]}
            for pair in earlier.pairs.to_pylist()
            if pair["pixels_a"] in number and pair["pixels_b"] in number
        ]
        table = pa.concat_tables([table, pa.Table.from_pylist(again, RESULT)])
    return table.sort_by([("a", "ascending"), ("b", "ascending")])
