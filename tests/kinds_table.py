"""The README's table of kinds, generated: ``python -m tests.kinds_table`` writes it into the README."""

from __future__ import annotations

from pathlib import Path

from lrsched_cli.cli.show import default_text
from lrsched_cli.schedules import CANONICAL
from lrsched_cli.schedules.parameters import default_of, params_of

BEGIN, END = "<!-- kinds: begin -->\n", "<!-- kinds: end -->"


def kinds_table() -> str:
    rows = ["| kind (aliases) | what it does | parameters and defaults |", "| --- | --- | --- |"]
    for name, kind in CANONICAL.items():
        names = ", ".join([f"`{name}`", *(f"`{alias}`" for alias in kind.aliases)])
        parameters = []
        for parameter in params_of(kind):
            default = default_of(kind, parameter)
            if parameter in ("lr", "after") and name != "constant":
                continue
            parameters.append(f"`{parameter}`" + ("" if default is None else f" {default_text(default)}"))
        rows.append(f"| {names} | {kind.__doc__} | {', '.join(parameters)} |")
    return "\n".join(row.replace("||", "| |") for row in rows) + "\n"


def main() -> None:
    path = Path(__file__).parents[1] / "README.md"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}{kinds_table()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
