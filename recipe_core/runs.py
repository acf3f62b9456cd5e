"""Runs: jobs that train. Here the data's side (manifest, decoded images) and the training's side meet.

    run = ws.launch(pets, preset="linear", seed=0, expect="beats 10 %")
    for point in run.follow(): ...
    run.metrics(), run.verdicts(), run.evaluation()

Under `workspace/runs/<id>/`:

    spec.json        the spec, the expectation, what the run depends on; written before it starts, never changed
    log.txt          what its worker printed
    checkpoints/     from which it resumes
    artifacts/       evaluation, the fixed validation batch, the tensors just before the net, verdicts
"""

import json
import math
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recipe_core import jobs
from recipe_core.data.catalog import Catalog
from recipe_core.data.decisions import Decisions
from recipe_core.data.manifest import Manifest, freeze, frozen_manifest, trainable_manifest
from recipe_core.data.sources import open_source
from recipe_core.data.tensors import build_tensors, default_size
from recipe_core.errors import NotFound, NotTrainable
from recipe_core.jobs import Job, JobContext
from recipe_core.metrics import MetricWriter, delete_metrics, newest_point, read_metrics
from recipe_core.store import Store
from recipe_core.training.evaluate import Evaluation
from recipe_core.training.expectation import Claim, Expectation, Verdict, expect, judge
from recipe_core.training.spec import RunSpec

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "simplejpeg")
SPLITS = ("train", "val")


def expectation_of(catalog: Catalog, decisions: Decisions, spec: RunSpec) -> Expectation:
    """What to expect of a run on this dataset, from its spec and the counts of its classes alone.

    Raises:
        NotTrainable: nothing can be trained on the dataset as it is.
    """
    return _expectation(trainable_manifest(catalog, decisions), spec)


def launch_run(
    store: Store,
    dataset: str,
    source: str,
    columns: Mapping | None,
    catalog: Catalog,
    decisions: Decisions,
    spec: RunSpec,
) -> "Run":
    """Freeze manifest, spec and expectation, and queue the run.

    Args:
        dataset, source, columns, catalog, decisions: of the dataset.

    Raises:
        NotTrainable: nothing can be trained on the dataset as it is.
    """
    manifest = trainable_manifest(catalog, decisions)
    freeze(manifest, catalog.folder)
    record = {
        "dataset": dataset,
        "spec": spec.to_dict(),
        "expectation": _expectation(manifest, spec).to_dict(),
        "manifest": manifest.hash,
        "cleaned": manifest.cleaned,
        "size": spec.size or default_size(catalog),
        "samples": {"train": len(manifest.train), "val": len(manifest.val)},
        "classes": list(manifest.classes),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }
    job = jobs.launch(
        store,
        kind="run",
        subject=dataset,
        work="recipe_core.runs:work",
        spec={"folder": str(catalog.folder), "source": source, "columns": columns, "record": record},
        folder=str(store.folder / "runs" / "{id}"),
        files={"spec.json": json.dumps(record, indent=1)},
    )
    return Run(store, job.id)


def _expectation(manifest: Manifest, spec: RunSpec) -> Expectation:
    counts = [frame["label"].value_counts() for frame in (manifest.train, manifest.val)]
    return expect(spec, *([int(each.get(label, 0)) for label in manifest.classes] for each in counts))


# The worker's side


