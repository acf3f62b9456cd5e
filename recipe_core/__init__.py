"""Recipe: Karpathy's recipe for training neural networks as a product, for image data.

from recipe_core import Workspace

ws = Workspace("workspace")
pets = ws.add_dataset("pets", "/data/pets")
pets.scan()
pets.query("label = 'cat' and sharpness < 10", order_by="brightness desc", limit=48)
"""

from importlib import import_module

_HOMES = {"Workspace": "recipe_core.workspace", "Dataset": "recipe_core.workspace"}
__all__ = ["Dataset", "Workspace"]


def __getattr__(name: str) -> object:
    # Imported when asked for, so that a worker process loads only what its work needs.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
