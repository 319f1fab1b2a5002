/** Why a call into a script gave no verdict. A closed set: metric, log and API use these words. */
export const FAILURE_KINDS = [
  /** The script threw or its promise was rejected. */
  'error',
  /** `limits.cpuHardMs`. */
  'cpu',
  /** `limits.memoryBytes`. */
  'memory',
  /** `limits.wallMs`. */
  'wall',
  /** `limits.pending`. */
  'pending',
  /** The circuit breaker is open. */
  'disabled',
  /** The script's sandbox broke under another call, and this one was lost with it. */
  'killed',
  /** What came back is no verdict. */
  'bad-verdict',
  /** `limits.claims`. */
  'claims',
] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** A place in a source file, 1-based. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A call into a script failed; the caller applies the fallback verdict. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError';
  readonly kind: FailureKind;
  readonly position: SourcePosition | undefined;

  constructor(kind: FailureKind, message: string, position?: SourcePosition) {
    super(position === undefined ? message : `${formatPosition(position)}: ${message}`);
    this.kind = kind;
    this.position = position;
  }
}

/** `scripts/route.ts:3:5` */
const formatPosition = ({ file, line, column }: SourcePosition): string =>
  `${file}:${line}:${column}`;
