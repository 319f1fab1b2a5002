/** poll(2) for one descriptor, where a whole epoll would be too much. */
import { libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { HOST_ORDER, PollFd } from './structs.ts';

const POLLIN = 1;
const POLLOUT = 4;

export const WAIT_FOREVER = -1;

/** Waits until a read would not block, or the descriptor has failed; false when time is over. */
export const waitReadable = (fd: number, timeoutMs: number): boolean =>
  isReady(fd, POLLIN, timeoutMs);

/** Waits until a write would not block, or the descriptor has failed; false when time is over. */
export const waitWritable = (fd: number, timeoutMs: number): boolean =>
  isReady(fd, POLLOUT, timeoutMs);

function isReady(fd: number, events: number, timeoutMs: number): boolean {
  const request = allocateStruct(PollFd.BYTES);
  request.view.setInt32(PollFd.FD, fd, HOST_ORDER);
  request.view.setInt16(PollFd.EVENTS, events, HOST_ORDER);
  return libc.poll(request.address, 1, Math.ceil(timeoutMs)) > 0;
}
