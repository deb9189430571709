"""Speech whose words are known."""

from __future__ import annotations

import pytest

from tests.sounds import Int16


@pytest.fixture(scope="session")
def reading(two_cities: Int16) -> Int16:
    """10.4 s of real speech, up to the pause behind the fifth clause."""
    return two_cities[: round(10.42 * 16_000)]


@pytest.fixture(scope="session")
def reading_text() -> str:
    """Its words (Charles Dickens, A Tale of Two Cities, book 1, chapter 1)."""
    return (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
        "it was the epoch of belief."
    )
