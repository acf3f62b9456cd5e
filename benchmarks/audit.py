"""What the audit finds in a collection of pipelines with one silent bug each, and in correct ones.

    .venv/bin/python -m benchmarks.audit [--half dev|held-out] [--only PART_OF_NAME] [--json FILE] [--peers PYTHON]

HYPOTHESIS, stated before the measurement: of the bugs at least nine in ten are found for the right reason; no correct
pipeline gets a failure; the held-out half, which nobody looked at while thresholds were set, is at most five points
worse; an audit takes under 20 s on two cores.

--peers runs torchtest2 and torch-audit on the same cases by an interpreter that has them beside this project's own
packages (neither sees loaders, train step, schedule or evaluation).
"""

import argparse
import json
import subprocess
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

from benchmarks.common import show
from recipe_core.checks.audit import audit
from tests.checks.zoo import CASES, Case

HALVES = ("dev", "held-out")
PEERS = ("torchtest2", "torch-audit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--only", default="", metavar="PART_OF_NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where one line per case is written as it comes")
    parser.add_argument("--peers", metavar="PYTHON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [case for case in CASES if options.only in case.name and options.half in (None, case.half)]
    measured = []
    for case in cases:
        measured.append(run(case))
        tell(measured[-1])
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(measured[-1]) + "\n")
    for half in HALVES:
        summarise(half, [each for each in measured if each["half"] == half])
    if options.peers:
        compare(cases, options.peers)


def run(case: Case) -> dict:
    """One case: what failed, and whether that is right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = case.build()
        started = time.perf_counter()
        report = audit(pipeline)
        seconds = time.perf_counter() - started
    failed = {each.cause: each.message for each in report.failures}
    return {
        "name": case.name,
        "family": case.family,
        "half": case.half,
        "wanted": sorted(case.causes),
        "failed": failed,
        "unsure": {each.cause: each.message for each in report.of("unsure")},
        "errors": {each.check: each.message for each in report.of("error")},
        "skipped": [each.check for each in report.of("skipped") if " s given" in each.message],
        "found": bool(failed),
        "right": bool(case.causes & failed.keys()),
        "seconds": seconds,
    }


def compare(cases: list[Case], python: str) -> None:
    """The peers on the same cases."""
    command = [python, "-m", "benchmarks.audit_peers", *(case.name for case in cases)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    rows = []
    for peer in PEERS:
        for counted in (("failures",), ("failures", "warnings")):
            accused = [case for case in cases if any(told[case.name][peer][kind] for kind in counted)]
            bugs = sum(bool(case.causes) for case in accused)
            seconds = sorted(told[case.name][peer]["seconds"] for case in cases)
            took = f"{seconds[len(seconds) // 2]:.1f}", f"{seconds[-1]:.1f}"
            rows.append([f"{peer}: {' and '.join(counted)}", bugs, len(accused) - bugs, *took])
    show("The peers on the same cases", ["", "bugs accused", "correct ones accused", "s (median)", "s (most)"], rows)


def tell(each: dict) -> None:
    """A line for a case that did not go as it should."""
    wrong = not each["right"] if each["wanted"] else each["found"]
    if wrong or each["errors"]:
        verdict = ("missed" if each["wanted"] else "FALSE ALARM") if wrong else "error"
        print(f"{verdict}: {each['half']}: {each['name']}: {each['failed'] or each['errors']}", flush=True)


def summarise(half: str, measured: list[dict]) -> None:
    if not measured:
        return
    rows = [_row(family, [each for each in measured if each["family"] == family]) for family in _families(measured)]
    rows.append(_row("all", measured))
    head = ["", "bugs", "found", "right reason", "correct", "false alarms", "s (median)", "s (most)"]
    show(f"The audit on the {half} half of the collection", head, rows)


def _families(measured: Iterable[dict]) -> list[str]:
    return list(dict.fromkeys(each["family"] for each in measured))


def _row(name: str, measured: list[dict]) -> list[object]:
    bugs = [each for each in measured if each["wanted"]]
    correct = [each for each in measured if not each["wanted"]]
    seconds = sorted(each["seconds"] for each in measured)
    return [
        name,
        len(bugs),
        sum(each["found"] for each in bugs),
        sum(each["right"] for each in bugs),
        len(correct),
        sum(each["found"] for each in correct),
        f"{seconds[len(seconds) // 2]:.1f}",
        f"{seconds[-1]:.1f}",
    ]


if __name__ == "__main__":
    main()
