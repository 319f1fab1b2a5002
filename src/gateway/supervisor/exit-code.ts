/** How a process of culvert ended, for scripts and service managers. */
export const ExitCode = {
  OK: 0,
  /** The start failed or a config is wrong: starting again does not help. */
  FAILED: 1,
  /** A second signal. */
  FORCED: 2,
  /** The same number, for a client: wrong usage. */
  USAGE: 2,
  /** Flows had to be cut when the drain deadline passed. */
  DRAIN_CUT: 3,
  /** The gateway refused the request. */
  REFUSED: 4,
  /** The state changed since it was read (412, 428). */
  PRECONDITION: 5,
  UNREACHABLE: 6,
  /** It ran, and lost for good what it needs: a start from scratch may help. */
  BROKEN: 7,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];
