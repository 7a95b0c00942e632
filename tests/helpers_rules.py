"""Rules for tests: the bundled ones that delete, and others written in one line."""

from __future__ import annotations

from softmorph_cli.rules import catalog
from softmorph_cli.rules.rule import Action, Rule
from softmorph_cli.rules.rulefile import loads

DELETING = [name for name in catalog.names() if catalog.bundled(name).action is Action.DELETE]


def deleting_rule(when: str, dimensions: int = 2, schedule: str = '["N"]', more: str = "") -> Rule:
    """Return a rule that deletes where a condition holds."""
    if dimensions == 3 and schedule == '["N"]':
        schedule = '["U"]'
    text = f'dimensions = {dimensions}\naction = "delete"\nwhen = """{when}"""\nschedule = {schedule}\n{more}'
    return loads(text, name="mine")
