/**
 * The script culvert starts with. It is asked about every new connection that comes in through
 * the TUN device, before the client gets an answer.
 *
 * Try it: change GREETING, run `culvert reload`, and load http://198.18.0.80/ again.
 */
import { forward, type GatewayScript, redirect, reject } from 'culvert';

const GREETING = 'Hello from scripts/default.ts';

export default {
  flow({ dst }) {
    switch (dst.ip) {
      // Port 80 of this address shows a page that the gateway serves itself.
      case '198.18.0.80':
      case 'fdc0:c01e::80':
        return dst.port === 80 ? redirect('welcome', { note: GREETING }) : reject();

      // Every port of this address is the same port of the machine culvert runs on.
      case '198.18.0.81':
        return forward(`127.0.0.1:${dst.port}`);
      case 'fdc0:c01e::81':
        return forward(`[::1]:${dst.port}`);

      // Everything else is refused, as a closed port would be.
      default:
        return reject();
    }
  },
} satisfies GatewayScript;
