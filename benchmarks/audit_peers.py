"""torchtest2 and torch-audit over the collection, as their documentation says; run by audit.py with an interpreter that
has them.

    PEERS/bin/python -m benchmarks.audit_peers CASE...

Prints one JSON object: case -> peer -> how many failures and warnings it tells, and its seconds; a peer that raises
tells none.
"""

import contextlib
import io
import json
import sys
import time
import warnings

import torch

from tests.checks.zoo import CASES

STEPS = 20  # of training that torch-audit watches


def main() -> None:
    torch.set_num_threads(1)
    cases = {case.name: case for case in CASES}
    told = {}
    for name in sys.argv[1:]:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            told[name] = {peer: _told(ask, cases[name].build()) for peer, ask in PEERS.items()}
    print(json.dumps(told))


def _told(ask, pipeline) -> dict[str, float]:
    started = time.perf_counter()
    try:
        failures, cautions = ask(pipeline)
    except Exception:  # noqa: BLE001  # a peer that cannot take a pipeline finds nothing in it
        failures = cautions = 0
    return {"failures": failures, "warnings": cautions, "seconds": time.perf_counter() - started}


def torchtest2(pipeline) -> tuple[int, int]:
    from torchtest2 import check_model

    model = pipeline.model_fn()
    x, y = next(iter(pipeline.train_loader))
    report = check_model(model, x, y, loss_fn=pipeline.loss_fn, optimizer=pipeline.optimizer_fn(model))
    return len(report.failures), len(report.warnings)


def torch_audit(pipeline) -> tuple[int, int]:
    from torch_audit import autopatch

    model = pipeline.model_fn()
    optimizer = pipeline.optimizer_fn(model)
    auditor = autopatch(model, optimizer=optimizer, every_n_steps=1, reporters=[], run_static=True, run_init=True)
    for _, batch in zip(range(STEPS), pipeline.train_loader, strict=False):
        pipeline.train_step(model, batch, pipeline.loss_fn, optimizer)
    result = auditor.finish(report=False)
    auditor.unpatch()
    levels = [str(getattr(each.severity, "value", each.severity)) for each in result.findings]
    return sum(level in ("ERROR", "FATAL") for level in levels), levels.count("WARN")


PEERS = {"torchtest2": torchtest2, "torch-audit": torch_audit}

if __name__ == "__main__":
    main()
