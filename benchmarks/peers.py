"""One peer over one folder, as its documentation says; run by scan.py with an interpreter that has the peers.

    PEERS/bin/python benchmarks/peers.py cleanvision|imagededup FOLDER

Prints the seconds that it took, imports excluded.
"""

import contextlib
import io
import sys
import time


def cleanvision(folder: str):
    from cleanvision import Imagelab

    return lambda: Imagelab(data_path=folder).find_issues()


def imagededup(folder: str):
    _let_torchvision_import()
    from imagededup.methods import PHash

    return lambda: PHash(verbose=False).encode_images(image_dir=folder, recursive=True)


def _let_torchvision_import():
    """Beside a CPU-only torch, torchvision from PyPI misses two operators that nothing here calls."""
    import torch

    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):
        run = {"cleanvision": cleanvision, "imagededup": imagededup}[sys.argv[1]](sys.argv[2])
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
    print(seconds)
