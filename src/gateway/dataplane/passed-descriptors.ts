/** Descriptors that the supervisor hands over while the data plane runs. */
import { receiveDescriptor } from '../../ffi/fd-passing.ts';
import { closeFd } from '../../ffi/sockets.ts';
import { DataPlaneFd } from '../messages/control.ts';

/** The number of none. */
const NO_NUMBER = 0;

/**
 * The one that was passed with this number, if it came. Those in front of it are closed: a data
 * plane before this one did not live to take them.
 */
export function takeDescriptor(number: number, socket: number = DataPlaneFd.HANDOVER) {
  for (;;) {
    const passed = receiveDescriptor(socket);
    if (typeof passed === 'number') return undefined;
    if (passed.number === number) return passed.fd;
    closeFd(passed.fd);
  }
}

/** Closes all that have come: for a data plane that begins, as nobody has passed it any. */
export const closePassed = (): void => void takeDescriptor(NO_NUMBER);
