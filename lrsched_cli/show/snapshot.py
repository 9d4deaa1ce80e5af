"""What writing a snapshot did, in words."""

from __future__ import annotations

from pathlib import Path

from lrsched_cli.show.summary import printable
from lrsched_cli.verify.snapshot import Written


def written_lines(written: Written, path: Path, recorded: int) -> list[str]:
    """A line for each entry that came, changed or went, and one that counts; ``recorded`` entries were looked at."""
    same = recorded - len(written.new) - len(written.changed)
    counts = {"new": len(written.new), "changed": len(written.changed), "gone": len(written.gone), "as before": same}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    lines = [
        *(f"changed {key}: {change.told}" for key, change in written.changed.items()),
        *(f"gone    {key}" for key in written.gone),
        *(f"new     {key}" for key in written.new),
        f"{written.count} schedule{'s' * (written.count != 1)} recorded in {path}: {told}",
    ]
    return list(map(printable, lines))
