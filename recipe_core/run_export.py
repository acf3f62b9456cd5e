"""Runs for other programs: TensorBoard and MLflow. Neither is a dependency; each is imported when it is asked for."""

import importlib
from pathlib import Path
from types import ModuleType

from recipe_core.errors import Conflict, NotFound
from recipe_core.runs import Run

MLFLOW_BATCH = 1000  # metrics that MLflow takes at once
MLFLOW_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "lost": "KILLED"}


def to_tensorboard(run: Run, folder: Path) -> str:
    """Write a run's settings and metrics into a folder of its own in TensorBoard's log folder; returns that folder.

    Raises:
        NotFound: the package is not installed.
        Conflict: the run was written there already, or the folder cannot be written.
    """
    _package("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    folder = folder.expanduser().resolve() / _name(run)
    if folder.exists():
        raise Conflict(f"{folder} exists already; delete it or choose another folder.")
    try:
        with SummaryWriter(str(folder)) as writer:
            writer.add_text("settings", "  \n".join(f"{name}: {value}" for name, value in run.spec.to_dict().items()))
            for name, column in run.metrics().items():
                for step, value in column.dropna().items():
                    writer.add_scalar(str(name), value, step)
    except OSError as problem:
        raise Conflict(f"{folder} cannot be written ({problem.strerror}); choose another folder.") from problem
    return str(folder)


def to_mlflow(run: Run, uri: str) -> str:
    """Write a run's settings and metrics to MLflow, as a run of the experiment named after the dataset.

    Raises:
        NotFound: the package is not installed.
        Conflict: MLflow refuses; the sentence says why.
    """
    mlflow = _package("mlflow")
    try:
        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name(run.dataset)
        id = experiment.experiment_id if experiment else client.create_experiment(run.dataset)
        job = run.job
        start = int(1000 * (job.started or job.created))
        made = client.create_run(id, start_time=start, run_name=_name(run)).info.run_id
        metrics = [
            mlflow.entities.Metric(name, value, start, step)
            for name, column in run.metrics().items()
            for step, value in column.dropna().items()
        ]
        params = [mlflow.entities.Param(name, str(value)) for name, value in run.spec.to_dict().items()]
        client.log_batch(made, params=params)
        for first in range(0, len(metrics), MLFLOW_BATCH):
            client.log_batch(made, metrics=metrics[first : first + MLFLOW_BATCH])
        if not job.active:
            client.set_terminated(made, MLFLOW_STATUS[job.state], int(1000 * (job.ended or job.created)))
    except mlflow.exceptions.MlflowException as problem:
        raise Conflict(f"MLflow at {uri} refuses: {str(problem).strip().partition(chr(10))[0]}") from problem
    return f"the experiment {run.dataset} of MLflow at {uri} as {made}"


def _name(run: Run) -> str:
    return f"{run.dataset}-{run.id}-{run.spec.preset}"


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise NotFound(
            f"The package {name} cannot be imported ({problem}); install it with: pip install {name}"
        ) from problem
