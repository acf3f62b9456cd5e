"""docs/audit.md, written from the checks themselves: python -m recipe_core.checks.docs > docs/audit.md"""

from recipe_core.checks.registry import FAMILIES, checks

INTRO = """# What the audit finds

`python -m recipe_core audit my_training.py` runs these experiments on a pipeline. Each states first what a healthy
pipeline does, then measures. What it finds has a cause, whose id is stable: scripts may rely on it, and `--waive CAUSE`
accepts one that is there on purpose. Written from the code by `python -m recipe_core.checks.docs > docs/audit.md`.
"""


def document() -> str:
    """Markdown: every cause of every family, with what it is, how it is found, how to fix it and its stage."""
    parts = [INTRO]
    for family in FAMILIES:
        parts += [f"\n## {family.capitalize()}\n", *_family(family)]
    return "\n".join(parts) + "\n"


def _family(family: str) -> list[str]:
    finders: dict[str, list] = {}
    known = {}
    for check in sorted(checks(), key=lambda each: (each.stage, each.name)):
        if check.family == family:
            for cause in check.causes:
                known[cause.id] = cause
                finders.setdefault(cause.id, []).append(check)
    lines = []
    for name, cause in known.items():
        found = " ".join(f"Expected: {check.hypothesis}" for check in finders[name])
        lines += [f"### `{name}`\n", f"{cause.about}\n", f"{found}\n"]
        lines += [f"Fix: {cause.fix} (Stage {finders[name][0].stage}, harm {cause.harm:g}.)\n"]
    return lines


if __name__ == "__main__":
    print(document(), end="")
