"""What was left out of data: every reason, how often, and where it was met first."""

LISTED = 20  # reasons; data of another layout may have as many as rows


class Skipped:
    """Counts what can't be used, by reason."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def add(self, reason: str, where: str) -> None:
        """`where` names one of these things, such as "row 7"."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        self._first.setdefault(reason, where)

    @property
    def total(self) -> int:
        return sum(self._counts.values())

    def notes(self, thing: str, file: str = "") -> list[str]:
        """A note for each reason, the most frequent first; `thing` is "row", say, in `file`."""
        reasons = sorted(self._counts, key=lambda reason: -self._counts[reason])
        prefix = f"{file}: " if file else ""
        notes = [
            f"{prefix}{count_of(self._counts[r], thing)} skipped: {r} (first: {self._first[r]})"
            for r in reasons[:LISTED]
        ]
        if rest := reasons[LISTED:]:
            count = sum(self._counts[reason] for reason in rest)
            notes.append(
                f"{prefix}{count_of(count, thing)} skipped for {len(rest):,} other reasons"
            )
        return notes


def count_of(number: int, thing: str) -> str:
    """ "1 row", "2,000 rows"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
