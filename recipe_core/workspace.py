"""The workspace: the folder that holds datasets, jobs and, later, runs; the door for notebooks, terminal and pages.

ws = Workspace("workspace")
pets = ws.add_dataset("pets", "/data/pets")
pets.scan()
pets.query("sharpness < 10", order_by="brightness desc", limit=48)
"""

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import DatabaseError, IntegrityError

from recipe_core import jobs, settings
from recipe_core.data.catalog import Catalog
from recipe_core.data.condition import did_you_mean
from recipe_core.data.decisions import Decisions
from recipe_core.data.embeddings import Embeddings, embed, state
from recipe_core.data.findings import Findings, examine
from recipe_core.data.findings.verdict import Verdict, verdict
from recipe_core.data.looks import Looks
from recipe_core.data.manifest import Manifest, read_manifest
from recipe_core.data.scan import read_problems
from recipe_core.data.selection import Selection
from recipe_core.data.sources import Source, open_source
from recipe_core.data.uploads import Uploads
from recipe_core.data.waivers import Waivers
from recipe_core.errors import BadSource, Conflict, NotFound, RecipeError
from recipe_core.jobs import Job
from recipe_core.links import Signer
from recipe_core.progress import Line
from recipe_core.runs import Run, expectation_of, get_run, launch_run, list_runs
from recipe_core.store import RULED, Store
from recipe_core.store import datasets as table
from recipe_core.training.expectation import Expectation
from recipe_core.training.spec import RunSpec

NAME = re.compile(r"\w[\w.-]{0,63}")
DEMO_NOTE = "A demo: scikit-learn's handwritten digits with defects planted on purpose; truth.csv lists them."


class Workspace:
    """All datasets and jobs in one folder. Any number of processes may open the same one."""

    def __init__(self, folder: str | Path | None = None):
        """Open the workspace in a folder, made where it is missing; by default `settings.WORKSPACE`.

        Raises:
            BadSource: the folder cannot be written, or what stands in it is no workspace.
        """
        folder = folder or settings.WORKSPACE
        try:
            self.store = Store(folder)
        except (OSError, DatabaseError) as problem:
            reason = getattr(problem, "strerror", None) or getattr(problem, "orig", None)
            raise BadSource(f"{folder} cannot be used as a workspace ({reason}); choose another folder.") from problem
        self.folder = self.store.folder
        self.signer = Signer(self.folder)

    def datasets(self) -> list["Dataset"]:
        """All datasets, oldest first."""
        with self.store.engine.connect() as connection:
            rows = connection.execute(select(table).order_by(table.c.created)).all()
        # A source inside the workspace is stored relative to it, so that a workspace can be moved.
        return [
            Dataset(self, row.name, str(self.folder / row.source), row.options or None, row.note or "") for row in rows
        ]

    def dataset(self, name: str) -> "Dataset":
        """The dataset of that name.

        Raises:
            NotFound: there is none; the sentence suggests which was meant.
        """
        known = {dataset.name: dataset for dataset in self.datasets()}
        if name in known:
            return known[name]
        if not known:
            raise NotFound(f'There is no dataset "{name}"; add one with: python -m recipe_core scan {name} SOURCE')
        raise NotFound(f'There is no dataset "{name}"; {did_you_mean(name, known, "datasets")}')

    def add_dataset(
        self, name: str, source: str | Path, columns: Mapping[str, str | None] | None = None, note: str = ""
    ) -> "Dataset":
        """Register a source under a name; the same source again gives the same dataset.

        Args:
            source: a folder, a table (.csv, .tsv, .parquet) or a zip.
            columns: of a table, any of "path", "label", "split" -> column; what is not named is guessed.

        Raises:
            BadSource: the source cannot be used.
            Conflict: the name is taken by another source, or cannot be a name.
        """
        if not NAME.fullmatch(name):
            raise Conflict(
                f'"{name}" cannot name a dataset; use up to 64 letters, digits, dots, dashes and underscores.'
            )
        location = Path(source).expanduser().resolve()
        known = {dataset.name: dataset for dataset in self.datasets()}.get(name)
        if known and known.source == str(location) and not columns:
            columns = known.columns  # as they were chosen when it was registered
        opened = open_source(source, columns)
        row = {
            "name": name,
            "source": str(location.relative_to(self.folder) if location.is_relative_to(self.folder) else location),
            "options": opened.columns or {},
            "note": note,
            "created": time.time(),
        }
        try:
            with self.store.engine.begin() as connection:
                connection.execute(insert(table).values(row))
        except IntegrityError:
            there = self.dataset(name)
            if there.source != str(location) or (there.columns or {}) != row["options"]:
                other = " with other columns" if there.source == str(location) else ""
                raise Conflict(
                    f'The name "{name}" is taken by {there.source}{other}; choose another name or remove that dataset.'
                ) from None
        return self.dataset(name)

    def add_demo(self) -> "Dataset":
        """Make the demo dataset in the workspace, where it is missing, and register it as "demo"."""
        from recipe_core.data.demo import make_demo  # imports scikit-learn, a second that nothing else needs

        return self.add_dataset("demo", make_demo(self.folder / "demo"), note=DEMO_NOTE)

    @property
    def uploads(self) -> Uploads:
        """The zips that were uploaded through the browser."""
        return Uploads(self.folder / "uploads")

    def keep_upload(self, name: str, upload: BinaryIO) -> Path:
        """Store an uploaded zip, by the name of its file, and return its path; forget those that nobody used.

        Raises:
            BadSource: it cannot be stored.
        """
        self.uploads.tidy({Path(dataset.source) for dataset in self.datasets()})
        return self.uploads.keep(name, upload)

    def preview(self, dataset: "Dataset", spec: RunSpec) -> Expectation:
        """What is expected of a run, before it starts. Raises NotTrainable."""
        return expectation_of(dataset.catalog, dataset.decisions, spec)

    def launch(self, dataset: "Dataset", preset: str, seed: int = 0, expect: str = "", **settings: object) -> Run:
        """Queue a run of a preset on a dataset; its expectation and `expect`, a prediction in words, are frozen.

        Raises:
            BadSettings: one sentence that lists all that is wrong with the settings.
            NotTrainable: nothing can be trained on the dataset as it is.
        """
        return self.launch_spec(dataset, RunSpec.parse(preset, settings, seed, expect))

    def launch_spec(self, dataset: "Dataset", spec: RunSpec) -> Run:
        """The same with settings that were read already. Raises NotTrainable."""
        return launch_run(
            self.store, dataset.name, dataset.source, dataset.columns, dataset.catalog, dataset.decisions, spec
        )

    def runs(self, dataset: str | None = None) -> list[Run]:
        """All runs, or those on one dataset, newest first."""
        return list_runs(self.store, dataset)

    def run(self, id: int) -> Run:
        """The run of that number. Raises NotFound."""
        return get_run(self.store, id)

    def remove_dataset(self, name: str) -> None:
        """Forget a dataset with its scans, decisions and runs.

        Its images stay where they are, unless they were uploaded.

        Raises:
            Conflict: it is being scanned or trained on.
        """
        dataset = self.dataset(name)
        jobs.tend(self.store)  # a scan that was killed is not under way
        for job in jobs.listing(self.store, subject=name):
            if job.active and job.kind not in (examine.KIND, embed.KIND):
                doing = "scanned; cancel the scan" if job.kind == "scan" else f"trained on; stop run {job.id}"
                raise Conflict(f'"{name}" is being {doing} first.')
        for kind in (examine.KIND, embed.KIND):
            jobs.stop_all(self.store, kind, name)
        for run in self.runs(name):
            run.delete()
        for job in jobs.listing(self.store, subject=name):
            jobs.delete(self.store, job.id)
        with self.store.engine.begin() as connection:
            for of_dataset in RULED:
                connection.execute(delete(of_dataset).where(of_dataset.c.dataset == name))
            connection.execute(delete(table).where(table.c.name == name))
        shutil.rmtree(dataset.folder, ignore_errors=True)
        self.uploads.discard(Path(dataset.source))


