"""Every command of the repository, as the code has it."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bridge.__main__ import BRIDGE
from demo.__main__ import DEMO
from deploy.__main__ import DEPLOY
from deploy.dashboards.__main__ import DASHBOARDS
from deploy.retraining.__main__ import RETRAINING
from service.__main__ import SERVICE
from service.command_line import Command
from service.launcher import RUN_API
from service.smoke import SMOKE
from service.training.cli import TRAIN

ROOT = Path(__file__).parents[1]
GROUPS = (SERVICE, BRIDGE)
COMMANDS: tuple[Command, ...] = (
    *(offer.load() for group in GROUPS for offer in group.commands.values()),
    *(DEMO, DEPLOY, DASHBOARDS, RETRAINING),
    *(RUN_API, TRAIN, SMOKE),
)


def flags_of(command: Command) -> Iterator[argparse.Action]:
    """Its flags, and what it takes without one; help is everybody's."""
    for action in command.parser()._actions:  # noqa: SLF001 - argparse tells it no other way
        if not isinstance(action, argparse._HelpAction):  # noqa: SLF001 - as above
            yield action


def typed(flag: argparse.Action) -> str:
    """A flag as the documentation writes it, with what it takes."""
    name = flag.option_strings[-1] if flag.option_strings else str(flag.metavar or flag.dest)
    if flag.nargs == 0 or not flag.option_strings:
        return name
    choices = "{" + ",".join(flag.choices or ()) + "}"
    taken = choices if flag.choices else flag.metavar or flag.dest.upper()
    return f"{name} {taken}{'...' if flag.nargs == '+' else ''}"


def meaning(command: Command, flag: argparse.Action) -> str:
    """What help says of a flag."""
    said = (flag.help or "") % {**vars(flag), "prog": command.name}
    return f"{said} (needed)" if flag.required else said


def entry_points() -> set[str]:
    """What can be started: by path, or as a module."""
    scripts = {f"python scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")}
    modules = {
        f"python -m {'.'.join(path.parent.relative_to(ROOT).parts)}"
        for package in ("service", "bridge", "demo", "deploy")
        for path in (ROOT / package).rglob("__main__.py")
    }
    return scripts | modules
