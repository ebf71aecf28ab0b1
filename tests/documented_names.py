"""Whether what a command names exists: targets, modules, flags, containers."""

import importlib.util
import re
import runpy
import shlex
import sys
import warnings
from contextlib import redirect_stdout
from functools import partial
from io import StringIO

import pytest
from documents import ROOT, Code


def see_that_names_exist(command: Code) -> None:
    """A command that is not executed names targets, modules and flags that there are."""
    match command.text.split():
        case ["make", target, *_]:
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert target in targets, command.place
        case ["python", "-m", module]:
            assert importlib.util.find_spec(module), command.place
        case ["docker", "compose", "exec" | "kill" | "logs" | "run", *words]:
            there = (ROOT / "docker-compose.yml").read_text()
            assert any(f"\n  {word}:\n" in there for word in words), command.place
        case ["python", *_]:
            assert flags_of(command.text) <= known_flags(command.text), command.place


def flags_of(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text.partition(" -- ")[0]))


def known_flags(text: str) -> set[str]:
    """What the command says of itself when it is asked."""
    words = shlex.split(text)[1:]
    module, rest = (words[1], words[2:]) if words[0] == "-m" else (words[0], words[1:])
    commands = [word for word in rest[:1] if re.fullmatch("[a-z]+", word)]
    arguments = [module, *commands, "--help"]
    said = StringIO()
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings(), redirect_stdout(said):
        warnings.simplefilter("ignore", RuntimeWarning)  # that it is imported already
        patched.setattr(sys, "argv", arguments)
        patched.setenv("COLUMNS", "200")
        ask = partial(runpy.run_module, module, alter_sys=True)
        if words[0] != "-m":
            ask = partial(runpy.run_path, str(ROOT / module))
        with pytest.raises(SystemExit) as left:
            ask(run_name="__main__")
    assert left.value.code in {0, None}, text
    return flags_of(said.getvalue())
