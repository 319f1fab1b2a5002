import type { TrackSettings } from '../../stack/conntrack/context.ts';
import type { PrefixRule } from '../../stack/nat/prefix-nat.ts';
import { millis } from '../../stack/time.ts';
import { parseAddress, parseCidr } from '../../stack/wire/ip-address.ts';
import type { LiveConfig } from '../messages/control.ts';

/** What the configuration says of flows that are not terminated, as the stack wants it. */
export function trackSettings({ nat, conntrack }: LiveConfig): TrackSettings {
  const { timeouts, tcpLiberal, tcpLoose, perSource } = conntrack;
  return {
    timeouts: {
      tcpSynSent: millis(timeouts.tcpSynSent),
      tcpSynReceived: millis(timeouts.tcpSynReceived),
      tcpEstablished: millis(timeouts.tcpEstablished),
      tcpFinWait: millis(timeouts.tcpFinWait),
      tcpCloseWait: millis(timeouts.tcpCloseWait),
      tcpLastAck: millis(timeouts.tcpLastAck),
      tcpTimeWait: millis(timeouts.tcpTimeWait),
      tcpClose: millis(timeouts.tcpClose),
      tcpUnacknowledged: millis(timeouts.tcpUnacknowledged),
      udp: millis(timeouts.udp),
      udpStream: millis(timeouts.udpStream),
      dns: millis(timeouts.dns),
      icmp: millis(timeouts.icmp),
      generic: millis(timeouts.generic),
    },
    tcpLiberal,
    tcpLoose,
    perSource,
    firstPort: nat.ports[0],
    lastPort: nat.ports[1],
    portsPerSource: nat.portsPerSource,
    clampMss: nat.clampMss,
  };
}

/** The addresses that sources are translated to, as bytes. */
export const poolOf = ({ nat }: LiveConfig): Uint8Array[] =>
  nat.addresses.flatMap((address) => parseAddress(address) ?? []);

/** The prefix rules, in their order. @throws Error when one is no CIDR: they have been validated */
export const prefixesOf = ({ listeners }: LiveConfig): PrefixRule[] =>
  listeners.flatMap(({ name, action }) => {
    if (action.kind !== 'prefix') return [];
    const inside = parseCidr(action.inside);
    const outside = parseCidr(action.outside);
    if (inside === undefined || outside === undefined) throw new Error(`listener ${name}: no CIDR`);
    return [{ inside, outside }];
  });
