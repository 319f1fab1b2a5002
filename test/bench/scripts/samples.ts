/** What the bench of scripts finds. */

export const TESTS = ['refuse', 'syn', 'bulk', 'memory', 'hostile'] as const;
export type TestName = (typeof TESTS)[number];

export interface ScriptSample {
  readonly test: TestName;
  /** What is measured, as the table calls it. */
  readonly row: string;
  /** New flows per second that were asked for; rows are compared at the same rate. */
  readonly rate?: number;
  /** From 0. */
  readonly repetition: number;
  /** By metric; see report.ts. */
  readonly values: Readonly<Record<string, number>>;
  /** Why there are no values. */
  readonly error?: string;
}
