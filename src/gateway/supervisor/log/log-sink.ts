/**
 * Where log lines go. Lines are gathered and written together, because a busy gateway ends
 * thousands of flows a second and this process has other work. Its other work is also why nothing
 * here waits: a reader that stalls costs lines, which are counted, and never stops the gateway.
 *
 * Standard error is shared with whoever started the gateway, so its mode must stay as it is: a
 * blocking pipe is written through a description of our own, opened anew as non-blocking.
 */
import { constants, fstatSync, openSync } from 'node:fs';
import { Errno } from '../../../ffi/errno.ts';
import { lastErrno, libc } from '../../../ffi/libc.ts';
import { addressOf } from '../../../ffi/memory.ts';
import { waitWritable } from '../../../ffi/poll.ts';
import { isNonBlocking, send } from '../../../ffi/sockets.ts';

/** How long a line may wait before it is written. */
const FLUSH_MS = 20;
/** Text that may wait while the reader stalls, in UTF-16 units. */
const BACKLOG_MAX = 4 * 1024 * 1024;
/** How long the end of the process may wait for a reader that is merely slow. */
const LAST_FLUSH_MS = 250;
/** What a pipe that poll(2) calls writable takes without blocking: PIPE_BUF, pipe(7). */
const PIPE_BUF_BYTES = 4096;
const STDERR = 2;

const NOTHING = new Uint8Array(new ArrayBuffer(0));
const utf8 = new TextEncoder();

export class LogSink {
  /** Told how many lines were dropped, once there is room again to say so. */
  onDropped: (lines: number) => void = () => {};
  readonly #fd: number;
  readonly #write: (address: number, length: number) => number;
  /** Encoded, and written in part. */
  #bytes: Uint8Array<ArrayBuffer> = NOTHING;
  #text = '';
  #dropped = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(fd = STDERR) {
    this.#fd = fd;
    this.#write = writerOf(fd);
    // Whoever exits without a word still leaves its last lines.
    process.on('exit', () => this.#flushLast());
  }

  /** Takes a line with its newline, or counts it as dropped. Never waits. */
  write(line: string): void {
    if (this.#bytes.length + this.#text.length + line.length > BACKLOG_MAX) {
      this.#dropped++;
      return;
    }
    this.#text += line;
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  /** Writes what the reader takes now; the rest is tried again later. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#next()) {
      const count = this.#write(
        addressOf(this.#bytes.buffer) + this.#bytes.byteOffset,
        this.#bytes.length,
      );
      if (count === -Errno.EAGAIN) {
        this.#timer = setTimeout(() => this.flush(), FLUSH_MS);
        return;
      }
      if (count < 0) {
        // Such as EPIPE, or a full disk. It is said when something can be written again.
        this.#loseBytes();
        return;
      }
      this.#bytes = this.#bytes.subarray(count);
    }
    this.#reportDropped();
  }

  /** Whether there is something to write; then it is in `#bytes`. */
  #next(): boolean {
    if (this.#bytes.length > 0) return true;
    this.#bytes = utf8.encode(this.#text);
    this.#text = '';
    return this.#bytes.length > 0;
  }

  #loseBytes(): void {
    for (const byte of this.#bytes) if (byte === 0x0a) this.#dropped++;
    this.#bytes = NOTHING;
  }

  #reportDropped(): void {
    if (this.#dropped === 0) return;
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.onDropped(dropped);
  }

  #flushLast(): void {
    const deadline = performance.now() + LAST_FLUSH_MS;
    for (this.flush(); this.#timer !== undefined; this.flush()) {
      const left = deadline - performance.now();
      if (left <= 0 || !waitWritable(this.#fd, left)) return;
    }
  }
}

/** A function that writes to `fd` and does not block: bytes taken, or a negative errno. */
function writerOf(fd: number): (address: number, length: number) => number {
  const stat = fstatSync(fd);
  if (stat.isSocket()) return (address, length) => send(fd, address, length);
  // A file takes all it is given; who else is non-blocking already may stay so.
  if (stat.isFile() || isNonBlocking(fd)) return (address, length) => write(fd, address, length);
  const own = reopen(fd);
  if (own !== undefined) return (address, length) => write(own, address, length);
  return (address, length) =>
    waitWritable(fd, 0) ? write(fd, address, Math.min(length, PIPE_BUF_BYTES)) : -Errno.EAGAIN;
}

/** The same pipe or terminal, non-blocking; undefined where it belongs to another user. */
function reopen(fd: number): number | undefined {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
  try {
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return undefined;
  }
}

function write(fd: number, address: number, length: number): number {
  const count = libc.write(fd, address, length);
  if (count >= 0) return count;
  const errno = lastErrno();
  return errno === Errno.EINTR ? 0 : -errno;
}
