"""Recipe: Karpathy's recipe for training neural networks as a product, for image data.

from recipe_core import Pipeline, Workspace, audit

ws = Workspace("workspace")
pets = ws.add_dataset("pets", "/data/pets")
pets.scan()
pets.query("label = 'cat' and sharpness < 10", order_by="brightness desc", limit=48)

print(audit(Pipeline(model_fn, train_loader, val_loader, num_classes=10)))      # what silently ruins a training
"""

import os
from importlib import import_module

# For torch, which reads it when it is loaded: threads wait for each other only so many turns before they sleep. Left to
# themselves they spin on, and beside any other busy process two threads are several times slower than one.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_HOMES = {
    "Dataset": "recipe_core.workspace",
    "Pipeline": "recipe_core.training.pipeline",
    "Workspace": "recipe_core.workspace",
    "assert_no_silent_failures": "recipe_core.checks.testing",
    "assert_same": "recipe_core.checks.testing",
    "audit": "recipe_core.checks.audit",
}
__all__ = ["Dataset", "Pipeline", "Workspace", "assert_no_silent_failures", "assert_same", "audit"]


def __getattr__(name: str) -> object:
    # Imported when asked for, so that a worker process loads only what its work needs.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
