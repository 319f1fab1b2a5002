/**
 * Time inside the stack: an argument, never a clock. Both types are counts of microseconds in a
 * float64, which is exact for 285 years; the gateway passes CLOCK_MONOTONIC.
 */

declare const instant: unique symbol;
declare const duration: unique symbol;

/** A point in time, in microseconds since an arbitrary start that never jumps. */
export type Instant = number & { readonly [instant]: true };

/** A span of time in microseconds. */
export type Duration = number & { readonly [duration]: true };

export const micros = (us: number): Duration => us as Duration;
export const millis = (ms: number): Duration => (ms * 1000) as Duration;
export const seconds = (s: number): Duration => (s * 1_000_000) as Duration;

/** The instant `span` after `from`. */
export const after = (from: Instant, span: Duration): Instant => (from + span) as Instant;

/** Later than every other instant: "no deadline". */
export const NEVER = Number.POSITIVE_INFINITY as Instant;
