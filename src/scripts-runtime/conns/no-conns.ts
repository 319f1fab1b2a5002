import type { GuestConnPorts } from './guest-conns.ts';
import type { ConnPorts } from './ports.ts';

/** Of a host without a network: nothing is ever opened, so nothing else can happen. */
export const NO_CONNS: ConnPorts = {
  reach: 'none',
  ownConn: (index) => index,
  want: () => {},
  peek: () => {},
  write: () => {},
  fin: () => {},
  abort: () => {},
  close: () => {},
  dial: () => {},
  secure: () => {},
  splice: () => {},
};

/** Of a sandbox that decides about no flow: it has no connections, and may not dial. */
export const NO_GUEST_CONNS: GuestConnPorts = {
  nowMs: () => 0,
  want: () => {},
  takeBack: () => false,
  peek: () => {},
  write: () => true,
  fin: () => {},
  abort: () => {},
  close: () => {},
  dial: () => ({ code: 'denied', message: 'there is no network here' }),
  secure: () => 'there is no network here',
  splice: () => {},
  sniffed: () => {},
  note: () => {},
  failed: () => {},
};