def work(context: JobContext) -> None:
    """Train one run; the job's work.

    Raises:
        NotTrainable, BadSettings, BadModel, Diverged, OutOfMemory: the run cannot go on; the sentence says why.
        Stopped: it was asked to stop; a checkpoint was saved.
    """
    # How many threads add up must not depend on what else the machine does: sums would differ in their last bits.
    os.environ.setdefault("MKL_DYNAMIC", "FALSE")
    os.environ.setdefault("OMP_DYNAMIC", "FALSE")
    import torch

    from recipe_core.training.fit import fit
    from recipe_core.training.predictions import FixedBatch, just_before_the_net, learnt_by_heart, predict
    from recipe_core.training.presets import PRESETS
    from recipe_core.training.ranks import companions

    record, artifacts = context.spec["record"], context.folder / "artifacts"
    spec = RunSpec.from_dict(record["spec"])
    tensors = frozen_tensors(context)
    with companions(spec, tensors, context.folder, jobs.die_with_parent) as share:
        pipeline = PRESETS[spec.preset](tensors, spec)
        print(f"{spec.preset} on {pipeline.device}, {torch.get_num_threads()} threads, {pipeline.total_steps} steps")
        _save_json(artifacts / "device.json", {"device": _device_name(pipeline.device), "tensors": str(tensors)})
        for split, loader in zip(SPLITS, (pipeline.train_loader, pipeline.val_loader), strict=True):
            _save_arrays(artifacts / f"inputs_{split}.npz", just_before_the_net(loader))  # type: ignore[arg-type]
        mine = jobs.current(context.job.id, context.job.attempt)
        with MetricWriter(context.store, context.job.id, mine) as writer:
            recorder = share(_Recorder(context, writer, pipeline.total_steps or 0))
            model = fit(pipeline, spec, context.folder, recorder, FixedBatch(pipeline, spec.seed, artifacts))
    context.report(phase="evaluating", step=pipeline.total_steps, total_steps=pipeline.total_steps)
    probabilities, labels = predict(model, pipeline.val_loader, pipeline.forward, context.check)
    Evaluation.of(probabilities, labels, record["classes"]).save(artifacts)
    if pipeline.train_loader.is_subset:  # type: ignore[attr-defined]
        learnt = learnt_by_heart(model, pipeline.train_loader, pipeline.forward, context.check)  # type: ignore[arg-type]
        _save_arrays(artifacts / "learnt.npz", learnt)
    verdicts = judge(Expectation.from_dict(record["expectation"]), read_metrics(context.store, context.job.id))
    _save_json(artifacts / "verdicts.json", [asdict(verdict) for verdict in verdicts])


def frozen_tensors(context: JobContext) -> Path:
    """The folder of the tensors that a run trains on; to be called in a job that has a run's spec.

    Raises:
        NotTrainable: its manifest is not there.
        BadSource: its images are needed and gone.
    """
    folder, record = Path(context.spec["folder"]), context.spec["record"]
    if "size" not in record:
        raise NotTrainable("The run is from a version that froze no manifests; launch a new run.")
    manifest = frozen_manifest(folder, record["manifest"])
    source = open_source(context.spec["source"], context.spec["columns"])

    def tell(done: int, total: int) -> None:
        context.report(phase="decoding", done=done, total=total)

    return build_tensors(source, manifest, record["size"], folder / "tensors", tell, context.check)


class _Recorder:
    """What fit() reports to: the store's metrics and the job's progress."""

    def __init__(self, context: JobContext, writer: MetricWriter, total_steps: int):
        self.context = context
        self.writer = writer
        self.total_steps = total_steps
        self.pace = _Pace()
        self.told = -math.inf

    def record(self, step: int, values: dict[str, float]) -> None:
        self.writer.record(step, values)
        if "train_loss" in values and (now := time.monotonic()) - self.told > jobs.REPORT_SECONDS:
            self.told = now  # more often would only cost time: it is not written more often, either
            left = self.pace.seconds_left(step + 1, self.total_steps)
            told = {"samples_per_second": values["samples_per_second"], "seconds_left": left}
            self.context.report(phase="training", step=step + 1, total_steps=self.total_steps, **told)

    def flush(self) -> None:
        self.writer.flush()

    def check(self) -> None:
        self.context.check()


class _Pace:
    """Seconds that the remaining steps take, at the mean pace since the start of this attempt."""

    def __init__(self) -> None:
        self.start: tuple[int, float] | None = None

    def seconds_left(self, step: int, total: int) -> float | None:
        now = time.monotonic()
        if self.start is None:
            self.start = (step, now)
        first, began = self.start
        return (total - step) * (now - began) / (step - first) if step > first else None


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else f"cpu ({platform.processor() or platform.machine()})"


# The reader's side


