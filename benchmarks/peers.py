"""One peer over one folder, as its documentation says; run by an interpreter that has the peers.

    PEERS/bin/python benchmarks/peers.py cleanvision|imagededup FOLDER             # for scan.py
    PEERS/bin/python benchmarks/peers.py cleanvision|imagededup|fastdup FOLDER --pairs     # for duplicates.py

Prints the seconds that it took, imports excluded; with --pairs, the pairs of file names that it takes for duplicates at
default settings, as JSON.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path


def cleanvision(folder: str):
    from cleanvision import Imagelab

    def run():
        lab = Imagelab(data_path=folder)
        lab.find_issues()
        return lab

    return run


def cleanvision_pairs(folder: str) -> Iterable[tuple[str, str]]:
    found = cleanvision(folder)().info
    for kind in ("exact_duplicates", "near_duplicates"):
        for together in found[kind]["sets"]:
            yield from combinations(together, 2)


def imagededup(folder: str):
    _let_torchvision_import()
    from imagededup.methods import PHash

    return lambda: PHash(verbose=False).encode_images(image_dir=folder, recursive=True)


def imagededup_pairs(folder: str) -> Iterable[tuple[str, str]]:
    _let_torchvision_import()
    from imagededup.methods import PHash

    for name, others in PHash(verbose=False).find_duplicates(image_dir=folder).items():
        yield from ((name, other) for other in others)


def fastdup_pairs(folder: str) -> Iterable[tuple[str, str]]:
    """Of each picture the nearest few, if they are similar."""
    import fastdup

    with tempfile.TemporaryDirectory() as work:
        lab = fastdup.create(work_dir=work, input_dir=folder)
        lab.run(verbose=False)
        yield from lab.similarity()[["filename_from", "filename_to"]].itertuples(index=False)


def _let_torchvision_import():
    """Beside a CPU-only torch, torchvision from PyPI misses two operators that nothing here calls."""
    import torch

    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


SECONDS = {"cleanvision": cleanvision, "imagededup": imagededup}
PAIRS = {"cleanvision": cleanvision_pairs, "imagededup": imagededup_pairs, "fastdup": fastdup_pairs}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=PAIRS)
    parser.add_argument("folder")
    parser.add_argument("--pairs", action="store_true")
    options = parser.parse_args()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed, from C too, is no answer
    if options.pairs:
        pairs = PAIRS[options.peer](options.folder)
        json.dump(sorted({tuple(sorted(Path(name).name for name in pair)) for pair in pairs}), answer)
    else:
        run = SECONDS[options.peer](options.folder)
        start = time.perf_counter()
        run()
        json.dump(time.perf_counter() - start, answer)
    answer.close()


if __name__ == "__main__":
    main()
