/** Frames from and to the supervisor over the standard streams, without an event loop. */
import { Errno } from '../../ffi/errno.ts';
import { raise } from '../../ffi/errors.ts';
import { lastErrno, libc } from '../../ffi/libc.ts';
import { addressOf } from '../../ffi/memory.ts';
import { WAIT_FOREVER, waitReadable, waitWritable } from '../../ffi/poll.ts';
import { encodeJsonFrame, FrameKind, FrameReader } from '../messages/framing.ts';
import type { FromScriptHost, ToScriptHost } from '../messages/script-control.ts';

export const STDIN = 0;
const STDOUT = 1;
const BUFFER_BYTES = 64 * 1024;

/** How long the rest of a message is waited for: the supervisor is in the middle of writing it. */
const REST_WAIT_MS = 20;

export class ControlChannel {
  readonly #buffer = new ArrayBuffer(BUFFER_BYTES);
  readonly #bytes = new Uint8Array(this.#buffer);
  readonly #address = addressOf(this.#buffer);
  readonly #reader = new FrameReader();
  readonly #utf8 = new TextDecoder();

  /**
   * Reads what there is, and of a message that has begun all of it, unless the supervisor makes a
   * long pause. Waits if there is nothing: call it when standard input is readable.
   *
   * @returns false at the end: the supervisor is gone
   */
  read(onMessage: (message: ToScriptHost) => void): boolean {
    do {
      const count = libc.read(STDIN, this.#address, BUFFER_BYTES);
      if (count === 0) return false;
      if (count < 0) {
        const errno = lastErrno();
        if (errno === Errno.EAGAIN || errno === Errno.EINTR) return true;
        raise(errno, 'read', { device: 'standard input' });
      }
      this.#reader.push(this.#bytes.subarray(0, count), (kind, body) => {
        if (kind === FrameKind.JSON) onMessage(JSON.parse(this.#utf8.decode(body)) as ToScriptHost);
      });
    } while (this.#reader.isInsideFrame && waitReadable(STDIN, REST_WAIT_MS));
    return true;
  }

  /** Writes all of it, and waits if the supervisor is slow. @throws SystemError  `EPIPE` */
  send(message: FromScriptHost): void {
    const frame = encodeJsonFrame(message);
    const address = addressOf(frame.buffer);
    for (let at = 0; at < frame.length; ) {
      const count = libc.write(STDOUT, address + at, frame.length - at);
      if (count >= 0) {
        at += count;
        continue;
      }
      const errno = lastErrno();
      if (errno === Errno.EAGAIN) waitWritable(STDOUT, WAIT_FOREVER);
      else if (errno !== Errno.EINTR) raise(errno, 'write', { device: 'standard output' });
    }
  }
}
