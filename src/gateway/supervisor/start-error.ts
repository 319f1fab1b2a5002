/** Something that the operator named cannot be used. The message says what, and why. */
export class StartError extends Error {
  override readonly name = 'StartError';
  /** Of the system where it is its fault: `EACCES`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Runs `work`, and says what it was about when the system refuses. @throws StartError */
export function explained<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof StartError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    // An error without a code of the system is none of its own: a bug keeps its stack.
    if (typeof code !== 'string') throw cause;
    throw new StartError(code, `${what}: ${code}`, { cause });
  }
}
