"""The queues before the engines: what goes together, what goes first, and what need not go at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alfred_voice.pipeline.work import MOST_PARTIALS, DetectQueue, Job, JudgeQueue, TranscribeQueue
from alfred_voice.session.requests import TranscribeRequest, Urgency


Make = Callable[..., Job[Any]]

FINAL, CUT, PARTIAL = Urgency.FINAL, Urgency.CUT, Urgency.PARTIAL


# The detector's


def detect_queue(max_batch: int = 4, deadline_ms: float = 10.0, speakers: int = 0) -> DetectQueue:
    queue = DetectQueue(max_batch, deadline_ms)
    queue.speakers = speakers
    return queue


def test_an_empty_queue_has_nothing_to_wait_for() -> None:
    queue = detect_queue(speakers=3)
    assert queue.delay_s(0.0) is None
    assert queue.age_s(5.0) == 0.0
    assert len(queue) == 0
    assert queue.take() == []


def test_a_lone_speaker_does_not_wait_for_company(detect_job: Make) -> None:
    queue = detect_queue(speakers=1)
    queue.add(detect_job(at=1.0))
    assert queue.delay_s(1.0) == 0.0


def test_before_anybody_was_counted_nobody_waits(detect_job: Make) -> None:
    queue = detect_queue(speakers=0)
    queue.add(detect_job(at=1.0))
    assert queue.delay_s(1.0) == 0.0


@pytest.mark.parametrize(
    ("now", "delay"), [(1.0, 0.010), (1.004, 0.006), (1.010, 0.0), (9.0, 0.0)], ids=["new", "older", "due", "overdue"]
)
def test_a_window_waits_for_company_up_to_the_deadline(detect_job: Make, now: float, delay: float) -> None:
    queue = detect_queue(speakers=3)
    queue.add(detect_job(at=1.0))
    queue.add(detect_job(at=1.003))
    assert queue.delay_s(now) == pytest.approx(delay)


def test_nobody_waits_when_all_speakers_are_present(detect_job: Make) -> None:
    queue = detect_queue(speakers=3)
    for _ in range(3):
        queue.add(detect_job(at=1.0))
    assert queue.delay_s(1.0) == 0.0


def test_nobody_waits_when_the_batch_is_full(detect_job: Make) -> None:
    queue = detect_queue(max_batch=2, speakers=100)
    for _ in range(2):
        queue.add(detect_job(at=1.0))
    assert queue.delay_s(1.0) == 0.0


def test_a_batch_takes_the_oldest_and_leaves_the_rest(detect_job: Make) -> None:
    queue = detect_queue(max_batch=2)
    jobs = [detect_job(at=float(n)) for n in range(5)]
    for job in jobs:
        queue.add(job)
    assert queue.take() == jobs[:2]
    assert queue.age_s(10.0) == 8.0
    assert queue.take() == jobs[2:4]
    assert queue.take() == jobs[4:]
    assert len(queue) == 0


# The recogniser's


def test_finals_overtake_cuts_and_cuts_partials(clip_job: Make) -> None:
    queue = TranscribeQueue(8)
    partial, cut, final = (clip_job(at=float(n), urgency=u) for n, u in enumerate((PARTIAL, CUT, FINAL)))
    for job in (partial, cut, final):
        queue.add(job)
    assert [queue.take() for _ in range(4)] == [[final], [cut], [partial], []]


def test_equals_go_in_order_of_arrival_as_many_as_fit(clip_job: Make) -> None:
    queue = TranscribeQueue(2)
    jobs = [clip_job(urgency=FINAL) for _ in range(3)]
    for job in jobs:
        queue.add(job)
    assert queue.take() == jobs[:2]
    assert queue.take() == jobs[2:]


def test_few_partials_share_a_batch_so_that_a_final_need_not_wait_long(clip_job: Make) -> None:
    queue = TranscribeQueue(16)
    jobs = [clip_job(urgency=PARTIAL) for _ in range(MOST_PARTIALS + 1)]
    for job in jobs:
        queue.add(job)
    assert queue.take() == jobs[:MOST_PARTIALS]
    final = clip_job(urgency=FINAL)
    queue.add(final)
    assert queue.take() == [final]
    assert queue.take() == jobs[MOST_PARTIALS:]


def test_a_newer_partial_takes_the_place_of_the_older_one(clip_job: Make, speaker: Callable[[], Any]) -> None:
    queue, one, other = TranscribeQueue(1), speaker(), speaker()
    queue.add(clip_job(one, 1.0, urgency=PARTIAL))
    waiting = clip_job(other, 2.0, urgency=PARTIAL)
    queue.add(waiting)
    newer = clip_job(one, 3.0, urgency=PARTIAL)
    queue.add(newer)
    assert len(queue) == 2
    assert queue.superseded == 1
    assert queue.partial_age_s(5.0) == 4.0, "the speaker has waited since the first one"
    assert queue.take() == [newer], "who is superseded again and again must not go to the end of the line each time"
    assert queue.take() == [waiting]
    assert queue.partial_age_s(5.0) == 0.0


@pytest.mark.parametrize("urgency", [FINAL, CUT])
def test_a_partial_is_void_once_its_utterance_is_asked_about_for_good(
    clip_job: Make, speaker: Callable[[], Any], urgency: Urgency
) -> None:
    queue, stream = TranscribeQueue(8), speaker()
    queue.add(clip_job(stream, 1.0, urgency=PARTIAL))
    final = clip_job(stream, 2.0, urgency=urgency)
    queue.add(final)
    assert len(queue) == 1
    assert queue.partial_age_s(3.0) == 0.0
    assert queue.take() == [final]
    assert queue.take() == []
    assert queue.delay_s(3.0) is None


def test_partials_of_other_utterances_and_sessions_are_left_alone(clip_job: Make, speaker: Callable[[], Any]) -> None:
    queue, one, other = TranscribeQueue(8), speaker(), speaker()
    jobs = [
        clip_job(one, urgency=PARTIAL, utterance=0),
        clip_job(one, urgency=PARTIAL, utterance=1),
        clip_job(other, urgency=PARTIAL, utterance=0),
    ]
    for job in jobs:
        queue.add(job)
    queue.add(clip_job(one, urgency=FINAL, utterance=0))
    queue.take()
    assert queue.take() == jobs[1:]


def test_turns_that_have_waited_too_long_are_taken_out_and_no_others(turn_job: Make) -> None:
    queue = JudgeQueue()
    jobs = [turn_job(at=at) for at in (0.0, 0.5, 1.5)]
    for job in jobs:
        queue.add(job)
    assert queue.late(0.9) == []
    assert queue.late(1.6) == jobs[:2]
    assert len(queue) == 1
    assert queue.late(2.0) == []


def test_all_waiting_partials_can_be_let_go(clip_job: Make, speaker: Callable[[], Any]) -> None:
    queue, stream = TranscribeQueue(8), speaker()
    final = clip_job(at=1.0)
    for job in (clip_job(stream, 1.0, urgency=PARTIAL), final, clip_job(at=1.0, urgency=PARTIAL)):
        queue.add(job)
    queue.drop_partials()
    assert len(queue) == 1
    assert queue.partial_age_s(9.0) == 0.0
    assert queue.take() == [final]
    assert queue.delay_s(9.0) is None
    later = clip_job(stream, 2.0, urgency=PARTIAL)
    queue.add(later)
    assert queue.take() == [later]


def rationed(share: float) -> TranscribeQueue:
    queue = TranscribeQueue(16)
    queue.partial_share = share
    return queue


def test_rationed_partials_wait_until_the_engine_has_had_its_share_of_other_time(
    clip_job: Make, speaker: Callable[[], Any]
) -> None:
    queue = rationed(0.25)
    for at in range(6):
        queue.add(clip_job(speaker(), at=float(at), urgency=PARTIAL))
    assert queue.delay_s(10.0) == 0.0
    assert [job.queued_at for job in queue.take()] == [0, 1, 2, 3], "who has waited longest comes first"
    assert queue.delay_s(11.0) == 3.0, "they took a second, which is a quarter of four"
    assert queue.delay_s(13.5) == 0.5
    assert queue.delay_s(14.0) == 0.0
    assert [job.queued_at for job in queue.take()] == [4, 5]


def test_finals_do_not_wait_for_rationed_partials(clip_job: Make, speaker: Callable[[], Any]) -> None:
    queue = rationed(0.1)
    queue.add(clip_job(speaker(), urgency=PARTIAL))
    assert queue.delay_s(10.0) == 0.0
    queue.take()
    queue.add(clip_job(speaker(), urgency=PARTIAL))
    assert queue.delay_s(11.0) == pytest.approx(9.0)
    queue.add(clip_job(speaker(), urgency=FINAL))
    assert queue.delay_s(12.0) == 0.0
    assert [job.request.urgency for job in queue.take()] == [FINAL]
    assert queue.delay_s(12.5) == pytest.approx(7.5), "the final's time is no time of partials"


def test_a_full_share_rations_nothing(clip_job: Make, speaker: Callable[[], Any]) -> None:
    queue = rationed(1.0)
    for _ in range(3):
        queue.add(clip_job(speaker(), urgency=PARTIAL))
        assert queue.delay_s(1.0) == 0.0
        queue.take()


def test_a_partial_that_comes_after_a_final_is_not_lost_with_it(clip_job: Make, speaker: Callable[[], Any]) -> None:
    queue, stream = TranscribeQueue(8), speaker()
    final, partial = clip_job(stream, urgency=FINAL), clip_job(stream, urgency=PARTIAL)
    queue.add(final)
    queue.add(partial)
    assert queue.take() == [final]
    assert queue.take() == [partial]
    assert len(queue) == 0


@pytest.mark.parametrize("urgency", [FINAL, CUT])
def test_a_newer_question_about_an_utterance_takes_the_place_of_one_whose_answer_would_be_stale(
    clip_job: Make, speaker: Callable[[], Any], urgency: Urgency
) -> None:
    queue, stream = TranscribeQueue(1), speaker()
    other = clip_job(at=2.0, urgency=urgency)
    newer = clip_job(stream, 3.0, urgency=urgency)
    for job in (clip_job(stream, 1.0, urgency=urgency), other, newer):
        queue.add(job)
    assert [queue.take(), queue.take(), queue.take()] == [[newer], [other], []]
    assert queue.superseded == 1


def test_finals_of_different_utterances_all_go(clip_job: Make, speaker: Callable[[], Any]) -> None:
    queue, stream = TranscribeQueue(8), speaker()
    finals = [clip_job(stream, urgency=FINAL, utterance=number) for number in range(3)]
    for job in finals:
        queue.add(job)
    assert queue.take() == finals


def test_only_finals_age_and_the_oldest_counts(clip_job: Make, speaker: Callable[[], Any]) -> None:
    queue = TranscribeQueue(1)
    queue.add(clip_job(at=1.0, urgency=PARTIAL))
    queue.add(clip_job(at=1.5, urgency=CUT))
    assert queue.age_s(9.0) == 0.0
    queue.add(clip_job(at=2.0, urgency=FINAL))
    queue.add(clip_job(at=4.0, urgency=FINAL))
    assert queue.age_s(9.0) == 7.0
    queue.take()
    assert queue.age_s(9.0) == 5.0
    queue.take()
    assert queue.age_s(9.0) == 0.0


SCRIPT = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.sampled_from(Urgency)),  # session, utterance, urgency
        st.just("take"),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SCRIPT, st.integers(1, 4))
def test_nothing_is_lost_nothing_comes_twice_and_urgencies_never_mix(
    clip_job: Make, speaker: Callable[[], Any], script: list[Any], max_batch: int
) -> None:
    queue, speakers = TranscribeQueue(max_batch), [speaker() for _ in range(3)]
    owed: dict[Job[TranscribeRequest], None] = {}
    for now, entry in enumerate(script):
        if entry == "take":
            _take_and_check(queue, owed, max_batch)
            continue
        session, utterance, urgency = entry
        job = clip_job(speakers[session], float(now), urgency=urgency, utterance=utterance)
        # By the rule, written down anew: of each kind only the newest counts, and of partials none once more is asked.
        for other in list(owed):
            if (other.stream, other.request.utterance) == (job.stream, utterance) and other.request.urgency in (
                urgency,
                PARTIAL,
            ):
                del owed[other]
        owed[job] = None
        queue.add(job)
        assert len(queue) == len(owed)
    while owed:
        assert queue.delay_s(0.0) == 0.0
        _take_and_check(queue, owed, max_batch)
    assert queue.delay_s(0.0) is None
    assert queue.take() == []


def _take_and_check(queue: TranscribeQueue, owed: dict[Job[TranscribeRequest], None], max_batch: int) -> None:
    batch = queue.take()
    assert len(batch) <= max_batch
    assert bool(batch) == bool(owed)
    assert len({job.request.urgency for job in batch}) <= 1
    if batch:
        assert batch[0].request.urgency == min(job.request.urgency for job in owed)
    for job in batch:
        del owed[job]  # a KeyError: not owed, or taken before


# The turn model's


def test_turns_go_one_by_one_in_order(turn_job: Make) -> None:
    queue = JudgeQueue()
    jobs = [turn_job(at=float(n)) for n in range(3)]
    for job in jobs:
        queue.add(job)
    assert queue.delay_s(0.0) == 0.0
    assert queue.age_s(5.0) == 5.0
    assert [queue.take() for _ in range(3)] == [[job] for job in jobs]
    assert queue.delay_s(0.0) is None
    assert queue.age_s(5.0) == 0.0


# What has waited too long


def test_windows_and_turns_that_have_waited_too_long_are_taken_out(detect_job: Make, turn_job: Make) -> None:
    for queue, make in ((detect_queue(), detect_job), (JudgeQueue(), turn_job)):
        jobs = [make(at=float(at)) for at in range(4)]
        for job in jobs:
            queue.add(job)
        assert queue.expire(1.0) == jobs[:2]
        assert len(queue) == 2
        assert queue.expire(1.0) == []
        assert queue.take()[0] is jobs[2]


def test_clips_that_have_waited_too_long_are_taken_out_and_a_place_is_as_old_as_its_first_clip(
    clip_job: Make, speaker: Callable[[], Any]
) -> None:
    queue, one = TranscribeQueue(8), speaker()
    final = clip_job(at=1.0, urgency=FINAL)
    newer = clip_job(one, 5.0, urgency=PARTIAL)
    late = clip_job(at=6.0, urgency=FINAL)
    for job in (final, clip_job(one, 2.0, urgency=PARTIAL), newer, late):
        queue.add(job)
    assert queue.expire(2.0) == [final, newer]
    assert len(queue) == 1
    assert queue.age_s(7.0) == 1.0
    assert queue.take() == [late]
    queue.add(newer)
    assert queue.take() == [newer]
