/** Reads files that an operator names, which may be anything. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/** Why a file is not read, to stand behind its name: `cannot be read: ENOENT`. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError';
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The text of a regular file. A FIFO or a device would hold up the gateway for as long as its
 * writer likes, so they are not even waited for.
 *
 * @throws UnreadableError  `ENOENT` and its like, `NOT_A_FILE`, `TOO_LARGE`, `NOT_UTF8`
 */
export function readTextFile(path: string, bytesMax: number): string {
  const fd = open(path);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new UnreadableError('NOT_A_FILE', 'is no regular file');
    if (stat.size > bytesMax) {
      throw new UnreadableError('TOO_LARGE', `has ${stat.size} bytes, at most ${bytesMax}`);
    }
    return decode(readFileSync(fd));
  } finally {
    closeSync(fd);
  }
}

function open(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new UnreadableError(code, `cannot be read: ${code}`, { cause });
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new UnreadableError('NOT_UTF8', 'is not UTF-8', { cause });
  }
}
