"""Long speech, long silence and long gaps: where it is cut, and what is given up."""

from __future__ import annotations

from alfred_voice.events import FinalTranscription, PartialTranscription, SessionFinished
from alfred_voice.results import Transcript
from tests.session.hearing import CUT, FINAL, PARTIAL, MakeSpeaker, long_speech, words_of


def test_long_speech_is_cut_without_a_hole_and_without_an_overlap(speaker: MakeSpeaker) -> None:
    one = speaker()
    cuts = long_speech(one, 1250, words_of)  # 40 s
    one.say(" " * 4)
    request = one.final(words_of(one.questions(FINAL)[0]))
    one.say(" " * 4)
    one.judge(1.0)

    assert all(len(request.samples) <= 12.1 * 16_000 for request in cuts)
    assert 3 <= len({r.start_sample for r in cuts}) <= 6
    assert request.start_sample > 27 * 16_000
    final = one.one(FinalTranscription)
    assert final.text.split() == [f"w{n}" for n in range(len(final.text.split()))]
    assert len(final.text.split()) >= 80
    stable = [partial.stable_text for partial in one.of(PartialTranscription)]
    assert all(later.startswith(earlier) for earlier, later in zip(stable, [*stable[1:], final.text], strict=True))
    assert len(stable[-1].split()) > 60


def test_the_audio_of_long_speech_is_given_up_as_it_is_settled(speaker: MakeSpeaker) -> None:
    one = speaker()
    most = 0
    for _ in range(13):
        long_speech(one, 100, words_of)
        most = max(most, one.session.nbytes)

    assert most <= 16_000 * 2 * 16


def test_a_cut_survives_dips_in_the_speech(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 375)
    for _ in range(4):
        if not one.questions(CUT):
            break
        one.say(" #")
        one.answer(CUT, words_of(one.questions(CUT)[0]))
    one.say(" " * 4)

    assert one.questions(FINAL)[0].start_sample > 5 * 16_000


def test_an_answer_to_a_search_that_was_given_up_is_not_taken_for_the_next_one(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 375)
    old = one.questions(CUT)[0]
    one.say(" " * 4)
    one.answer(CUT, words_of(old))
    one.say("#")
    new = one.questions(CUT)[0]
    assert new is not old
    one.session.receive_transcript(old, Transcript("old"), one.now)
    one.pump()

    assert one.questions(CUT) == [new]


def test_a_failed_partial_does_not_disturb_the_search_for_a_cut(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 375)
    (cut,) = one.questions(CUT)
    one.break_down(one.questions(PARTIAL)[-1])
    one.say("#" * 3)
    assert one.questions(CUT) == [cut]
    one.answer(CUT, words_of(cut))

    assert len(one.questions(CUT)) == 1
    assert one.questions(CUT)[0].end_sample < cut.end_sample


def test_a_failed_search_for_a_cut_is_repeated_after_a_while(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 375)
    one.break_down(one.questions(CUT)[0])
    one.say("#" * 31)
    assert one.questions(CUT) == []
    one.say("#")

    assert len(one.questions(CUT)) == 1
    assert one.told == ["speechStart", "warning"]


def test_words_are_not_cut_off_where_nothing_is_heard_before_any_candidate(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 375)
    one.answer(CUT, "some words")
    while one.questions(CUT):
        one.answer(CUT, "")
    one.say(" " * 4)

    assert one.questions(FINAL)[0].start_sample == 0


def test_no_cut_is_looked_for_in_audio_that_had_to_give_way_to_a_long_gap(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 374)
    one.holds_detections = True
    one.say("###")
    one.session.receive_gap(2000, one.now)
    one.holds_detections = False
    one.detect(one.detects[-1])
    one.pump()

    assert one.questions(CUT) == []
    one.final("what was left")
    one.judge(1.0)
    assert one.told == ["speechStart", "speechEnd", "finalTranscription", "turnComplete"]


def test_what_a_cut_settles_keeps_the_spelling_that_was_told(speaker: MakeSpeaker) -> None:
    one = speaker(stt={"min_partial_ms": 0})
    long_speech(one, 374, words_of)
    told = one.of(PartialTranscription)[-1].stable_text
    assert len(told.split()) > 15
    long_speech(one, 10, lambda r: words_of(r).upper() + "." if r.urgency is CUT else words_of(r))

    assert one.of(PartialTranscription)[-1].stable_text.startswith(told)


def test_the_detector_begins_afresh_in_clear_silence(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say(" " * 400)
    fresh = [request.first_window for request in one.detects if request.fresh]

    assert fresh == [0, 157, 314]


def test_the_detector_does_not_begin_afresh_in_speech_or_doubt(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False, turn={"max_silence_ms": 9000}).say("#" * 200 + "~" * 200 + " " * 150 + "#~~" * 100)

    assert [request.first_window for request in one.detects if request.fresh] == [0]


def test_the_detector_is_never_made_fresh_if_so_configured(speaker: MakeSpeaker) -> None:
    one = speaker(vad={"reset_after_ms": 0}).say(" " * 400)

    assert sum(request.fresh for request in one.detects) == 1


def test_frames_that_were_dropped_are_silence_that_nobody_judges(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 10)
    one.session.receive_gap(40, one.now)
    one.pump()
    one.final("yes")
    one.judge(1.0)

    assert one.told == ["speechStart", "speechEnd", "finalTranscription", "turnComplete"]
    assert sum(len(request.windows) for request in one.detects) <= 11
    one.stop()
    stats = one.one(SessionFinished).stats
    assert (stats.frames_received, stats.frames_dropped) == (one.frames + 40, 40)
    assert stats.frames_processed == one.frames
