/** What the supervisor says: frames on standard input, read without waiting. */
import { Errno } from '../../ffi/errno.ts';
import { lastErrno, libc } from '../../ffi/libc.ts';
import { addressOf } from '../../ffi/memory.ts';
import type { ToDataPlane } from '../messages/control.ts';
import { FrameKind, FrameReader } from '../messages/framing.ts';

const STDIN = 0;
const BUFFER_BYTES = 64 * 1024;

export class ControlInput {
  readonly #buffer = new ArrayBuffer(BUFFER_BYTES);
  readonly #bytes = new Uint8Array(this.#buffer);
  readonly #address = addressOf(this.#buffer);
  readonly #reader = new FrameReader();
  readonly #text = new TextDecoder();

  /** Hands over every message that has arrived. @returns false when the supervisor is gone */
  read(onMessage: (message: ToDataPlane) => void): boolean {
    for (;;) {
      const got = Number(libc.read(STDIN, this.#address, BUFFER_BYTES));
      if (got === 0) return false;
      if (got < 0) {
        const errno = lastErrno();
        return errno === Errno.EAGAIN || errno === Errno.EINTR;
      }
      this.#reader.push(this.#bytes.subarray(0, got), (kind, body) => {
        if (kind === FrameKind.JSON) {
          onMessage(JSON.parse(this.#text.decode(body)) as ToDataPlane);
        }
      });
    }
  }
}
