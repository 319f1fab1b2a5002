/** What a sandbox and the gateway write to the page that both see, besides requests. */
import { CONN_PAGE_BYTES } from '../conns/guest-conns.ts';

/** What connections cross in lies behind. */
export const PAGE_BYTES = CONN_PAGE_BYTES;

/** How a call went. The text that belongs to it is in brackets. The same as in guest/page.js. */
export const Reply = {
  DECLINE: 1,
  /** To the original destination, with no options. */
  FORWARD: 2,
  /** With no options. */
  REJECT: 3,
  /** Any other verdict [its fields as JSON]. */
  VERDICT: 4,
  /** A promise: `settle` will be called. */
  PENDING: 5,
  /** [the error; from the second line its stack] */
  THREW: 6,
  /** [what came back instead] */
  NO_VERDICT: 7,
  /** A hook that gives no verdict is over [what it handed over]. */
  DONE: 8,
} as const;
export type Reply = (typeof Reply)[keyof typeof Reply];

/** Whether a text belongs to the reply. */
export const hasText = (reply: Reply): boolean =>
  reply === Reply.VERDICT ||
  reply === Reply.THREW ||
  reply === Reply.NO_VERDICT ||
  reply === Reply.DONE;
