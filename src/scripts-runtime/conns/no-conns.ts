import type { ConnPorts } from './ports.ts';

/** Of a host without a network: nothing is ever opened, so nothing else can happen. */
export const NO_CONNS: ConnPorts = {
  want: () => {},
  peek: () => {},
  write: () => {},
  fin: () => {},
  abort: () => {},
  close: () => {},
  dial: () => {},
  splice: () => {},
};
