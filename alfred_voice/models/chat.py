"""A language model behind a server that speaks OpenAI's protocol of chat completions.

Such servers are OpenAI's own, Ollama, vLLM, llama.cpp's and many more. A shape that the answer must have is asked for
in the strictest way first, and in a laxer one from a server that refuses it; who asks must read what comes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alfred_voice.clock import Clock
from alfred_voice.errors import EngineFailure
from alfred_voice.models.openai_answers import read_completion
from alfred_voice.models.openai_transport import OpenAiTransport, Refused, Remote, sendable


log = logging.getLogger(__name__)

_STRICT, _JSON, _FREE = range(3)
"""How the shape of an answer is asked for: by its schema, as some JSON object, not at all."""
_REFUSES_PARAMETER = frozenset({400, 415, 422})
_NEW_LIMIT = "max_completion_tokens"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatClient:
    """One model of one server; may be used from several threads.

    Args:
        remote: the server.
        model: what it is asked for.
        clock: for time limits and waits.
    """

    def __init__(self, remote: Remote, model: str, clock: Clock) -> None:
        self._remote = remote
        self._model = model
        self._clock = clock
        self._transport = OpenAiTransport(remote, clock)
        self._laxness = _STRICT
        self._limit_name = "max_tokens"

    def complete(
        self,
        messages: Sequence[Message],
        *,
        json_schema: Mapping[str, Any] | None = None,
        max_tokens: int,
        temperature: float = 0.0,
        within_s: float | None = None,
    ) -> str:
        """The model's answer, trimmed.

        Args:
            messages: the conversation so far.
            json_schema: what the answer should be; not every server sees to it.
            max_tokens: an answer that is longer is a failure.
            temperature: 0 for the likeliest answer.
            within_s: a shorter time limit than the server's own.

        Raises:
            EngineFailure: there is no answer, or one without text.
        """
        limit_s = self._remote.timeout_s if within_s is None else min(within_s, self._remote.timeout_s)
        deadline = self._clock.now() + limit_s
        asked = {
            "model": self._model,
            "messages": [{"role": message.role, "content": sendable(message.content)} for message in messages],
            "temperature": temperature,
        }
        first = _FREE if json_schema is None else self._laxness
        for laxness in range(first, _FREE):
            try:
                answer = self._ask({**asked, **_shape(json_schema, laxness)}, max_tokens, deadline)
            except Refused as refusal:
                if refusal.status not in _REFUSES_PARAMETER:
                    raise
            else:
                self._settle(laxness, first)
                return answer
        answer = self._ask(asked, max_tokens, deadline)
        self._settle(_FREE, first)
        return answer

    def close(self) -> None:
        """End all connections; what waits for an answer fails at once."""
        self._transport.close()

    def _settle(self, laxness: int, first: int) -> None:
        """Remember what came to an answer after something stricter was refused."""
        if laxness > first:
            self._laxness = laxness
            log.info("laxer_answers", extra={"server": self._remote.base_url, "laxness": laxness})

    def _ask(self, asked: Mapping[str, Any], max_tokens: int, deadline: float) -> str:
        """The answer; the limit of tokens has two names, and some servers take only the newer one."""
        try:
            return self._post({**asked, self._limit_name: max_tokens}, deadline)
        except Refused as refusal:
            if refusal.status not in _REFUSES_PARAMETER or _NEW_LIMIT not in str(refusal):
                raise
        self._limit_name = _NEW_LIMIT
        return self._post({**asked, _NEW_LIMIT: max_tokens}, deadline)

    def _post(self, asked: Mapping[str, Any], deadline: float) -> str:
        left_s = deadline - self._clock.now()
        if left_s <= 0:
            raise EngineFailure(f"{self._remote.base_url}: no time is left for it")
        return self._transport.post("chat/completions", {"json": asked}, read_completion, left_s)


def _shape(json_schema: Mapping[str, Any] | None, laxness: int) -> dict[str, Any]:
    if laxness == _STRICT:
        schema = {"name": "answer", "strict": True, "schema": json_schema}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"response_format": {"type": "json_object"}}
