"""What a session is given of its waiting audio: in order, as much as it can use, and no more while it must wait."""

from __future__ import annotations

from alfred_voice.pipeline.inbox import Arrived, FlushMark, Inbox, StopMark
from alfred_voice.session.listener import ANSWER_PATIENCE_S
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest, Urgency
from alfred_voice.session.session import Session


BEHIND_FRAMES = 50
"""With more than this waiting (1 s) a session is behind: it sends faster than real time, or the daemon is late."""


class Feeding:
    """One session and its inbox."""

    __slots__ = ("_decisions", "_inbox", "_session")

    def __init__(self, session: Session, inbox: Inbox) -> None:
        self._session = session
        self._inbox = inbox
        self._decisions: dict[tuple[type, int], TranscribeRequest | JudgeRequest] = {}
        """What has been asked whose answer decides what the audio means."""

    def feed(self, now: float) -> list[Request]:
        """Give the session the frames it can use now; returns the questions that come of it."""
        session, inbox = self._session, self._inbox
        if not inbox:
            requests = session.take_requests(now)
            if requests:
                self._note(requests)
            return requests
        requests = []
        while True:
            self._give(now)
            requests += session.take_requests(now)
            self._note(requests)
            # Unless something is out, whose answer brings us here again, what still waits would wait for ever.
            if not inbox or session.is_over or not session.is_settled or self._is_ahead(now):
                break
        if not session.is_over:
            # Its windows are on their way now, so that there is room for the next ones.
            self._give(now)
        return requests

    def note_answer(self, request: TranscribeRequest | JudgeRequest) -> None:
        """Note that a question has been answered, or will not be."""
        if self._decisions.get((type(request), request.utterance)) is request:
            del self._decisions[type(request), request.utterance]

    def _note(self, requests: list[Request]) -> None:
        for request in requests:
            if not isinstance(request, DetectRequest) and not _is_partial(request):
                self._decisions[type(request), request.utterance] = request

    def _give(self, now: float) -> None:
        """Give the session frames until it has enough, or a mark.

        A mark is given when all before it has been judged, and nothing behind it before it has been heeded.
        """
        session, inbox = self._session, self._inbox
        while inbox and session.has_appetite and not self._is_ahead(now):
            if inbox.next_is_mark and not session.is_settled:
                return
            match inbox.take():
                case FlushMark():
                    session.receive_flush()
                    return
                case StopMark(reason):
                    session.receive_stop(reason, now)
                    return
                case Arrived(frame, at):
                    session.receive_frame(frame, at)

    def _is_ahead(self, now: float) -> bool:
        """Whether the session is behind, and an answer is out that decides what its audio means.

        It is given no more then. So whoever sends faster than real time waits for his own finals, has no more than one
        of them before the engine, and delays nobody else. Who speaks in real time waits no longer than an engine takes
        that is well: if answers take longer, it is the daemon that is late, and waiting would make it later.
        """
        if self._inbox.frames <= BEHIND_FRAMES or not self._decisions:
            return False
        newest = max(request.asked_at for request in self._decisions.values())
        return now - newest < ANSWER_PATIENCE_S or self._session.is_ahead(now)


def _is_partial(request: Request) -> bool:
    """Whether its answer is only shown, and decides nothing."""
    return isinstance(request, TranscribeRequest) and request.urgency is Urgency.PARTIAL
