"""Reading README and docs: what they show as code, and the commands in it."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Code:
    """Something that a page shows as code."""

    page: Path
    line: int
    """Of its first line in the page."""
    language: str
    """What the fence says; empty where code is part of a sentence."""
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list["Code"]:
        """What a shell would read as one command each: lines, and what they continue in."""
        found: list[Code] = []
        begun = ""
        for number, line in enumerate(self.text.splitlines(), start=self.line):
            begun = f"{begun}\n{line}" if begun else line
            if _ends(begun):
                if begun.strip():
                    first = number - begun.count("\n")
                    found.append(Code(self.page, first, self.language, begun))
                begun = ""
        assert not begun, f"{self.place}: a quote is not closed"
        return found


def code(page: Path) -> list[Code]:
    """Everything that a page shows as code, from top to bottom."""
    text = page.read_text()
    fences = [
        Code(page, _line(text, match.start(2)), match[1], match[2])
        for match in _FENCE.finditer(text)
    ]
    # Blanks in place of fences keep the numbers of the lines.
    rest = _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    sentences = [
        Code(page, _line(rest, match.start()), "", match[1]) for match in _INLINE.finditer(rest)
    ]
    return sorted([*fences, *sentences], key=lambda shown: shown.line)


def headings(page: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def lacking(shown: Any, real: Any, where: str = "") -> list[str]:  # noqa: ANN401 - any JSON
    """Names of what an answer on a page has and a real one has not, or of another type."""
    match shown, real:
        case dict(), dict():
            return [
                problem
                for name, value in shown.items()
                for problem in (
                    lacking(value, real[name], f"{where}.{name}")
                    if name in real
                    else [f"{where}.{name}"]
                )
            ]
        case [first, *_], [real_first, *_]:
            return lacking(first, real_first, f"{where}[0]")
        case (_, None) | (None, _) | (list(), list()):
            return []
        case ((int() | float()), (int() | float())):
            return []
    return [] if type(shown) is type(real) else [where]


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _ends(command: str) -> bool:
    if command.endswith("\\"):
        return False
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True
