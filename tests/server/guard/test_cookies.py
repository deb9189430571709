"""Sessions of browsers."""

from __future__ import annotations

from alfred_voice.server.guard.cookies import LIFETIME_S, MOST, Cookies


DIGEST = b"d" * 32


def test_a_cookie_stands_for_the_key_it_was_made_for_until_it_expires() -> None:
    cookies = Cookies()
    value = cookies.open(DIGEST, now=100)

    assert cookies.digest_of(value, 100 + LIFETIME_S - 1) == DIGEST
    assert cookies.digest_of(value, 100 + LIFETIME_S) is None
    assert cookies.digest_of(value + "x", 100) is None


def test_no_two_are_alike_and_the_oldest_go_when_there_are_too_many() -> None:
    cookies = Cookies()
    values = [cookies.open(DIGEST, now=0) for _ in range(MOST + 1)]

    assert len(set(values)) == MOST + 1
    assert len(cookies) == MOST
    assert cookies.digest_of(values[0], 1) is None
    assert cookies.digest_of(values[1], 1) == DIGEST
