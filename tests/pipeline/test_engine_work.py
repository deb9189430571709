"""From jobs to calls of an engine: rounds, rows, room and freshness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.clock import ManualClock
from alfred_voice.errors import EngineFault
from alfred_voice.models.engine import Clip, Float32
from alfred_voice.models.scripted import ScriptedStt, ScriptedTurn, ScriptedVad, ScriptedVadStates
from alfred_voice.models.silero import SileroVad
from alfred_voice.models.store import Store
from alfred_voice.pipeline.engine_work import FIRST_CAPACITY, DetectWork, JudgeWork, TranscribeWork
from alfred_voice.pipeline.trial import PartlyAnswered
from alfred_voice.pipeline.work import Job
from alfred_voice.results import Transcript
from alfred_voice.session.requests import Urgency


Make = Callable[..., Job[Any]]
Speaker = Callable[..., Any]


class NotingVad(ScriptedVad):
    """Notes the rows of each call; a window's probability is its number, a hundredth each."""

    def __init__(self) -> None:
        super().__init__(lambda window: float(window[0]) * 32_768 / 100)
        self.rows: list[list[int]] = []
        self.states: list[ScriptedVadStates] = []

    def new_states(self, capacity: int) -> ScriptedVadStates:
        self.states.append(super().new_states(capacity))
        return self.states[-1]

    def step(self, states: ScriptedVadStates, rows: Sequence[int], windows: Float32) -> Float32:
        self.rows.append(list(rows))
        return super().step(states, rows, windows)


