"""Audits: jobs that look for what silently ruins the training of a pipeline, of a file's or of a run's.

    audit = launch_audit(store, "my_training.py")         # of the workspace's folder pipelines/
    audit = launch_audit_of_run(run)
    audit.job.state, audit.results(), print(audit.report())

Under the workspace:

    pipelines/*.py               put there by the server's owner: nobody else says what code runs
    audits/<id>/results.jsonl    a result per line, as they come
    audits/<id>/log.txt          what its worker and the pipeline's own code printed
"""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recipe_core import jobs
from recipe_core.checks.result import AuditReport, Result
from recipe_core.errors import NotFound
from recipe_core.jobs import Job, JobContext
from recipe_core.runs import Run, frozen_tensors
from recipe_core.store import Store
from recipe_core.training.presets import ON_PURPOSE, PRESETS
from recipe_core.training.spec import RunSpec

if TYPE_CHECKING:
    from recipe_core.training.pipeline import Pipeline

KIND = "audit"
FUNCTION = "pipeline"  # that a file is expected to have
BUDGET_SECONDS = 60
EXAMPLE = '''"""Handwritten digits, 8 x 8 px."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from recipe_core import Pipeline


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def pipeline() -> Pipeline:
    digits = load_digits()
    x = torch.tensor(digits.images[:, None], dtype=torch.float32)
    x, y = (x - x.mean()) / x.std(), torch.tensor(digits.target)
    train, val = TensorDataset(x[:1400], y[:1400]), TensorDataset(x[1400:], y[1400:])
    return Pipeline(net, DataLoader(train, 32, shuffle=True), DataLoader(val, 64), num_classes=10)
'''


@dataclass(frozen=True)
class PipelineFile:
    """A file that can be audited, and its functions that may make a pipeline, the likeliest first."""

    name: str
    functions: tuple[str, ...]


def pipelines_folder(store: Store) -> Path:
    """Where the files stand that can be audited."""
    return store.folder / "pipelines"


def pipeline_files(store: Store) -> list[PipelineFile]:
    """The Python files in the workspace's folder pipelines/, by name; they are read and not run."""
    found = sorted(path for path in pipelines_folder(store).glob("[!._]*.py") if path.is_file())
    return [PipelineFile(path.name, tuple(_functions(path)) or (FUNCTION,)) for path in found]


def _functions(path: Path) -> list[str]:
    """Its public functions that need no arguments; none where it cannot be read, which an audit then tells."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return []
    known = [each for each in tree.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")]
    return [each.name for each in sorted(filter(_needs_nothing, known), key=_unlikely)]


def _needs_nothing(function: ast.FunctionDef) -> bool:
    given = function.args
    return len(given.posonlyargs + given.args) == len(given.defaults) and None not in given.kw_defaults


def _unlikely(function: ast.FunctionDef) -> tuple[bool, bool]:
    returns = ast.unparse(function.returns) if function.returns else ""
    return function.name != FUNCTION, "Pipeline" not in returns


def launch_audit(store: Store, file: str, function: str = FUNCTION, budget_seconds: float = BUDGET_SECONDS) -> "Audit":
    """Queue an audit of a file in the workspace's folder pipelines/.

    Args:
        file: its name, without a folder.
        function: that returns the pipeline.
        budget_seconds: checks that do not fit into it are skipped.

    Raises:
        NotFound: no such file stands there, or that is no name of a function.
    """
    folder = pipelines_folder(store)
    if file not in (each.name for each in pipeline_files(store)):
        raise NotFound(f'There is no file "{file}" in {folder}; put it there, or choose one that is there.')
    if not function.isidentifier():
        raise NotFound(f'"{function}" cannot be the name of a function; name one that {file} has.')
    subject = file if function == FUNCTION else f"{file}:{function}"
    return _launch(store, subject, {"pipeline": f"{folder / file}:{function}", "budget_seconds": budget_seconds})


def launch_audit_of_run(run: Run, budget_seconds: float = BUDGET_SECONDS) -> "Audit":
    """Queue an audit of a run's pipeline, made anew from what was frozen at its launch."""
    return _launch(run.store, f"run {run.id}", {**run.job.spec, "run": run.id, "budget_seconds": budget_seconds})


def _launch(store: Store, subject: str, spec: dict) -> "Audit":
    folder = str(store.folder / "audits" / "{id}")
    job = jobs.launch(store, kind=KIND, subject=subject, work="recipe_core.audits:work", spec=spec, folder=folder)
    return Audit(store, job.id)


# The worker's side


def work(context: JobContext) -> None:
    """Audit one pipeline; the job's work. A second attempt begins anew.

    Raises:
        BadPipeline, BadModel, NotTrainable, BadSource: there is no pipeline to audit; the sentence says why.
        Stopped: it was asked to stop; what was found until then stays.
    """
    context.report(phase="making the pipeline")
    pipeline, waived = _pipeline(context)
    from recipe_core.checks.audit import verdicts  # a broken file need not wait for it
    from recipe_core.checks.registry import checks

    total, results = len(checks()), []
    with (context.folder / "results.jsonl").open("w", encoding="utf-8") as file:
        for result in verdicts(pipeline, context.spec["budget_seconds"], waived):
            context.check()
            file.write(json.dumps(result.to_dict()) + "\n")
            file.flush()
            results.append(result)
            failed, done = len(AuditReport(results).failures), len({each.check for each in results})
            context.report(phase="checking", done=done, total=total, failed=failed)


def _pipeline(context: JobContext) -> "tuple[Pipeline, tuple[str, ...]]":
    """The pipeline, and the causes that it has on purpose."""
    spec = context.spec
    if "run" not in spec:
        from recipe_core.training.own_pipeline import own_pipeline  # torch takes a second to import

        return own_pipeline(spec["pipeline"], spec["budget_seconds"]), ()
    of_run = RunSpec.from_dict(spec["record"]["spec"])
    return PRESETS[of_run.preset](frozen_tensors(context), of_run), ON_PURPOSE.get(of_run.preset, ())


# The reader's side


@dataclass(frozen=True)
class Audit:
    """An audit as the store and its folder tell it, at any time and from any process."""

    store: Store
    id: int

    @property
    def job(self) -> Job:
        jobs.tend(self.store)
        return jobs.get(self.store, self.id)

    def results(self) -> list[Result]:
        """What was found until now, in the order in which it came."""
        path = jobs.get(self.store, self.id).folder / "results.jsonl"
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        return [Result(**json.loads(line)) for line in lines if line.endswith("\n")]  # the last may be half written

    def report(self) -> AuditReport:
        """The same, most harmful first."""
        return AuditReport(self.results())

    def again(self) -> "Audit":
        """Queue another audit of the same pipeline as it is now."""
        job = jobs.get(self.store, self.id)
        return _launch(self.store, job.subject, job.spec)

    def stop(self) -> None:
        """Ask it to stop after the check that is under way; what was found stays."""
        jobs.stop(self.store, self.id)


def list_audits(store: Store) -> list[Audit]:
    """All audits, newest first."""
    jobs.tend(store)
    return [Audit(store, job.id) for job in jobs.listing(store, KIND)]