@dataclass(frozen=True)
class Run:
    """A run as the store and its folder tell it, at any time and from any process."""

    store: Store
    id: int

    @property
    def job(self) -> Job:
        jobs.tend(self.store)
        return jobs.get(self.store, self.id)

    @property
    def state(self) -> str:
        """queued, running, finished, failed, stopped or lost."""
        return self.job.state

    @cached_property
    def record(self) -> dict:
        """What was frozen at its launch.

        dataset, spec, expectation, manifest (its hash), cleaned, size, samples, classes, versions.
        """
        return jobs.get(self.store, self.id).spec["record"]

    @property
    def dataset(self) -> str:
        return self.record["dataset"]

    @cached_property
    def spec(self) -> RunSpec:
        return RunSpec.from_dict(self.record["spec"])

    @cached_property
    def expectation(self) -> Expectation:
        return Expectation.from_dict(self.record["expectation"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.record["classes"])

    @property
    def cleaned(self) -> str:
        """What was cleaned away before it was trained, as a sentence; empty where nothing was."""
        counts = self.record.get("cleaned", {})  # a run from before there were decisions has none
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        return f"trained on the cleaned manifest: {told}" if told else ""

    @property
    def folder(self) -> Path:
        return self.store.folder / "runs" / str(self.id)

    @property
    def device(self) -> str:
        """What it ran on; empty before it started."""
        return (_load_json(self.folder / "artifacts" / "device.json") or {}).get("device", "")

    def metrics(
        self,
        names: list[str] | None = None,
        max_points: int | None = None,
        steps: tuple[int, int] | None = None,
    ) -> pd.DataFrame:
        """One row per step, one column per metric; at most so many points per metric, of steps (first, last) only."""
        return read_metrics(self.store, self.id, names, max_points, steps)

    def follow(self, seconds: float = 0.5) -> Iterator[dict[str, Any]]:
        """Each step's metrics as a dictionary, as they come, until the run is no longer active."""
        told = newest = -1
        while True:
            active = self.job.active
            if (now := newest_point(self.store, self.id)) != newest or not active:
                newest = now
                fresh = self.metrics()
                fresh = fresh[fresh.index > told]
                # The last step may still be completed by an evaluation of its own.
                for step, row in (fresh if not active else fresh.iloc[:-1]).iterrows():
                    told = int(step)
                    yield {"step": told, **row.dropna().to_dict()}
            if not active:
                return
            time.sleep(seconds)

    def verdicts(self) -> list[Verdict]:
        """What became of the expectation: at the end as it was judged then, before as far as it can be told."""
        saved = _load_json(self.folder / "artifacts" / "verdicts.json")
        if saved is not None:
            return [Verdict(**(each | {"claim": Claim(**each["claim"])})) for each in saved]
        return judge(self.expectation, self.metrics(), ended=False)

    def evaluation(self) -> Evaluation | None:
        """How it did on the whole validation set; None before the end."""
        artifacts = self.folder / "artifacts"
        return Evaluation.load(artifacts) if (artifacts / "evaluation.json").exists() else None

    def learnt(self) -> dict[str, np.ndarray] | None:
        """rows, labels and probabilities (samples, classes) of the training samples, of a run on a fixed subset.

        None before the end, and of a run on all samples.
        """
        return _load_arrays(self.folder / "artifacts" / "learnt.npz")

    def fixed_batch(self) -> dict[str, np.ndarray] | None:
        """rows, labels, steps and probabilities (steps, samples, classes) of the validation batch that is followed."""
        return _load_arrays(self.folder / "artifacts" / "fixed_batch.npz")

    def inputs(self, split: str) -> dict[str, np.ndarray] | None:
        """The first tensors that entered the model, as pictures, with labels, rows and statistics per channel."""
        return _load_arrays(self.folder / "artifacts" / f"inputs_{split}.npz")

    def samples(self, split: str) -> list[str]:
        """The keys of a split's samples, in the order of the rows; empty before they are known."""
        told = _load_json(self.folder / "artifacts" / "device.json")
        return (_load_json(Path(told["tensors"]) / f"{split}_samples.json") or []) if told else []

    def log_tail(self, lines: int = 20) -> str:
        return self.job.log_tail(lines)

    def stop(self) -> None:
        jobs.stop(self.store, self.id)

    def resume(self) -> None:
        """Go on from the last checkpoint. Raises Conflict where there is nothing to resume."""
        jobs.resume(self.store, self.id)

    def delete(self) -> None:
        """Forget the run with all its files. Raises Conflict while it is active."""
        jobs.delete(self.store, self.id)
        delete_metrics(self.store, self.id)
        shutil.rmtree(self.folder, ignore_errors=True)


def get_run(store: Store, id: int) -> Run:
    """The run of that number.

    Raises:
        NotFound: there is none.
    """
    if jobs.get(store, id).kind != "run":
        raise NotFound(f"Job {id} is no run; `python -m recipe_core runs` lists them.")
    return Run(store, id)


def list_runs(store: Store, dataset: str | None = None) -> list[Run]:
    """All runs, or those on one dataset, newest first."""
    return [run for run, _ in list_run_jobs(store, dataset)]


def list_run_jobs(store: Store, dataset: str | None = None) -> list[tuple[Run, Job]]:
    """As list_runs, each with its job as it is now, all read at once."""
    jobs.tend(store)
    return [(Run(store, job.id), job) for job in jobs.listing(store, "run", dataset)]


def _save_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value), "utf-8")
    partial.replace(path)


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def _load_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return dict(arrays)
