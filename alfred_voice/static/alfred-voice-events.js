/**
 * What the daemon tells, as types: docs/protocol.md says what the fields mean. Every `*_ms` that speaks of audio is on the session's
 * clock. Nothing here runs.
 *
 * @typedef {{word: string, start_ms: number, end_ms: number, probability: number}} Word
 * @typedef {{frames_received: number, frames_processed: number, frames_dropped: number, utterances: number, speech_ms: number}} SessionStats
 */

/**
 * The session is open; the first event of every session.
 * @typedef {object} SessionStarted
 * @property {"sessionStarted"} type
 * @property {number} sample_rate
 * @property {string} encoding
 * @property {Record<string, string>} engines
 * @property {Record<string, number>} limits
 * @property {{token: string, grace_s: number}} [resume]
 * @property {boolean} [recorded]
 */

/**
 * A client has come back, and has been told what it missed.
 * @typedef {object} SessionResumed
 * @property {"sessionResumed"} type
 * @property {number} audio_bytes
 */

/**
 * How much of the client's audio has been taken; once a second, where a session can be resumed.
 * @typedef {object} AudioAcknowledged
 * @property {"audioAcknowledged"} type
 * @property {number} audio_bytes
 */

/**
 * Speech has begun.
 * @typedef {object} SpeechStarted
 * @property {"speechStart"} type
 * @property {number} at_ms
 * @property {number} probability
 */

/**
 * Silence has lasted long enough for the speech to be over.
 * @typedef {object} SpeechEnded
 * @property {"speechEnd"} type
 * @property {number} at_ms
 * @property {number} duration_ms
 */

/**
 * What the open utterance sounds like so far.
 * @typedef {object} PartialTranscription
 * @property {"partialTranscription"} type
 * @property {number} utterance
 * @property {string} text
 * @property {string} stable_text
 * @property {number} start_ms
 * @property {number} end_ms
 */

/**
 * The utterance's text; exactly one for each utterance.
 * @typedef {object} FinalTranscription
 * @property {"finalTranscription"} type
 * @property {number} utterance
 * @property {string} text
 * @property {number} start_ms
 * @property {number} end_ms
 * @property {Word[]} words
 * @property {string} language
 * @property {string} engine
 * @property {number} confidence
 * @property {number} processing_ms
 * @property {number} latency_ms
 */

/**
 * The speaker paused, and the turn model says that they are not done.
 * @typedef {object} TurnPending
 * @property {"turnPending"} type
 * @property {number} probability
 * @property {number} silence_ms
 */

/**
 * The speaker is done.
 * @typedef {object} TurnCompleted
 * @property {"turnComplete"} type
 * @property {number} utterance
 * @property {number} probability
 * @property {number} at_ms
 * @property {number} silence_ms
 * @property {"model" | "silence" | "flush"} reason
 * @property {number} latency_ms
 */

/**
 * The speaker talked over the daemon's own speech, which has been stopped.
 * @typedef {object} Interrupted
 * @property {"interruption"} type
 * @property {number} at_ms
 * @property {number} speech_id
 * @property {number} spoken_ms
 * @property {number} latency_ms
 */

/**
 * Audio of a synthesised speech follows.
 * @typedef {object} SpeechOutputStarted
 * @property {"ttsStart"} type
 * @property {number} speech_id
 * @property {string} text
 * @property {number} sample_rate
 * @property {string} encoding
 * @property {string} voice
 */

/**
 * No audio of that speech follows.
 * @typedef {object} SpeechOutputEnded
 * @property {"ttsEnd"} type
 * @property {number} speech_id
 * @property {number} duration_ms
 * @property {boolean} cancelled
 */

/**
 * The detector's word on one 20 ms frame; only for those who ask for it.
 * @typedef {object} FrameProcessed
 * @property {"frameProcessed"} type
 * @property {number} frame
 * @property {number} at_ms
 * @property {number} speech_probability
 * @property {boolean} is_speech
 * @property {number} processing_ms
 */

/**
 * The state of the whole daemon, once a second.
 * @typedef {object} PipelineHealth
 * @property {"pipelineHealth"} type
 * @property {Record<string, unknown>} pipelineState
 */

/**
 * The daemon degrades to hold its deadlines.
 * @typedef {object} BackpressureTriggered
 * @property {"backpressureTriggered"} type
 * @property {"none" | "reduce_quality" | "drop_frames" | "pause_processing"} step
 * @property {number} load
 * @property {number} buffered_ms
 * @property {number} rung
 */

/**
 * The daemon has gone back a step.
 * @typedef {object} BackpressureRecovered
 * @property {"backpressureRecovered"} type
 * @property {"none" | "reduce_quality" | "drop_frames" | "pause_processing"} step
 * @property {number} load
 * @property {number} rung
 */

/**
 * Something the client should know that breaks nothing.
 * @typedef {object} WarningRaised
 * @property {"warning"} type
 * @property {string} code
 * @property {string} message
 * @property {number} [from_ms]
 * @property {number} [to_ms]
 */

/**
 * Something went wrong; the session lives on unless ``fatal``.
 * @typedef {object} ErrorRaised
 * @property {"error"} type
 * @property {string} code
 * @property {string} message
 * @property {boolean} fatal
 * @property {number} [retry_after_s]
 */

/**
 * The answer to a ``ping``, with its ``id``.
 * @typedef {object} Pong
 * @property {"pong"} type
 * @property {string | number | null} id
 */

/**
 * The session is over; its last event.
 * @typedef {object} SessionFinished
 * @property {"sessionEnded"} type
 * @property {"stop" | "idle" | "max_duration" | "shutdown" | "error"} reason
 * @property {SessionStats} stats
 */

/**
 * Each of them by its `type`.
 * @typedef {object} DaemonEvents
 * @property {SessionStarted} sessionStarted
 * @property {SessionResumed} sessionResumed
 * @property {AudioAcknowledged} audioAcknowledged
 * @property {SpeechStarted} speechStart
 * @property {SpeechEnded} speechEnd
 * @property {PartialTranscription} partialTranscription
 * @property {FinalTranscription} finalTranscription
 * @property {TurnPending} turnPending
 * @property {TurnCompleted} turnComplete
 * @property {Interrupted} interruption
 * @property {SpeechOutputStarted} ttsStart
 * @property {SpeechOutputEnded} ttsEnd
 * @property {FrameProcessed} frameProcessed
 * @property {PipelineHealth} pipelineHealth
 * @property {BackpressureTriggered} backpressureTriggered
 * @property {BackpressureRecovered} backpressureRecovered
 * @property {WarningRaised} warning
 * @property {ErrorRaised} error
 * @property {Pong} pong
 * @property {SessionFinished} sessionEnded
 */

/**
 * One of them as it comes: numbered, and with its session's name; empty where there is none yet.
 * @typedef {DaemonEvents[keyof DaemonEvents]} AnyEvent
 * @typedef {AnyEvent & {session_id: string, seq: number}} DaemonEvent
 */

export {};