def test_each_session_gets_its_own_probabilities_in_order(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    jobs = [
        detect_job(speaker(4), windows=3, first=10),
        detect_job(speaker(0), windows=1, first=50),
        detect_job(speaker(2), windows=2, first=70),
    ]
    answers = DetectWork(vad)(jobs)
    assert answers == [
        pytest.approx([0.10, 0.11, 0.12]),
        pytest.approx([0.50]),
        pytest.approx([0.70, 0.71]),
    ]


def test_a_session_with_several_windows_goes_through_as_many_rounds(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    DetectWork(vad)([detect_job(speaker(row), windows=windows) for row, windows in ((4, 3), (0, 1), (2, 2))])
    assert vad.rows == [[4, 0, 2], [4, 2], [4]]


def test_state_goes_on_from_batch_to_batch(detect_job: Make, speaker: Speaker) -> None:
    vad, stream = NotingVad(), speaker(3)
    work = DetectWork(vad)
    work([detect_job(stream, windows=2, fresh=True)])
    work([detect_job(stream, windows=3)])
    assert vad.states[0].windows[3] == 5


def test_a_fresh_row_begins_anew_and_no_other_with_it(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    work = DetectWork(vad)
    work([detect_job(speaker(0), windows=4), detect_job(speaker(1), windows=4)])
    work([detect_job(speaker(0), windows=1, fresh=True), detect_job(speaker(1), windows=1)])
    assert vad.states[0].windows[:2].tolist() == [1, 5]


def test_room_is_made_for_a_high_row_and_the_others_keep_their_state(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    work = DetectWork(vad)
    work([detect_job(speaker(1), windows=2)])
    work([detect_job(speaker(FIRST_CAPACITY * 4), windows=1), detect_job(speaker(1), windows=1)])
    assert len(vad.states) == 1
    assert vad.states[0].capacity == FIRST_CAPACITY * 8
    assert vad.states[0].windows[[1, FIRST_CAPACITY * 4]].tolist() == [3, 1]


def test_the_last_row_of_the_room_needs_no_more(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    DetectWork(vad)([detect_job(speaker(FIRST_CAPACITY - 1))])
    assert vad.states[0].capacity == FIRST_CAPACITY


class SlowStt(ScriptedStt):
    """Takes 0.25 s for each clip."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(("one", "two"))
        self._clock = clock

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        self._clock.advance(0.25 * len(clips))
        return super().transcribe(clips)


def test_clips_go_in_one_call_and_each_is_told_the_time_of_all(clip_job: Make, clock: ManualClock) -> None:
    answers = TranscribeWork(SlowStt(clock), clock)([clip_job(), clip_job()])
    assert [answer.text for answer in answers] == ["one", "two"]
    assert [answer.processing_ms for answer in answers] == [500.0, 500.0]


@pytest.mark.parametrize(
    ("urgency", "is_final"), [(Urgency.FINAL, True), (Urgency.CUT, True), (Urgency.PARTIAL, False)]
)
def test_only_a_partial_may_be_decoded_the_cheap_way(
    clip_job: Make, clock: ManualClock, urgency: Urgency, is_final: bool
) -> None:
    stt = ScriptedStt()
    TranscribeWork(stt, clock)([clip_job(urgency=urgency, samples=640)])
    (clip,) = stt.clips
    assert clip.is_final is is_final
    assert clip.samples.dtype == np.float32
    assert clip.samples.tolist() == [0.5] * 640
    assert (clip.language, clip.voiced_ms, clip.prefix) == ("en", 40.0, ())


def test_what_is_committed_and_what_was_heard_last_go_with_the_clip(clip_job: Make, clock: ManualClock) -> None:
    stt, job = ScriptedStt(["turn on the light"]), clip_job()
    work = TranscribeWork(stt, clock)
    work([job])
    work([Job(job.stream, replace(job.request, prefix=(0,), draft=(0, 1, 2)), 0.0)])
    clip = stt.clips[-1]
    assert (clip.prefix, clip.draft) == ((0,), (0, 1, 2))


def test_turns_are_judged_on_their_samples(turn_job: Make) -> None:
    turn = ScriptedTurn((0.2, 0.9))
    answers = JudgeWork(turn)([turn_job(samples=3), turn_job(samples=5)])
    assert [answer.probability for answer in answers] == [0.2, 0.9]
    assert [samples.tolist() for samples in turn.turns] == [[1 / 32_768] * 3, [1 / 32_768] * 5]


# What goes wrong


class CountingVad(NotingVad):
    """Raises in the call that a test names, and answers nonsense to rows that it names."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_in: set[int] = set()
        self.nonsense: dict[int, float] = {}

    def step(self, states: ScriptedVadStates, rows: Sequence[int], windows: Float32) -> Float32:
        if len(self.rows) in self.fails_in:
            self.rows.append([])
            raise RuntimeError("now")
        answers = super().step(states, rows, windows)
        for place, row in enumerate(rows):
            answers[place] = self.nonsense.get(row, answers[place])
        return answers


def test_a_call_that_fails_in_a_later_round_goes_on_there_and_judges_no_window_twice(
    detect_job: Make, speaker: Speaker
) -> None:
    vad = CountingVad()
    vad.fails_in = {1, 3}
    work = DetectWork(vad)
    jobs = [detect_job(speaker(row), windows=windows, first=10 * row, fresh=True) for row, windows in ((4, 3), (2, 2))]
    with pytest.raises(RuntimeError):
        work(jobs)
    assert vad.states[0].windows[[4, 2]].tolist() == [1, 1]
    # One of them alone, as in a batch that is halved, and interrupted once more.
    with pytest.raises(RuntimeError):
        work(jobs[:1])
    assert work(jobs[:1]) == [pytest.approx([0.40, 0.41, 0.42])]
    assert work(jobs[1:]) == [pytest.approx([0.20, 0.21])]
    assert vad.states[0].windows[[4, 2]].tolist() == [3, 2]
    # Nothing is left of it for the next question.
    assert work(jobs[1:]) == [pytest.approx([0.20, 0.21])]


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf, -0.01, 1.01])
@pytest.mark.parametrize("windows", [1, 3])
def test_a_probability_that_is_none_fails_its_row_alone_which_is_fresh_afterwards(
    detect_job: Make, speaker: Speaker, nonsense: float, windows: int
) -> None:
    vad = CountingVad()
    work = DetectWork(vad)
    work([detect_job(speaker(row), windows=2) for row in range(3)])
    vad.nonsense = {1: nonsense}
    with pytest.raises(PartlyAnswered) as told:
        work([detect_job(speaker(row), windows=windows, first=10 * row) for row in range(3)])
    assert list(told.value.failures) == [1]
    expected = [[row / 10 + window / 100 for window in range(windows)] for row in (0, 2)]
    assert [told.value.answers[row] for row in (0, 2)] == [pytest.approx(answer) for answer in expected]
    assert vad.states[0].windows[:3].tolist() == [2 + windows, 0, 2 + windows]


def test_the_edges_of_what_is_probable_are_answers(detect_job: Make, speaker: Speaker) -> None:
    vad = CountingVad()
    vad.nonsense = {0: 0.0, 1: 1.0}
    assert DetectWork(vad)([detect_job(speaker(0)), detect_job(speaker(1))]) == [[0.0], [1.0]]


def test_a_wrong_number_of_probabilities_is_a_fault(detect_job: Make, speaker: Speaker) -> None:
    class Short(ScriptedVad):
        def step(self, states: ScriptedVadStates, rows: Sequence[int], windows: Float32) -> Float32:
            return super().step(states, rows, windows)[:-1]

    with pytest.raises(EngineFault, match=r"2 windows, answers of shape \(1,\)"):
        DetectWork(Short())([detect_job(speaker(row)) for row in range(2)])
    with pytest.raises(EngineFault):
        DetectWork(Short()).probe()


def test_a_row_that_is_given_up_is_fresh_and_what_it_had_come_to_is_forgotten(
    detect_job: Make, speaker: Speaker
) -> None:
    vad = CountingVad()
    vad.fails_in = {1}
    work, job = DetectWork(vad), detect_job(speaker(5), windows=2)
    with pytest.raises(RuntimeError):
        work([job])
    work.forget([job])
    assert vad.states[0].windows[5] == 0
    work([job])
    assert vad.states[0].windows[5] == 2


def test_a_probe_touches_nobodys_state(detect_job: Make, speaker: Speaker) -> None:
    vad = NotingVad()
    work = DetectWork(vad)
    work([detect_job(speaker(0), windows=2)])
    work.probe()
    assert vad.states[0].windows[0] == 2


@pytest.mark.models
def test_the_real_detector_moves_no_state_when_it_raises_and_answers_afterwards_as_if_nothing_had_been(
    models: Store, detect_job: Make, speaker: Speaker, two_cities: NDArray[np.int16]
) -> None:
    path = models.path("silero-vad", "silero_vad_op18_ifless.onnx")

    def job(row: int, first: int, windows: int) -> Job[Any]:
        begin = (100 * row + first) * 512
        made = detect_job(speaker(row), windows=windows, first=first)
        made.request.windows = two_cities[begin : begin + windows * 512].reshape(windows, 512)
        return made

    class Trips:
        """A network that raises in the calls that are named."""

        def __init__(self, network: Any) -> None:
            self.network = network
            self.calls = 0
            self.fails_in: set[int] = set()

        def run(self, heard: Float32, output: Float32, cell: Float32) -> Any:
            self.calls += 1
            if self.calls in self.fails_in:
                # As bad as it can be: what it was given is spoilt as well.
                heard[:], output[:], cell[:] = np.nan, np.nan, np.nan
                raise RuntimeError("tripped")
            return self.network.run(heard, output, cell)

    undisturbed, disturbed = SileroVad.load(path), SileroVad.load(path)
    trips = disturbed._network = Trips(disturbed._network)
    trips.fails_in = {3, 6, 7}
    calm, shaken = DetectWork(undisturbed), DetectWork(disturbed)
    for first, windows in ((0, 1), (1, 4), (5, 1), (6, 3)):
        jobs = [job(row, first, windows) for row in range(3)]
        expected = calm(jobs)
        while True:
            try:
                answers = shaken(jobs)
                break
            except RuntimeError:
                continue
        assert answers == expected
    assert trips.calls == 9 + 3


class OddStt(ScriptedStt):
    """Answers something odd to the clip that is named, or too little."""

    def __init__(self, odd: object = None, missing: int = 0) -> None:
        super().__init__(("yes",))
        self.odd = odd
        self.missing = missing

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        answers = super().transcribe(clips)
        if self.odd is not None:
            answers[0] = cast("Transcript", self.odd)
        return answers[self.missing :]


@pytest.mark.parametrize(
    "odd",
    [
        "text",
        Transcript(cast("str", 7)),
        Transcript("yes", confidence=np.nan),
        Transcript("yes", pieces=cast("Any", ("yes",))),
    ],
    ids=str,
)
def test_what_is_no_transcript_fails_its_row_alone(clip_job: Make, clock: ManualClock, odd: object) -> None:
    with pytest.raises(PartlyAnswered) as told:
        TranscribeWork(OddStt(odd), clock)([clip_job(), clip_job()])
    assert list(told.value.failures) == [0]
    assert told.value.answers[1].text == "yes"
    with pytest.raises(EngineFault):
        TranscribeWork(OddStt(odd), clock).probe()


def test_too_few_transcripts_are_a_fault(clip_job: Make, clock: ManualClock) -> None:
    with pytest.raises(EngineFault, match="2 clips, 1 transcripts"):
        TranscribeWork(OddStt(missing=1), clock)([clip_job(), clip_job()])


@pytest.mark.parametrize("probability", [np.nan, -0.1, 1.1, np.inf])
def test_a_judgement_that_is_none_fails_its_row(turn_job: Make, probability: float) -> None:
    work = JudgeWork(ScriptedTurn((probability, 0.5)))
    with pytest.raises(PartlyAnswered) as told:
        work([turn_job(), turn_job()])
    assert list(told.value.failures) == [0]
    with pytest.raises(EngineFault):
        JudgeWork(ScriptedTurn((probability,))).probe()


def test_a_hearing_that_a_fault_has_interrupted_is_not_gone_on_with(clip_job: Make, clock: ManualClock) -> None:
    class Growing(ScriptedStt):
        def __init__(self) -> None:
            super().__init__()
            self.made: list[Any] = []

        def new_hearing(self) -> Any:
            self.made.append(SimpleNamespace(nbytes=1))
            return self.made[-1]

    stt, job = Growing(), clip_job(urgency=Urgency.PARTIAL)
    work = TranscribeWork(stt, clock)
    work([job])
    stt.failure = EngineFault("no")
    with pytest.raises(EngineFault):
        work([job])
    stt.failure = None
    work([job])
    assert [clip.hearing for clip in stt.clips] == stt.made
    assert len(stt.made) == 2


@pytest.mark.parametrize("is_busy", [False, True], ids=["now", "behind the batch that runs"])
def test_what_can_be_made_again_is_let_go(clip_job: Make, clock: ManualClock, is_busy: bool) -> None:
    class Growing(ScriptedStt):
        made = 0

        def new_hearing(self) -> Any:
            self.made += 1
            return SimpleNamespace(nbytes=7)

    stt, job = Growing(), clip_job(urgency=Urgency.PARTIAL)
    work = TranscribeWork(stt, clock)
    work([job])
    assert work.free(is_busy=is_busy) == (0 if is_busy else 7)
    work([job])
    assert stt.made == (1 if is_busy else 2)
    work([job])
    assert stt.made == 2
    assert TranscribeWork(ScriptedStt(), clock).free(is_busy=False) == 0


def test_the_tokens_of_one_model_do_not_reach_another(clip_job: Make, clock: ManualClock) -> None:
    """Those of a scripted recogniser are numbers of words, so that a foreign one would be an error or another word."""
    job = clip_job()
    first, second = ScriptedStt(["turn on the light"]), ScriptedStt(["switch off"])
    (old,) = TranscribeWork(first, clock)([job])
    tokens = tuple(token for piece in old.pieces for token in piece.tokens)
    following = Job(job.stream, replace(job.request, prefix=tokens[:2], draft=tokens), 0.0)
    newer = TranscribeWork(second, clock, generation=1)
    (new,) = newer([following])
    assert (second.clips[-1].prefix, second.clips[-1].draft) == ((), ())
    assert new.text == "switch off"
    # Its own come back to it as it knows them.
    own = tuple(token for piece in new.pieces for token in piece.tokens)
    assert not set(own) & set(tokens)
    newer([Job(job.stream, replace(job.request, prefix=own[:1], draft=own), 0.0)])
    assert (second.clips[-1].prefix, second.clips[-1].draft) == ((0,), (0, 1))
    # And back again: the first one's are void for a third model, and so are the second one's.
    third = ScriptedStt(["hello"])
    TranscribeWork(third, clock, generation=2)([Job(job.stream, replace(job.request, draft=own), 0.0)])
    assert third.clips[-1].draft == ()
