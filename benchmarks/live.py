"""How long a point that a run has written takes to be seen, with several viewers of four runs.

    .venv/bin/python -m benchmarks.live [--workspace DIR] [--viewers 10]     # a workspace with the demo dataset scanned

Needs Chromium at /usr/bin/chromium. Four runs at once take a step about 20 times a second; each viewer looks at all
four laid over each other. One viewer is a Chromium, which looks every 50 ms at the last step in its loss chart; the
others are `benchmarks.viewers`: a team's browsers do not run on the server. Beside it stands when that step was in the
store, asked for every 50 ms too. Hypothesis: charts are renewed once a second, so half of the points are seen after
half a second and a fraction, and nearly all within 2 s, though viewers, runs and server share two cores.
"""

import argparse
import asyncio
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.dashboard import URL, looked_at
from benchmarks.viewers import Seen, newest_steps, view
from recipe_core import settings
from recipe_core.runs import Run
from recipe_core.workspace import Workspace

RUNS = 4
STEADY = """
import time
from torch import nn
class Steady(nn.Sequential):
    def forward(self, x):
        time.sleep(0.05 * self.training)
        return super().forward(x)
def model(classes, size=48):
    return Steady(nn.Flatten(), nn.Linear(3 * size * size, classes))
"""
WATCH = """() => { window.seen = []; let last = -1; setInterval(() => {
  const chart = document.querySelector('.js-plotly-plot');
  if (!chart || !chart.data) return;
  const newest = Math.max(...chart.data.filter(t => t.x && t.x.length).map(t => t.x[t.x.length - 1]));
  if (newest > last) { last = newest; window.seen.push([Date.now() / 1000, newest]); } }, 50); }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", default="workspace")
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--viewers", type=int, default=10)
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    settings.SLOTS["run"] = RUNS
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "steady.py"
        model.write_text(STEADY)
        steps = 20 * (options.seconds + 120)
        demo = workspace.dataset("demo")
        runs = [workspace.launch(demo, "linear", seed, model_file=model, steps=steps) for seed in range(RUNS)]
        try:
            _report(_measure(workspace, runs, options.seconds, options.viewers))
        finally:
            for run in runs:
                run.stop()


def _measure(workspace: Workspace, runs: list[Run], seconds: int, viewers: int) -> dict[str, list[float]]:
    """Seconds from the store to the screen, of every renewal: in the Chromium, and in the other viewers."""
    while not all(len(run.metrics()) for run in runs):
        time.sleep(0.5)
    query = "dataset=demo&" + "&".join(f"run={run.id}" for run in runs)
    with looked_at(workspace.folder) as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{URL}/train?{query}")
        page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
        others: list[Seen] = []
        crowd = threading.Thread(target=lambda: others.extend(asyncio.run(_crowd(query, viewers - 1, seconds + 15))))
        crowd.start()
        time.sleep(10)  # what comes from here on is measured
        begun = time.time()
        page.evaluate(WATCH)
        written = _written(runs, seconds)
        seen = [page.evaluate("() => window.seen.slice(1)")]
        crowd.join()
    steps, moments = np.array(written).T

    def delays(viewer: list[tuple[float, float]]) -> list[float]:
        """Of each step that the store got: until it, or a later one, was seen."""
        at, seen = np.array([each for each in viewer if each[0] >= begun]).T
        known = (steps > seen[0]) & (steps <= seen[-1])
        return list(at[np.searchsorted(seen, steps[known])] - moments[known])

    return {
        "in Chromium": [delay for viewer in seen for delay in delays(viewer)],
        f"for {viewers - 1} others": [delay for viewer in others for delay in delays(list(newest_steps(viewer)))],
    }


async def _crowd(query: str, viewers: int, seconds: float) -> list[Seen]:
    host = URL.partition("//")[2]
    return await asyncio.gather(*(view(host, "train", query, seconds) for _ in range(viewers)))


def _written(runs: list[Run], seconds: int) -> list[tuple[float, float]]:
    """The newest step of any run, and when it was in the store, as it changes."""
    found: list[tuple[float, float]] = []
    over = threading.Event()
    threading.Timer(seconds, over.set).start()
    while not over.wait(0.05):
        newest = max(run.metrics(["train_loss"]).index[-1] for run in runs)
        if not found or newest > found[-1][0]:
            found.append((newest, time.time()))
    return found


def _report(measured: dict[str, list[float]]) -> None:
    for who, delays in measured.items():
        middle, most, longest = np.percentile(delays, [50, 95, 100])
        within = np.mean(np.array(delays) <= 2)
        print(
            f"{len(delays)} points seen {who}, {RUNS} runs: median {middle:.2f} s, 95 % {most:.2f} s, "
            f"longest {longest:.2f} s; within 2 s: {within:.1%}; load {os.getloadavg()[0]:.1f}"
        )


if __name__ == "__main__":
    main()
