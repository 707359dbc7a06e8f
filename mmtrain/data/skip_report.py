"""What was skipped while reading data: each reason, its count, and where it first occurred."""

MAX_REASONS = 20  # listed one by one; data in another layout may have as many as it has rows


class SkipReport:
    """Counts skipped rows, images or lines by reason."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def add(self, reason: str, location: str) -> None:
        """Count one more; `location` identifies it, such as "row 7"."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        self._first.setdefault(reason, location)

    @property
    def total(self) -> int:
        """The count over all reasons."""
        return sum(self._counts.values())

    def notes(self, noun: str, file: str = "") -> list[str]:
        """Return a sentence for each reason, the most frequent first.

        Args:
            noun: What was skipped, in the singular, such as "row".
            file: Name of the file that the sentences begin with; "" leaves it out.
        """
        reasons = sorted(self._counts, key=lambda reason: -self._counts[reason])
        prefix = f"{file}: " if file else ""
        notes = []
        for reason in reasons[:MAX_REASONS]:
            count = format_count(self._counts[reason], noun)
            notes.append(f"{prefix}{count} skipped: {reason} (first: {self._first[reason]})")
        if others := reasons[MAX_REASONS:]:
            count = format_count(sum(self._counts[reason] for reason in others), noun)
            notes.append(f"{prefix}{count} skipped for {len(others):,} other reasons")
        return notes


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "2,000 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
