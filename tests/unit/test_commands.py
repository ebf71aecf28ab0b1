"""All commands have one form; what docs/commands.md says of them is what the code does."""

import argparse
import contextlib
import io
import shlex
import subprocess
import sys
from collections import defaultdict

import pytest
from all_commands import COMMANDS, GROUPS, ROOT, entry_points, flags_of, meaning, typed
from markdown_tables import rows

from service.command_line import Command, CommandGroup, ExitStatus, Offer, UsageError

PAGE = ROOT / "docs" / "commands.md"
by_name = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def test_every_entry_point_is_a_command_or_lists_some() -> None:
    known = {command.name for command in COMMANDS} | {group.name for group in GROUPS}

    assert entry_points() <= known


@by_name
def test_help_names_every_flag_and_the_exit_statuses(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])

    told = capsys.readouterr()
    assert (ended.value.code, told.err) == (0, "")
    assert told.out.startswith(f"usage: {command.name} ")
    for flag in flags_of(command):
        assert flag.help, flag.dest
        assert (flag.option_strings or [flag.dest])[-1] in told.out
    said = " ".join(told.out.split())
    assert all(f"{int(status)} " in said.partition("Exit status: ")[2] for status in ExitStatus)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_the_help_of_a_group_lists_its_commands(
    group: CommandGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        group.main(["--help"])

    told = capsys.readouterr().out
    assert ended.value.code == 0
    for name, offer in group.commands.items():
        assert f"    {name} " in told
        assert offer.load().name == f"{group.name} {name}"


@by_name
def test_a_flag_that_is_none_is_refused_in_one_line(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--no-such-flag", "--\n"])

    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (ExitStatus.WRONG_USAGE, "")
    assert told.err.startswith(f"{command.name}: error: ")
    assert told.err.endswith(f"; see {command.name} --help\n")
    assert told.err.count("\n") == 1


@by_name
def test_a_flag_is_not_abbreviated(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    for flag in flags_of(command):
        if flag.option_strings:
            with pytest.raises(SystemExit):
                command.parser().parse_args([flag.option_strings[-1][:-1]])

    capsys.readouterr()


def test_flags_of_one_name_mean_the_same() -> None:
    """They take the same, and are words of the same kind."""
    kinds = defaultdict(set)
    for command in COMMANDS:
        for flag in flags_of(command):
            for name in flag.option_strings:
                # A port or a folder is text where it becomes a variable, which is checked later.
                kinds[name].add((flag.nargs, flag.metavar or flag.dest.upper()))
    # A folder where several files are written, a file where one is.
    assert kinds.pop("--output") == {(None, "FILE"), (None, "DIR")}

    assert {name: takes for name, takes in kinds.items() if len(takes) > 1} == {}


def test_the_page_lists_every_command() -> None:
    assert rows(PAGE, "command") == [
        [
            f"`{command.name}`",
            command.summary,
            "yes" if "--json" in {typed(flag) for flag in flags_of(command)} else "",
        ]
        for command in COMMANDS
    ]


def test_the_page_lists_every_flag() -> None:
    assert rows(PAGE, "command of it") == [
        [f"`{command.name}`", f"`{typed(flag)}`", meaning(command, flag)]
        for command in COMMANDS
        for flag in flags_of(command)
    ]


def test_the_page_lists_the_exit_statuses() -> None:
    assert [int(code) for code, _ in rows(PAGE, "exit status")] == list(map(int, ExitStatus))


class _FlawError(Exception):
    pass


class _MisuseError(Exception):
    pass


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (_FlawError("the disk is full\nreally"), ExitStatus.FAILED),
        (_MisuseError("CTR_X: no"), ExitStatus.WRONG_USAGE),
        (UsageError("--a and --b: give one"), ExitStatus.WRONG_USAGE),
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED),
    ],
)
def test_what_is_expected_ends_in_one_line(
    raised: BaseException, status: ExitStatus, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        raise raised

    command = Command(
        name="python -m something",
        summary="do something",
        add_flags=lambda _: None,
        run=run,
        process="something",
        misuses=(_MisuseError,),
        failures=(_FlawError,),
    )

    assert command.main([]) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_the_flags_alone_are_those_of_the_default_command() -> None:
    seen = []

    def add_flags(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port")

    def run(flags: argparse.Namespace) -> int:
        seen.append(flags.port)
        return 0

    command = Command(name="all it", summary="do it", add_flags=add_flags, run=run, process="it")
    group = CommandGroup(
        name="all", summary="do", commands={"it": Offer("do it", lambda: command)}, default="it"
    )

    assert [group.main(given) for given in ([], ["--port", "1"], ["it", "--port", "2"])] == [0] * 3
    assert seen == [None, "1", "2"]
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as told:
        group.main(["other"])
    assert "invalid choice: 'other'" in told.getvalue()


def test_help_comes_without_what_the_commands_need() -> None:
    heavy = ("uvicorn", "numpy", "pydantic", "sqlalchemy", "mlflow", "pyarrow", "tqdm")
    code = f"""
import sys, service.__main__, bridge.__main__
print([name for name in {heavy} if name in sys.modules])
"""
    told = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)

    assert told.strip() == "[]"


@pytest.mark.parametrize("name", ["python -m service serve", "python scripts/train_models.py"])
def test_what_is_typed_is_what_is_started(name: str) -> None:
    command = [sys.executable, *shlex.split(name)[1:], "--help"]
    told = subprocess.check_output(command, cwd=ROOT, text=True)

    assert told.startswith(f"usage: {name} ")
