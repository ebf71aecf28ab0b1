"""The test of the documents finds what it is there to find."""

from pathlib import Path

import pytest
from documented_names import see_that_names_exist
from documents import ROOT, Code, code, lacking

PAGE = """# A page

Try `make run`, then

```sh
curl http://127.0.0.1:8000/feedback -d '{
  "events": []}'
python a.py --b \\
  --c  # it isn't "closed"
```

and `make test`.
"""


def test_a_command_ends_where_a_shell_would_end_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    before, fence, after = code(page)

    assert (before.text, before.line, before.language) == ("make run", 3, "")
    assert (after.text, after.line) == ("make test", 12)
    assert [(command.line, command.text.count("\n")) for command in fence.commands()] == [
        (6, 1),
        (8, 1),
    ]


@pytest.mark.parametrize(
    "right",
    [
        "make run",
        "python -m benchmarks.scoring",
        "python -m bridge export --days 30 --output FILE",
        "python scripts/run_api.py --workers N",
        "docker compose logs --follow service bridge",
    ],
)
def test_what_exists_may_be_named(right: str) -> None:
    see_that_names_exist(Code(ROOT / "page.md", 1, "", right))


@pytest.mark.parametrize(
    "wrong",
    [
        "make ruin",
        "python -m benchmarks.scorn",
        "python -m bridge export --weeks 30",
        "python -m bridge exports --days 30",
        "python scripts/run_api.py --slaves N",
        "docker compose logs --follow servant",
    ],
)
def test_what_does_not_exist_is_found(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError):
        see_that_names_exist(Code(ROOT / "page.md", 1, "", wrong))
    capsys.readouterr()  # argparse says what there is


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ({"a": 1, "b": "x"}, []),
        ({"c": None}, [".c"]),
        ({"d": [{"e": 1.5}]}, []),
        ({"d": [{"f": 1}]}, [".d[0].f"]),
        ({"b": 1}, [".b"]),
        ({"g": "2026-11-23"}, []),
    ],
)
def test_what_an_answer_lacks_is_named(shown: object, missing: list[str]) -> None:
    assert lacking(shown, {"a": 2.5, "b": "y", "d": [{"e": 1}, {}], "g": None}) == missing
