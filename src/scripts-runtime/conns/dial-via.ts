/** `connect(to, { via })`: whether the upstream is there, and takes the address. */
import { DIRECT, type Endpoint } from '../../stack/verdict.ts';
import { isObjectName } from '../verdict/parse-verdict.ts';
import { type KnownUpstreams, unknownUpstream } from '../verdict/verdict-fit.ts';
import type { DialRefusal } from './guest-conns.ts';

/** Stands for the address that a pool chooses itself; nothing is ever sent there. */
const OF_THE_POOL = '0.0.0.0:1';

/** Whether a dial goes to an address that its upstream chooses. */
export const isOfPool = ({ ip }: Endpoint): boolean => ip === OF_THE_POOL.slice(0, -2);

/**
 * @param fields     `via`, `to` and `into` as the guest wrote them
 * @param upstreams  undefined where nobody knows the configuration: any name may be one
 * @returns          undefined without a `via`; what to dial where there is no `to`, or a refusal
 */
export function viaOf(
  { via, to, into }: Readonly<Record<string, unknown>>,
  upstreams: KnownUpstreams | undefined,
): { readonly target?: string; readonly refusal?: DialRefusal } | undefined {
  if (via === undefined) return undefined;
  const usage = (message: string) => ({ refusal: { code: 'usage', message } });
  if (!isObjectName(via)) return usage('via is the name of an upstream');
  if (into === 'tun') return usage('via is of a socket, and not of "tun"');
  if (via === DIRECT) return {};
  if (upstreams === undefined) return { target: OF_THE_POOL };
  const kind = Object.hasOwn(upstreams, via) ? upstreams[via] : undefined;
  if (kind === undefined) {
    return { refusal: { code: 'denied', message: unknownUpstream(via, upstreams) } };
  }
  if (kind !== 'pool') return {};
  return to === undefined
    ? { target: OF_THE_POOL }
    : usage(`upstream "${via}" is a pool, and takes no address`);
}
