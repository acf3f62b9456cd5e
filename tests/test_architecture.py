"""The house's floors: who may import whom, how long a file may be, and that no machine's paths stand in it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = {"errors", "settings", "store", "links", "metrics", "own_code", "time_limit", "efficientnet"}
TOP = {"runs", "audits", "workspace"}  # where data and training meet, and the door to all of it
MAY_IMPORT = {
    "ground": {"ground"},
    "jobs": {"ground", "jobs"},
    "plots": {"ground", "plots"},
    "training": {"ground", "training"},  # meets the data in the manifest's tensors, never in imports
    "checks": {"ground", "training", "checks"},
    "data": {"ground", "jobs", "data"},
    "progress": {"ground", "jobs"},
    "top": {"ground", "jobs", "training", "checks", "data", "progress", "top"},
    "doors": {"ground", "jobs", "plots", "training", "checks", "data", "progress", "top", "doors"},
}
# A path that only one machine has, with a slash behind the folder so that this line is none.
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(tmp|work|home|root|Users|private)/|\b[A-Z]:\\\\")
TEXTS = {".py", ".js", ".css", ".md", ".toml", ".txt", ".yml", ""}


def files(*folders, suffixes=(".py",)):
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def imports(path):
    """The modules that a file imports anywhere in it, as dotted names; `from a import b` is both a and a.b."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def floor(part):
    """The floor of recipe_core.<part>."""
    if part in GROUND:
        return "ground"
    if part in TOP:
        return "top"
    return part if part in MAY_IMPORT or (ROOT / "recipe_core" / part).is_dir() else "doors"


def floor_of(path):
    return floor(path.relative_to(ROOT / "recipe_core").parts[0].removesuffix(".py"))


def floors_below(path):
    """The floors of recipe_core that a file imports."""
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("recipe_core.")}
    return {floor(part) for part in parts if (ROOT / "recipe_core" / part).is_dir() or is_module(part)}


def is_module(part):
    return (ROOT / "recipe_core" / f"{part}.py").is_file()


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files("recipe_core"), ids=named)
def test_imports_run_downwards_only(path):
    assert floors_below(path) <= MAY_IMPORT[floor_of(path)]


@pytest.mark.parametrize("path", files("recipe_core"), ids=named)
def test_the_package_knows_neither_streamlit_nor_pages(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"streamlit", "pages", "app"}


def test_every_folder_of_the_package_has_its_floor():
    folders = {
        path.parent.relative_to(ROOT / "recipe_core").parts[0]
        for path in files("recipe_core/")
        if path.parent != ROOT / "recipe_core"
    }
    assert folders <= set(MAY_IMPORT)


def test_no_file_is_over_400_lines():
    lengths = {
        named(path): len(path.read_text("utf-8").splitlines())
        for path in [*files("recipe_core", "pages", "tests", "benchmarks"), ROOT / "app.py"]
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_a_page_is_thin():
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "pages").glob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines >= 120} == {}


def test_no_machine_path_stands_in_the_repository():
    texts = files("recipe_core", "pages", "tests", "benchmarks", "docs", ".ci", ".streamlit", suffixes=TEXTS)
    texts += [path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXTS and path.name[0] != "."]
    found = {
        named(path): line
        for path in texts
        for line in path.read_text("utf-8").splitlines()
        if MACHINE_PATH.search(line)
    }
    assert found == {}
