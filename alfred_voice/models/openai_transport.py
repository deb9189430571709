"""Carries questions to a server that speaks OpenAI's protocol, and answers back.

Everything is bounded: the time of a question with all its attempts, the time of a connection, the number of attempts
and of connections, and the size of an answer. No redirect is followed, so that the key goes nowhere but to the server
that was named. Each read of the network, too, has no more time than the question has left; only a server that sends a
header byte by byte holds its thread longer than that, and whoever waits for that thread must not wait for ever.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import SystemRandom
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

from alfred_voice import __version__
from alfred_voice.clock import Clock
from alfred_voice.errors import EngineFailure, EngineRests
from alfred_voice.models.circuit_breaker import Circuit, CircuitBreaker
from alfred_voice.models.openai_answers import read_error, told
from alfred_voice.models.openai_options import check_api_key, check_base_url
from alfred_voice.models.retry import Backoff, asked_delay_s, is_passing


if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

log = logging.getLogger(__name__)

MOST_ANSWER_BYTES = 4 << 20
"""A minute of speech with the times of its words is 50 kB."""
MOST_ERROR_BYTES = 1 << 16
"""So much of an answer that is none is looked at."""
_LOOK_S = 0.25
"""A wait between two attempts notices within this that the transport has been closed."""
_WRONG_KEY = frozenset({401, 403})
_NO_SECOND = Backoff(max_retries=0)
_HIDDEN = "***"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Refused(EngineFailure):
    """The server understood, and will not: to ask the same again is no use.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class LeftAlone(EngineRests):
    """The server has failed so often that it is not asked for a while."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A server, and how patient to be with it."""

    base_url: str
    """Up to and with ``/v1``."""
    api_key: str = field(default="", repr=False)
    """Empty for none."""
    timeout_s: float = 20.0
    """For a question with all its attempts and the waits between them."""
    connect_timeout_s: float = 3.0
    max_retries: int = 2
    max_parallel: int = 8
    """Connections."""
    breaker_failures: int = 5
    breaker_reset_s: float = 15.0

    def __post_init__(self) -> None:
        check_base_url(self.base_url)
        check_api_key(self.api_key, "api_key")


class _Fault(Exception):
    """An attempt has failed in a way that may pass.

    Attributes:
        asked_s: what the server asks to wait, if it does.
    """

    def __init__(self, message: str, asked_s: float | None = None) -> None:
        super().__init__(message)
        self.asked_s = asked_s


