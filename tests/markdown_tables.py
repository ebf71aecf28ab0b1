"""Reading the tables of README and docs."""

from pathlib import Path


def rows(page: Path, first_column: str) -> list[list[str]]:
    """Cells of the tables whose first column is called so."""
    found: list[list[str]] = []
    inside = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first_column:
            inside = True
        elif inside and set(line) - set("|- "):
            found.append(cells)
    return found
