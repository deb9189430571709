"""Sessions of browsers."""

from __future__ import annotations

from alfred_voice.server.guard.cookies import LIFETIME_S, MOST_OF_KEY, Cookies


DIGEST = b"d" * 32


def test_a_cookie_stands_for_the_key_it_was_made_for_until_it_expires() -> None:
    cookies = Cookies()
    value = cookies.open(DIGEST, now=100)

    assert cookies.digest_of(value, 100 + LIFETIME_S - 1) == DIGEST
    assert cookies.digest_of(value, 100 + LIFETIME_S) is None
    assert cookies.digest_of(value + "x", 100) is None


def test_no_two_are_alike_and_the_oldest_of_a_key_go_when_it_has_too_many() -> None:
    cookies = Cookies()
    other = cookies.open(b"o" * 32, now=0)
    values = [cookies.open(DIGEST, now=0) for _ in range(MOST_OF_KEY + 1)]

    assert len(set(values)) == MOST_OF_KEY + 1
    assert len(cookies) == MOST_OF_KEY + 1
    assert cookies.digest_of(values[0], 1) is None
    assert cookies.digest_of(values[1], 1) == DIGEST
    assert cookies.digest_of(other, 1) == b"o" * 32  # no key pushes another's out


def test_what_has_expired_takes_no_room() -> None:
    cookies = Cookies()
    cookies.open(DIGEST, now=0)
    cookies.open(b"o" * 32, now=LIFETIME_S)

    assert len(cookies) == 1


def test_one_that_is_closed_is_worth_nothing() -> None:
    cookies = Cookies()
    value, other = cookies.open(DIGEST, now=0), cookies.open(DIGEST, now=0)

    assert cookies.close(value)
    assert not cookies.close(value)
    assert cookies.digest_of(value, 1) is None
    assert cookies.digest_of(other, 1) == DIGEST
