/** What the data plane tells the supervisor: ended flows in batches, and messages. Never waits. */
import { Errno } from '../../ffi/errno.ts';
import { lastErrno, libc } from '../../ffi/libc.ts';
import { addressOf } from '../../ffi/memory.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import { FLOW_ROW_BYTES } from '../../stack/flow-row.ts';
import { after, type Duration, type Instant, NEVER } from '../../stack/time.ts';
import type { FromDataPlane } from '../messages/control.ts';
import { encodeJsonFrame, FRAME_HEADER_BYTES, FrameKind } from '../messages/framing.ts';

const STDOUT = 1;
/** About 20,000 ended flows; a supervisor that is further behind loses log lines, counted. */
const BUFFER_BYTES = 4 * 1024 * 1024;
/**
 * Rows wait so long for others: each write wakes the supervisor, which takes as much of a processor
 * as all that the flow has cost here.
 */
const ROWS_WAIT_US = 10_000 as Duration;
/** So many bytes of them do not wait. */
const ROWS_BYTES_MAX = 64 * FLOW_ROW_BYTES;

export class Reports {
  readonly #buffer = new ArrayBuffer(BUFFER_BYTES);
  readonly #bytes = new Uint8Array(this.#buffer);
  readonly #view = new DataView(this.#buffer);
  readonly #address = addressOf(this.#buffer);
  /** Bytes [#sent, #filled) wait for the pipe. */
  #sent = 0;
  #filled = 0;
  /** Start of the frame of rows that is still growing; -1 when there is none. */
  #rowsAt = -1;
  /** When what waits is written at the latest; NEVER while nothing but the pipe is waited for. */
  #dueAt: Instant = NEVER;
  /** A message waits: it is written with the next flush, and what is in front of it. */
  #hasMessage = false;
  #isStalled = false;
  readonly #counters: Counters;
  readonly #fd: number;

  constructor(counters: Counters, fd: number = STDOUT) {
    this.#counters = counters;
    this.#fd = fd;
  }

  /** The pipe has not taken all that it was given. */
  get isBehind(): boolean {
    return this.#isStalled;
  }

  /** When `flush` has something to write. */
  get dueAt(): Instant {
    return this.#dueAt;
  }

  /** Copies the row of a flow that ended. */
  flow(source: Uint8Array, rowAt: number): void {
    if (this.#rowsAt < 0) {
      if (!this.#hasRoom(FRAME_HEADER_BYTES + FLOW_ROW_BYTES)) {
        this.#counters.add(Counter.REPORTS_LOST);
        return;
      }
      this.#rowsAt = this.#filled;
      this.#view.setUint8(this.#rowsAt + 4, FrameKind.FLOW_ROWS);
      this.#filled += FRAME_HEADER_BYTES;
    } else if (!this.#hasRoom(FLOW_ROW_BYTES)) {
      this.#counters.add(Counter.REPORTS_LOST);
      return;
    }
    for (let i = 0; i < FLOW_ROW_BYTES; i++) this.#bytes[this.#filled + i] = source[rowAt + i]!;
    this.#filled += FLOW_ROW_BYTES;
  }

  /** @returns false when there is no room: it is lost, and counted */
  message(message: FromDataPlane): boolean {
    this.#endRows();
    this.#hasMessage = true;
    const frame = encodeJsonFrame(message);
    if (!this.#hasRoom(frame.length)) {
      this.#counters.add(Counter.REPORTS_LOST);
      return false;
    }
    this.#bytes.set(frame, this.#filled);
    this.#filled += frame.length;
    return true;
  }

  /** Writes what is due, as far as the pipe takes it. @returns false when nobody reads any more */
  flush(now: Instant): boolean {
    if (this.#filled === 0 || this.#isWaiting(now)) return true;
    return this.flushAll();
  }

  /** Writes what there is, as far as the pipe takes it. @returns as `flush` */
  flushAll(): boolean {
    this.#endRows();
    this.#dueAt = NEVER;
    while (this.#sent < this.#filled) {
      const length = this.#filled - this.#sent;
      const written = Number(libc.write(this.#fd, this.#address + this.#sent, length));
      if (written < 0) {
        this.#isStalled = true;
        return lastErrno() === Errno.EAGAIN;
      }
      this.#sent += written;
    }
    this.#sent = 0;
    this.#filled = 0;
    this.#hasMessage = false;
    this.#isStalled = false;
    return true;
  }

  /** There are but rows, few of them, and others may come. */
  #isWaiting(now: Instant): boolean {
    if (this.#hasMessage || this.#isStalled || this.#filled >= ROWS_BYTES_MAX) return false;
    if (this.#dueAt === NEVER) this.#dueAt = after(now, ROWS_WAIT_US);
    return now < this.#dueAt;
  }

  #endRows(): void {
    if (this.#rowsAt < 0) return;
    this.#view.setUint32(this.#rowsAt, this.#filled - this.#rowsAt - 4, true);
    this.#rowsAt = -1;
  }

  #hasRoom(length: number): boolean {
    if (this.#filled + length <= BUFFER_BYTES) return true;
    if (this.#sent === 0) return false;
    this.#bytes.copyWithin(0, this.#sent, this.#filled);
    this.#filled -= this.#sent;
    if (this.#rowsAt >= 0) this.#rowsAt -= this.#sent;
    this.#sent = 0;
    return this.#filled + length <= BUFFER_BYTES;
  }
}
