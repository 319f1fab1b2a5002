/** `sniffs`, next to `flow()`: what a script wants to know of UDP flows before it is asked. */
import { host } from './host.js';

const { isArray } = Array;

/** Tells the gateway. Returns what is wrong with the list, or undefined. */
export function adoptSniffs(list) {
  if (list === undefined) return undefined;
  if (!isArray(list)) return "sniffs is a list of 'quic' and 'dns'";
  for (let i = 0; i < list.length; i++) {
    if (!host.sniff(list[i])) return "sniffs can have 'quic' and 'dns'";
  }
  return undefined;
}
