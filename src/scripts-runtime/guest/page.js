/** The page: words and doubles, at the offsets of `PageField` in request-page.ts. */
import { host } from './host.js';

const { page } = host;
export const words = new Uint32Array(page);
export const doubles = new Float64Array(page);

/** Offsets in words of 4 bytes; FLOW counts doubles. */
export const FLOW = 0;
export const CALL = 2;
export const PROTOCOL = 3;
export const FAMILY = 4;
export const SOURCE_PORT = 5;
export const DESTINATION_PORT = 6;
export const MSS = 7;
export const WINDOW_SCALE = 8;
export const TTL = 9;
export const ECN = 10;
export const REPLY = 11;
/** Of connections: whose turn it is, and what an event is about. */
export const TURN_OF = 12;
export const CONN = 13;
export const END = 14;
export const EVENT = 15;
export const FLAGS = 16;
export const LENGTH = 17;
/** In bytes: where those of an event lie, and how many there can be. */
export const CHUNK_AT = 96;
export const CHUNK_BYTES = 16_384;

/** The same as `Reply` in guest-page.ts. */
export const DECLINE = 1;
export const FORWARD = 2;
export const REJECT = 3;
export const VERDICT = 4;
export const PENDING = 5;
export const THREW = 6;
export const NO_VERDICT = 7;
export const DONE = 8;