@dataclass(frozen=True)
class Dataset:
    """A source that was given a name. Made by `Workspace.add_dataset` and `Workspace.dataset`."""

    workspace: Workspace
    name: str
    source: str
    columns: dict[str, str | None] | None
    note: str

    @property
    def folder(self) -> Path:
        return self.workspace.folder / "datasets" / self.name

    @property
    def origin(self) -> str:
        """The source for people: its path, or the name of the uploaded zip."""
        path = Path(self.source)
        return f"{path.name}, uploaded" if path in self.workspace.uploads else self.source

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.folder, decided=lambda: self.decisions.shown())

    @cached_property
    def decisions(self) -> Decisions:
        """What people ruled on its samples."""
        return Decisions(self.workspace.store, self.name, self.catalog)

    @property
    def looks(self) -> Looks:
        """Which samples somebody looked at."""
        return Looks(self.workspace.store, self.name)

    @cached_property
    def found(self) -> Findings:
        """Its findings, in pages, clusters and counts."""
        return Findings(self.folder, self.catalog, self.decisions)

    def findings(self, kind: str | None = None) -> pd.DataFrame:
        """Its findings of a kind, or all, one row each. Raises BadQuery where there is no such kind."""
        return self.found.frame(kind)

    def verdict(self) -> Verdict:
        """What matters most, ranked by likely harm, and whether the gate of stage 1 is open."""
        return verdict(self.found, self.looks.count(), self.waivers.all())

    @property
    def waivers(self) -> Waivers:
        """Which checks somebody let pass, and why."""
        return Waivers(self.workspace.store, self.name)

    @cached_property
    def opened(self) -> Source:
        """The source, opened; raises BadSource where it is gone."""
        return open_source(self.source, self.columns)

    @property
    def job(self) -> Job | None:
        """The newest scan."""
        jobs.tend(self.workspace.store)
        return jobs.latest(self.workspace.store, "scan", self.name)

    def launch_scan(self) -> Job:
        """Start a scan in a process of its own, or go on with the one that was stopped or lost.

        Raises:
            BadSource: the source cannot be used any more.
            Conflict: it is being scanned already.
        """
        store, job = self.workspace.store, self.job
        if job and job.active:
            raise Conflict(f'"{self.name}" is being scanned already (job {job.id}); wait for it or cancel it.')
        open_source(self.source, self.columns)
        if job and job.state in ("stopped", "lost", "failed"):
            return jobs.resume(store, job.id)
        return jobs.launch(
            store,
            kind="scan",
            subject=self.name,
            work="recipe_core.data.scan:work",
            spec=self._job_spec,
            folder=self.folder / "scan",
        )

    @property
    def _job_spec(self) -> dict:
        return {"dataset": str(self.folder), "source": self.source, "columns": self.columns}

    def scan(self, on_progress: Callable[[Job], None] | None = None) -> Job:
        """Scan and wait for the end; a scan under way is waited for. Interrupted, the scan itself goes on.

        Args:
            on_progress: called at every change; by default a line that renews itself, on a terminal or in a notebook.

        Raises:
            BadSource: the source cannot be used.
            RecipeError: the scan failed; the sentence says why.
        """
        job = self.job
        if job is None or not job.active:
            job = self.launch_scan()
        with Line(sys.stderr) as line:
            for change in jobs.follow(self.workspace.store, job.id):
                job = change
                (on_progress or line.show)(job)
        if job.state == "failed":
            raise RecipeError(job.error or "The scan failed.")
        return job

    def stop_scan(self) -> None:
        """Ask the scan under way to stop; what was measured stays, and the next scan goes on from there."""
        if (job := self.job) and job.active:
            jobs.stop(self.workspace.store, job.id)

    @property
    def examination(self) -> Job | None:
        """The job that looks at the pictures for damage and near duplicates; a scan launches it at its end."""
        return jobs.under_way(self.workspace.store, examine.KIND, self.name)

    def launch_examination(self) -> Job | None:
        """Examine what is not examined yet, or go on with it; None where nothing is left to examine."""
        job = self.examination
        return job if job and job.active else examine.launch(self.workspace.store, self.name, self._job_spec)

    @property
    def embedding(self) -> Job | None:
        """The job that turns the pictures into vectors and analyses them; an examination launches it at its end."""
        return jobs.under_way(self.workspace.store, embed.KIND, self.name)

    def launch_embedding(self, backbone: str | Path | None = None) -> Job | None:
        """Embed what is not embedded yet, or go on with it; None where nothing is left to embed.

        Args:
            backbone: a Python file on this machine with a function `backbone()`, which makes the vectors from now on,
                or "shipped"; by default the one that made them so far, at first the one that ships.

        Raises:
            BadModel: there is no such file.
        """
        if backbone is not None:
            state.choose_backbone(self.folder, None if backbone == "shipped" else Path(backbone))
        job = self.embedding
        return job if job and job.active else embed.launch(self.workspace.store, self.name, self._job_spec)

    def stop_embedding(self) -> None:
        """Ask the embedding under way to stop; what was embedded stays, and the next one goes on from there."""
        if (job := self.embedding) and job.active:
            jobs.stop(self.workspace.store, job.id)

    def embeddings(self) -> Embeddings:
        """The vectors of its pictures, as many as there are by now."""
        return Embeddings.of(self.catalog)

    def query(self, where: str = "", order_by: str = "", limit: int | None = None) -> pd.DataFrame:
        """The samples that satisfy a SQL condition.

        Raises:
            BadQuery: the condition or the order cannot be used.
        """
        return self.catalog.rows(Selection(where=where), order_by, limit)

    def decide(
        self,
        ruling: str,
        keys: str | Iterable[str],
        *,
        label: str | None = None,
        kind: str = "",
        by: str = "",
        note: str = "",
    ) -> int:
        """Rule keep, exclude, relabel or not-a-problem on samples; returns the number to undo it by.

        pets.decide("exclude", pets.query("sharpness < 10")["key"], note="too blurred to tell")

        Raises:
            BadDecision: the ruling makes no sense, or some keys belong to no sample; nothing is decided then.
        """
        return self.decisions.decide(ruling, keys, label=label, kind=kind, by=by, note=note)

    def manifest(self) -> Manifest:
        """The samples that a run launched now would read. Raises NotTrainable before a scan has finished."""
        return read_manifest(self.catalog, self.decisions)

    def read(self, key: str) -> bytes:
        """The bytes of one sample's file. Raises FileNotFoundError, OSError or BadSource."""
        return self.opened.read(key)

    def problems(self) -> list[str]:
        """What the last scan found wrong with the source itself, a sentence each."""
        return read_problems(self.folder)
