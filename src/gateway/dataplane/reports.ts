/** What the data plane tells the supervisor: ended flows in batches, and messages. Never waits. */
import { Errno } from '../../ffi/errno.ts';
import { lastErrno, libc } from '../../ffi/libc.ts';
import { addressOf } from '../../ffi/memory.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import { FLOW_ROW_BYTES } from '../../stack/flow-row.ts';
import type { FromDataPlane } from '../messages/control.ts';
import { encodeJsonFrame, FRAME_HEADER_BYTES, FrameKind } from '../messages/framing.ts';

const STDOUT = 1;
/** About 20,000 ended flows; a supervisor that is further behind loses log lines, counted. */
const BUFFER_BYTES = 4 * 1024 * 1024;

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
  readonly #counters: Counters;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  /** Something waits for the pipe. */
  get isBehind(): boolean {
    return this.#filled > this.#sent;
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

  message(message: FromDataPlane): void {
    this.#endRows();
    const frame = encodeJsonFrame(message);
    if (!this.#hasRoom(frame.length)) {
      this.#counters.add(Counter.REPORTS_LOST);
      return;
    }
    this.#bytes.set(frame, this.#filled);
    this.#filled += frame.length;
  }

  /** Writes what the pipe takes. @returns false when the supervisor is gone */
  flush(): boolean {
    if (this.#filled === this.#sent) return true;
    this.#endRows();
    while (this.#sent < this.#filled) {
      const length = this.#filled - this.#sent;
      const written = Number(libc.write(STDOUT, this.#address + this.#sent, length));
      if (written < 0) return lastErrno() === Errno.EAGAIN;
      this.#sent += written;
    }
    this.#sent = 0;
    this.#filled = 0;
    return true;
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