class OpenAiTransport:
    """One server's connections; may be used from several threads.

    Args:
        remote: the server.
        clock: for time limits and waits.
        chance: evenly drawn numbers from 0 to 1, for the waits; the machine's own when absent.
    """

    def __init__(self, remote: Remote, clock: Clock, chance: Callable[[], float] | None = None) -> None:
        # Only here: a daemon without a remote engine does without the library and its certificates.
        import httpx

        self._remote = remote
        self._clock = clock
        self._chance = chance or SystemRandom().random
        self._backoff = Backoff(remote.max_retries)
        self._breaker = CircuitBreaker(remote.breaker_failures, remote.breaker_reset_s)
        self._closed = Event()
        self._lock = Lock()
        self._streams: WeakSet[Any] = WeakSet()
        self._failures = (httpx.HTTPError, httpx.InvalidURL)
        headers = {"User-Agent": f"alfred-voice/{__version__}", "Accept": "application/json"}
        # An answer that was packed could unpack to any size.
        headers["Accept-Encoding"] = "identity"
        if remote.api_key:
            headers["Authorization"] = f"Bearer {remote.api_key}"
            _warn_of_open_key(remote.base_url)
        self._client = httpx.Client(
            headers=headers,
            follow_redirects=False,
            limits=httpx.Limits(
                max_connections=remote.max_parallel, max_keepalive_connections=remote.max_parallel, keepalive_expiry=60
            ),
        )

    def __repr__(self) -> str:
        return f"<OpenAiTransport {self._remote.base_url} {self._breaker.state.value}>"

    def post(
        self,
        path: str,
        content: Mapping[str, Any],
        read: Callable[[bytes], T],
        within_s: float | None = None,
        *,
        is_vital: bool = True,
    ) -> T:
        """What ``read`` makes of the server's answer to one question.

        Args:
            path: behind the server's address.
            content: as httpx takes it: ``json``, or ``data`` and ``files``.
            read: raises :exc:`EngineFailure` when it can make nothing of the answer.
            within_s: a shorter time limit than the server's own.
            is_vital: False for a question that is not worth a second attempt, nor a trial of a server that has been
                left alone, and whose failure is not held against the server.

        Raises:
            Refused: the server answered with an error that will not pass.
            LeftAlone: it was not asked.
            EngineFailure: it did not answer in time, or not with what was expected.
        """
        started = self._clock.now()
        # A trial is for a question that matters: while it is out, no other goes.
        ticket = self._breaker.admit(started) if is_vital or self._breaker.state is Circuit.CLOSED else None
        if ticket is None:
            raise LeftAlone(self._told(self._left_alone(started)))
        try:
            limit_s = self._remote.timeout_s if within_s is None else min(within_s, self._remote.timeout_s)
            url = f"{self._remote.base_url.rstrip('/')}/{path}"
            backoff = self._backoff if is_vital else _NO_SECOND
            answer = read(self._ask(url, content, started + limit_s, backoff))
        except EngineFailure as failure:
            self._judge(ticket, failure, is_vital)
            message = self._told(str(failure))
            if isinstance(failure, Refused):
                raise Refused(message, failure.status) from None
            raise EngineFailure(message) from failure.__cause__
        except BaseException:
            self._breaker.abandon(ticket)
            raise
        if self._breaker.succeed(ticket):
            log.warning("server_is_back", extra={"server": self._remote.base_url})
        return answer

    def close(self) -> None:
        """Give up all connections, also those that wait for an answer: their questions fail at once."""
        self._closed.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            _shut(stream)
        self._client.close()

    def _judge(self, ticket: int, failure: EngineFailure, is_vital: bool) -> None:
        """Tell the breaker: a server that refuses one question is well, but for one that takes none of ours."""
        if isinstance(failure, Refused) and failure.status not in _WRONG_KEY:
            self._breaker.succeed(ticket)
        elif is_vital:
            if self._breaker.fail(ticket, self._clock.now(), str(failure)):
                fields = {"server": self._remote.base_url, "error": self._told(str(failure))}
                log.warning("server_left_alone", extra=fields)
        else:
            self._breaker.abandon(ticket)

    def _left_alone(self, now: float) -> str:
        wait_s = self._breaker.wait_s(now)
        again = f"for {wait_s:.1f} s more" if wait_s else "until a trial has succeeded"
        return f"left alone {again}, as it failed too often; the last time: {self._breaker.reason}"

    def _told(self, message: str) -> str:
        """A message for people, of which server, and without its key wherever that may have come from."""
        return f"{self._remote.base_url}: {self._without_key(message)}"

    def _without_key(self, text: str) -> str:
        return text.replace(self._remote.api_key, _HIDDEN) if self._remote.api_key else text

    # One question

    def _ask(self, url: str, content: Mapping[str, Any], deadline: float, backoff: Backoff) -> bytes:
        """The answer, by as many attempts as it takes and as are allowed."""
        failures = 0
        while not self._closed.is_set():
            try:
                return self._attempt(url, content, deadline)
            except _Fault as fault:
                failures += 1
                left_s = deadline - self._clock.now()
                delay_s = backoff.delay_s(failures, self._chance(), fault.asked_s, left_s)
                if delay_s is None:
                    attempts = "" if failures == 1 else f" ({failures} attempts)"
                    raise EngineFailure(f"{fault}{attempts}") from fault.__cause__
                log.info(
                    "server_asked_again", extra={"server": url, "delay_s": delay_s, "error": self._told(str(fault))}
                )
            self._wait(delay_s)
        raise EngineFailure("the connections have been closed")

    def _wait(self, delay_s: float) -> None:
        while delay_s > 0 and not self._closed.is_set():
            self._clock.sleep(min(delay_s, _LOOK_S))
            delay_s -= _LOOK_S

    def _attempt(self, url: str, content: Mapping[str, Any], deadline: float) -> bytes:
        """The body of a good answer."""
        left_s = deadline - self._clock.now()
        if left_s <= 0:
            raise EngineFailure("no time is left for it")
        connect_s = min(self._remote.connect_timeout_s, left_s)
        timeout = {"connect": connect_s, "read": left_s, "write": left_s, "pool": left_s}
        extensions = {"timeout": timeout, "trace": self._trace}
        try:
            with self._client.stream("POST", url, extensions=extensions, **content) as answer:
                body = self._receive(answer, deadline)
        except self._failures as exc:
            raise _Fault(_network_fault(exc, connect_s)) from exc
        if answer.is_success:
            return body
        raise self._failure(answer, body)

    def _receive(self, answer: httpx.Response, deadline: float) -> bytes:
        """The body, whole if the answer is a good one."""
        packed = answer.headers.get("content-encoding", "identity")
        if answer.is_success and packed != "identity":
            raise EngineFailure(f"expected an answer that is not packed, got {told(packed)}")
        most = MOST_ANSWER_BYTES if answer.is_success else MOST_ERROR_BYTES
        body = bytearray()
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > most and answer.is_success:
                raise EngineFailure(f"expected an answer of at most {most} bytes, got more")
            if len(body) > most:
                break
            if self._clock.now() > deadline:
                raise _Fault("the answer did not end in time")
        return bytes(body)

    def _failure(self, answer: httpx.Response, body: bytes) -> Exception:
        """What an answer that is none amounts to."""
        status = answer.status_code
        # The key is taken out first: shortened, it could not be found any more.
        detail = read_error(self._without_key(body.decode("utf-8", errors="replace")).encode())
        if answer.is_redirect:
            host = urlsplit(answer.headers.get("location", "")).hostname or "another place"
            detail = f"it points to {told(host)}, where nothing is sent: set base_url to the right address"
        message = f"answered {status}: {detail}" if detail else f"answered {status}"
        if status in _WRONG_KEY and not self._remote.api_key:
            message += " (no key was sent: the variable that api_key_env names is not set)"
        if is_passing(status):
            return _Fault(message, asked_delay_s(answer.headers, self._clock.wall()))
        return Refused(message, status)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember a connection as long as it lasts, for :meth:`close`."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info["return_value"]
            with self._lock:
                self._streams.add(stream)
            if self._closed.is_set():
                _shut(stream)


def _shut(stream: Any) -> None:
    """End a connection from another thread than the one that waits for it: that one wakes up."""
    connection = stream.get_extra_info("socket")
    with suppress(OSError, AttributeError):  # closed already, or wrapped in another
        connection.shutdown(socket.SHUT_RDWR)


def sendable(text: str) -> str:
    """``text`` with a question mark for each half of a character, which has no bytes."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _network_fault(error: Exception, connect_s: float) -> str:
    """What is said of an exception of the network's library."""
    kind = type(error).__name__
    if kind == "ConnectTimeout":
        return f"no connection within {connect_s:g} s"
    if kind in {"ReadTimeout", "WriteTimeout", "PoolTimeout"}:
        return "no answer in time"
    said = told(str(error)) or kind
    return f"no connection: {said}" if kind == "ConnectError" else f"the connection broke off: {said}"


def _warn_of_open_key(base_url: str) -> None:
    """Note in the log that whoever carries the bytes can read the key."""
    parts = urlsplit(base_url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        log.warning("key_sent_in_clear", extra={"server": base_url})
