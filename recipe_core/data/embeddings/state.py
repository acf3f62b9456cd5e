"""What is known of a dataset's embeddings without opening them: which backbone makes them, and how far they are.

embeddings/backbone.json    the user's own file, where one was named
embeddings/embedded.json    for which catalog and backbone the vectors are complete
"""

import json
from pathlib import Path

from recipe_core.data.embeddings.analyses import ANALYSES
from recipe_core.data.fingerprints import byte_hash
from recipe_core.data.put import put
from recipe_core.errors import BadModel

SHIPPED = "efficientnet-lite0 0.1.0, 96 px, three layers"  # changes with whatever changes its vectors
LAYERS = (1280, 672, 1152)  # numbers of its vectors, by layer: the last, and those in its blocks 11 and 15


def own_backbone(dataset: Path) -> Path | None:
    """The user's file that makes the vectors; None stands for the backbone that ships."""
    path = dataset / "embeddings" / "backbone.json"
    return Path(json.loads(path.read_text("utf-8"))["file"]) if path.exists() else None


def choose_backbone(dataset: Path, file: Path | None) -> None:
    """Let this file make the vectors from now on, or the backbone that ships.

    Raises:
        BadModel: there is no such file.
    """
    path = dataset / "embeddings" / "backbone.json"
    if file is None:
        path.unlink(missing_ok=True)
        return
    if not file.is_file():
        raise BadModel(f"There is no file {file}; name a Python file with a function backbone().")
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, lambda partial: partial.write_text(json.dumps({"file": str(file.resolve())}), "utf-8"))


def backbone_name(dataset: Path) -> str:
    """Tells the vectors of one backbone from those of another; a file that was edited is another one."""
    file = own_backbone(dataset)
    if file is None:
        return SHIPPED
    return f"{file.name} {byte_hash(file.read_bytes()) if file.is_file() else 'gone'}"


def stamp(dataset: Path, catalog: str | None) -> str | None:
    """Tells what is embedded, of a catalog with that stamp, from what is to be embedded after it changed."""
    return catalog and f"{catalog} by {backbone_name(dataset)}"


def vectors_stamp(dataset: Path) -> str | None:
    """For what the vectors are complete."""
    path = dataset / "embeddings" / "embedded.json"
    return json.loads(path.read_text("utf-8"))["stamp"] if path.exists() else None


def note_vectors(dataset: Path, stamp: str) -> None:
    """The vectors are complete for this."""
    path = dataset / "embeddings" / "embedded.json"
    path.parent.mkdir(exist_ok=True)  # where no picture was embedded nobody made it
    put(path, lambda partial: partial.write_text(json.dumps({"stamp": stamp}), "utf-8"))


def waiting(dataset: Path, catalog: str | None) -> list[str]:
    """The names of what is not complete for the catalog with that stamp: `vectors` and the analyses."""
    now = stamp(dataset, catalog)
    names = [] if vectors_stamp(dataset) == now else ["vectors"]
    return names + [each.name for each in ANALYSES if each.about(dataset).get("stamp") != now]
