/** `--exit-fd`: the gateway ends when whoever holds the other end of a pipe is gone. */
import { read } from 'node:fs';

const BUFFER_BYTES = 256;
/** For a descriptor that somebody made non-blocking. */
const RETRY_MS = 200;

/** Calls `onEnd` once, at the end of the file or when it cannot be read; bytes mean nothing. */
export function watchExitFd(fd: number, onEnd: () => void): void {
  const buffer = Buffer.alloc(BUFFER_BYTES);
  read(fd, buffer, 0, BUFFER_BYTES, null, (error, count) => {
    if (error?.code === 'EAGAIN') setTimeout(watchExitFd, RETRY_MS, fd, onEnd);
    else if (error !== null || count === 0) onEnd();
    else watchExitFd(fd, onEnd);
  });
}
