/**
 * What the monitor's feeds tell, as types: docs/protocol.md says what the fields mean. Nothing here runs.
 *
 * @typedef {{count: number, p50: number, p95: number, max: number}} Summary
 * @typedef {{code: string, message: string, beyond: boolean, for_s: number}} Alert `beyond` is false while it waits to be cleared
 * @typedef {{admits: boolean, reason: string, demand: number, most: number}} Admission
 * @typedef {{memory_mb: number, gc_trigger_mb: number, frame_target_ms: number, threshold: number, recovery: number, sessions: number}} Limits
 * @typedef {{partial_factor: number, partial_share: number, drops_frames: boolean, admits: boolean, smaller_model: boolean,
 *   prefetches: boolean}} Measures
 * @typedef {{rung: number, name: string, step: string, measures: Measures}} Rung
 * @typedef {{at: number, kind: string, name: string, text: string}} Mark
 * @typedef {{index: number, at: number, values: number[]}} Row
 * @typedef {{first: number, at: number[], columns: Record<string, number[]>, marks: Mark[], marked: number}} Past
 * @typedef {{version: string, interval_ms: number, rungs: Rung[], history: Past}} Hello
 * @typedef {{rows: Row[], marks: Mark[], marked: number}} Rows
 * @typedef {{total: number, sessions: SessionRow[]}} Table
 */

/**
 * An engine's queue and its thread.
 * @typedef {object} LaneFigures
 * @property {string} state
 * @property {number} real_time_factor
 * @property {Summary} batch_size
 * @property {Summary} wait_ms
 * @property {number} queued
 * @property {number} queue_age_ms
 * @property {number} jobs
 * @property {number} failures
 * @property {number} restarts
 * @property {number} timeouts
 */

/**
 * @typedef {object} LoadTest
 * @property {"preparing" | "running" | "ending" | "failed" | "stopped" | "done"} state
 * @property {string} reason
 * @property {number} sessions
 * @property {number} seconds
 * @property {number} left_s
 * @property {number} opened
 * @property {number} refused
 * @property {number} frames
 * @property {number} skipped
 * @property {number} finals
 */

/**
 * @typedef {object} Now
 * @property {{health: string, processingLoad: number, memoryUsage: number, sessionsActive: number, framesInQueue: number,
 *   degradationStep: string, degradationRung: number}} pipelineState
 * @property {{averageFrameTime: number, throughput: number, errorRate: number}} performanceMetrics
 * @property {{backpressureEvents: number}} resourceOptimization
 * @property {Alert[]} alerts
 * @property {Record<string, number>} load
 * @property {Limits} limits
 * @property {Record<string, LaneFigures>} lanes
 * @property {{frames: number, age_ms: number}} queue
 * @property {number} cpu_percent
 * @property {number} uptime_s
 * @property {boolean} ready
 * @property {Record<string, string>} checks
 * @property {LoadTest | null} load_test
 * @property {Admission} admission
 * @property {number | null} settings_version
 */

/**
 * A session as the table has it.
 * @typedef {object} SessionRow
 * @property {string} session_id
 * @property {string} state
 * @property {number} age_s
 * @property {string} transport
 * @property {string | null} language
 * @property {number} stream_ms
 * @property {number} buffered_ms
 * @property {number} frames_dropped
 * @property {string} last_text
 * @property {{final: Summary, turn: Summary}} latency_ms
 */

/**
 * A session that is watched; `windows` are [first ms, dBFS, probability].
 * @typedef {SessionRow & {sample_rate: number, encoding: string, speech_ms: number, utterances: number, events_waiting: number}} SessionStatus
 * @typedef {{vad: number, vad_lower?: number, turn?: number}} Thresholds
 * @typedef {import("./alfred-voice-events.js").AnyEvent & {clock_ms: number}} ToldEvent
 * @typedef {{clock_ms: number, buffered_ms: number, windows: [number, number, number][], events: ToldEvent[]}} Glimpse
 */

/** @typedef {{detail?: string, code?: string}} Problem an error of the daemon's */

export {};
