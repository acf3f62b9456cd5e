"""The docs say what the code does."""

import re
from pathlib import Path

from recipe_core.cli import main
from recipe_core.data.facts import ABOUT

ROOT = Path(__file__).parents[1]


def test_docs_facts_lists_every_fact_with_its_unit_and_meaning():
    lines = (ROOT / "docs" / "facts.md").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `")] == [
        f"| `{fact.name}` | {fact.unit} | {fact.about} |" for fact in ABOUT.values()
    ]


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_in_the_readme_is_known_to_the_terminal(capsys):
    commands = set(re.findall(r"python -m recipe_core ([a-z]+)", (ROOT / "README.md").read_text("utf-8")))
    assert {"demo", "scan", "query"} <= commands
    for command in commands:
        try:
            main([command, "--help"])
        except SystemExit as end:
            assert end.code == 0, command
        assert command in capsys.readouterr().out
