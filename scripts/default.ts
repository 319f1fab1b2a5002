/**
 * The script culvert starts with. It is asked about every new flow that comes in through the TUN
 * device, before the client gets an answer: connections of TCP, UDP, and pings.
 *
 * Try it: change GREETING, run `culvert reload`, and load http://198.18.0.80/ again.
 */
import { forward, type GatewayScript, redirect, reject } from 'culvert';

const GREETING = 'Hello from scripts/default.ts';

export default {
  flow({ proto, dst }) {
    switch (dst.ip) {
      // Port 80 of this address shows a page that the gateway serves itself.
      case '198.18.0.80':
      case 'fdc0:c01e::80':
        if (proto !== 'tcp' || dst.port !== 80) return reject();
        return redirect('welcome', { note: GREETING });

      // Every port of this address is the same port of the machine culvert runs on.
      case '198.18.0.81':
        return forward('127.0.0.1');
      case 'fdc0:c01e::81':
        return forward('[::1]');

      // Everything else is refused, as a closed port would be.
      default:
        return reject();
    }
  },
} satisfies GatewayScript;
