/** `connect()` of scripts: what is asked for, whether it may be, and dials until one is taken. */
import { isIPv4, isIPv6 } from 'node:net';
import { type Endpoint, formatEndpoint } from '../../stack/verdict.ts';
import type { Lookups } from '../lookups.ts';
import type { Script } from '../script/script.ts';
import { isNamed, type NamedTarget, parseTarget } from '../verdict/parse-verdict.ts';
import type { KnownUpstreams } from '../verdict/verdict-fit.ts';
import { type ConnRow, EndRow, NO_SOCKET } from './conn-row.ts';
import { viaOf } from './dial-via.ts';
import { Dialing } from './dialing.ts';
import { plainEndpoint } from './egress.ts';
import type { Errands } from './errands.ts';
import { ConnEvent, type ConnNews, type DialRefusal } from './guest-conns.ts';
import type { ConnDial, ConnPorts, DialFailure, SecureResult } from './ports.ts';

const US_PER_MS = 1000;
const NEVER = Number.POSITIVE_INFINITY;
const UINT32_MAX = 0xffff_ffff;
/** How long a server may take for the handshake of TLS, where no time was given. */
const HANDSHAKE_US = 10_000_000;
/** How long a dial waits for a gateway that has not begun to carry connections. */
const START_WAIT_US = 500_000;

/** As the guest wrote them: checked there for the author's sake, and here for ours. */
type DialFields = Readonly<Record<string, unknown>>;

const MEANINGS: Readonly<Record<DialFailure, string>> = {
  refused: 'refused',
  unreachable: 'unreachable',
  timeout: 'no answer in time',
  loop: 'the kernel would send it into our own device',
  limit: 'the gateway has no room for another dial',
  failed: 'it cannot be dialled from here',
};

export interface OutboundPorts {
  /** Microseconds. */
  readonly now: () => number;
  readonly tell: (row: ConnRow, news: ConnNews) => void;
  readonly upstreams: () => KnownUpstreams | undefined;
  /** A socket that was dialled by this name is open; empty of an address. */
  readonly named: (row: ConnRow, name: string) => void;
}

export class Outbound {
  readonly #carrier: ConnPorts;
  readonly #lookups: Lookups;
  readonly #now: () => number;
  readonly #tell: OutboundPorts['tell'];
  readonly #named: OutboundPorts['named'];
  readonly #errands: Errands;
  /** Dials that wait for `started`. */
  #postponed: { readonly end: EndRow; readonly begin: () => void }[] = [];
  readonly #upstreams: () => KnownUpstreams | undefined;
  /** Ends that are not open yet. */
  readonly #dialing = new Map<EndRow, ConnRow>();
  #lastSocket = NO_SOCKET;

  constructor(carrier: ConnPorts, lookups: Lookups, ports: OutboundPorts, errands: Errands) {
    this.#upstreams = ports.upstreams;
    this.#carrier = carrier;
    this.#lookups = lookups;
    this.#now = ports.now;
    this.#tell = ports.tell;
    this.#named = ports.named;
    this.#errands = errands;
  }

  /** Microseconds. */
  get nextDeadline(): number {
    let next = NEVER;
    for (const { dialing, deadline } of this.#dialing.keys()) {
      next = Math.min(next, deadline, dialing?.nextAt ?? NEVER);
    }
    return next;
  }

  /** @returns the number of the end, or why there is none */
  dial(row: ConnRow | undefined, script: Script, options: string): number | DialRefusal {
    if (row === undefined || row.isOver || row.script !== script) {
      return (
        row?.refusal ?? {
          code: 'aborted',
          message: 'the call or connection that it is for has ended',
        }
      );
    }
    if (this.#carrier.reach === 'none') {
      return { code: 'unreachable', message: 'there is no network here' };
    }
    const fields = JSON.parse(options) as DialFields;
    const via = viaOf(fields, this.#upstreams());
    if (via?.refusal !== undefined) return via.refusal;
    const { to = via?.target } = fields;
    const target = typeof to === 'string' ? parseTarget(to) : undefined;
    if (target === undefined || target.port === 0) {
      const message = 'an address is "10.0.0.1:80", "[fd00::1]:80" or "example.com:80"';
      return { code: 'usage', message };
    }
    const plan = parseDial(fields, row.claim !== undefined);
    if (typeof plan === 'string') return { code: 'usage', message: plan };
    const hostName = isNamed(target) ? target.name : target.ip;
    const secure =
      fields['secureTransport'] === 'on' ? parseSecure({ sni: hostName, ...fields }) : undefined;
    if (typeof secure === 'string') return { code: 'usage', message: secure };
    const refusal =
      fields['to'] === undefined
        ? undefined
        : isNamed(target)
          ? this.#refuseName(script, target.name, target.port)
          : this.#refuse(row, script, '', plainEndpoint(target));
    const full = refusal ?? this.#refuseMore(row, script);
    if (full !== undefined) return full;
    row.lastEnd++;
    const end = new EndRow(row.lastEnd);
    end.carrier = NO_SOCKET;
    end.secure = secure;
    end.name = isNamed(target) ? target.name : '';
    row.ends.set(end.id, end);
    this.#dialing.set(end, row);
    const begin = () => {
      const { timeoutMs } = plan;
      end.deadline = timeoutMs > 0 ? this.#now() + timeoutMs * US_PER_MS : NEVER;
      this.#lookUp(row, end, plan, target);
    };
    if (this.#carrier.reach === 'up') begin();
    else this.#postpone(end, begin);
    return end.id;
  }

  /** The gateway carries connections now. */
  started(): void {
    if (this.#carrier.reach !== 'up') return;
    const postponed = this.#postponed;
    this.#postponed = [];
    for (const { end, begin } of postponed) if (this.#dialing.has(end)) begin();
  }

  dialed(
    row: ConnRow,
    socket: number,
    result: 'ok' | DialFailure,
    remote: Endpoint | undefined,
    local: Endpoint | undefined,
  ): void {
    const end = row.sockets.get(socket);
    if (end === undefined) return;
    if (result !== 'ok') {
      row.sockets.delete(socket);
      const why = end.dialing?.failed(socket, result, this.#now());
      if (why !== undefined) this.#fail(row, end, codeOf(why), MEANINGS[why]);
      return;
    }
    const { dialing } = end;
    end.carrier = socket;
    end.dialing = undefined;
    dialing?.won(socket);
    end.info = {
      remoteAddress: remote === undefined ? '' : formatEndpoint(remote),
      localAddress: local === undefined ? '' : formatEndpoint(local),
    };
    if (end.secure === undefined) this.#open(row, end);
    else this.#secure(row, end);
  }

  /** TLS on a socket that is open. @returns in words what is wrong */
  startTls(row: ConnRow, end: EndRow, options: string): string | undefined {
    const secure = parseSecure(JSON.parse(options) as DialFields);
    if (typeof secure === 'string') return secure;
    end.isOpen = false;
    end.secure = secure;
    this.#dialing.set(end, row);
    this.#secure(row, end);
    return undefined;
  }

  secured(row: ConnRow, socket: number, result: SecureResult): void {
    const end = row.sockets.get(socket);
    if (end === undefined || !this.#dialing.has(end)) return;
    if ('error' in result) {
      row.sockets.delete(socket);
      this.#carrier.abort(row.carrier, socket);
      this.#fail(row, end, 'tls', result.error);
    } else this.#open(row, end, result.alpn);
  }

  #secure(row: ConnRow, end: EndRow): void {
    if (end.secure === undefined) return;
    end.deadline = Math.min(end.deadline, this.#now() + HANDSHAKE_US);
    const { inFlight } = end;
    end.inFlight = 0;
    this.#carrier.secure(row.carrier, end.carrier, { ...end.secure, inFlight });
  }

  #open(row: ConnRow, end: EndRow, alpn?: string): void {
    end.isOpen = true;
    if (end.name !== '') this.#named(row, end.name);
    this.#settle(end);
    const text = JSON.stringify({ ...end.info, alpn });
    this.#tell(row, { event: ConnEvent.OPENED, end: end.id, text });
  }

  expire(now: number): void {
    for (const [end, row] of Array.from(this.#dialing)) {
      if (end.deadline <= now) {
        this.#giveUp(row, end);
        if (this.#carrier.reach === 'up') this.#fail(row, end, 'timeout', MEANINGS.timeout);
        else this.#fail(row, end, 'unreachable', 'the gateway has not begun its service');
      } else if ((end.dialing?.nextAt ?? NEVER) <= now) end.dialing?.attempt(now);
    }
  }

  /** The script has no more use for a socket, open or not. */
  drop(row: ConnRow, end: EndRow): void {
    row.ends.delete(end.id);
    this.#giveUp(row, end);
    this.#settle(end);
  }

  #giveUp(row: ConnRow, end: EndRow): void {
    end.dialing?.cancel();
    if (end.carrier === NO_SOCKET) return;
    row.sockets.delete(end.carrier);
    this.#carrier.abort(row.carrier, end.carrier);
  }

  /** The connection is gone, and its sockets with it. */
  cancelAll(row: ConnRow): void {
    row.sockets.clear();
    for (const end of row.ends.values()) this.#settle(end);
  }

  #refuseName(script: Script, name: string, port: number): DialRefusal | undefined {
    if (script.egress.allowsLookup(name, port)) return undefined;
    return { code: 'denied', message: `"allow" of the script does not have ${name} port ${port}` };
  }

  #refuse(row: ConnRow, script: Script, name: string, to: Endpoint): DialRefusal | undefined {
    const destination = row.claim?.request.destination;
    const original = destination === undefined ? undefined : plainEndpoint(destination);
    const message = script.egress.refusal(name, to, original);
    return message === undefined ? undefined : { code: 'denied', message };
  }

  #refuseMore(row: ConnRow, script: Script): DialRefusal | undefined {
    const { socketsPerFlow, socketsOutside, dials } = script.limits;
    const refuse = (limit: string, message: string): DialRefusal => {
      script.reports.hitLimit(limit, message, row.flow);
      return { code: 'limit', message };
    };
    if (row.claim === undefined) {
      if (this.#errands.socketsOf(script) >= socketsOutside) {
        const what = `more than ${socketsOutside} sockets outside of connections`;
        return refuse('sockets-outside', `${what} (socketsOutside)`);
      }
    } else if (Math.max(row.ends.size - 1, row.sockets.size) >= socketsPerFlow) {
      const what = `more than ${socketsPerFlow} sockets for one connection`;
      return refuse('sockets', `${what} (socketsPerFlow)`);
    }
    let inFlight = 0;
    for (const other of this.#dialing.values()) if (other.script === script) inFlight++;
    if (inFlight < dials) return undefined;
    return refuse('dials', `more than ${dials} dials at once (dials)`);
  }

  #postpone(end: EndRow, begin: () => void): void {
    this.#postponed = this.#postponed.filter((one) => this.#dialing.has(one.end));
    this.#postponed.push({ end, begin });
    end.deadline = this.#now() + START_WAIT_US;
  }

  #lookUp(row: ConnRow, end: EndRow, plan: DialPlan, target: Endpoint | NamedTarget): void {
    if (!isNamed(target)) {
      this.#begin(row, end, plan, [plainEndpoint(target)]);
      return;
    }
    const { name, port } = target;
    this.#lookups.resolve(name, (found, error) => {
      if (this.#dialing.has(end)) this.#resolved(row, end, plan, name, port, found, error);
    });
  }

  #resolved(
    row: ConnRow,
    end: EndRow,
    plan: DialPlan,
    name: string,
    port: number,
    found: readonly string[],
    error: string,
  ): void {
    const { script } = row;
    const addresses = found.map((ip) =>
      plainEndpoint({ ip, port, family: ip.includes(':') ? 6 : 4 }),
    );
    const refusals = addresses.map((to) => this.#refuse(row, script, name, to));
    const allowed = addresses.filter((_, i) => refusals[i] === undefined);
    if (allowed.length > 0) this.#begin(row, end, plan, allowed);
    else if (refusals[0] !== undefined) this.#fail(row, end, 'denied', refusals[0].message);
    else this.#fail(row, end, 'dns', `${name} does not resolve: ${error || 'no address'}`);
  }

  #begin(row: ConnRow, end: EndRow, plan: DialPlan, addresses: readonly Endpoint[]): void {
    // Without a client it is the order of RFC 8305 §4.
    const family = row.claim?.request.destination.family ?? 6;
    end.dialing = new Dialing(addresses, family, {
      start: (to) => this.#start(row, end, { ...plan, to }),
      giveUp: (socket) => {
        row.sockets.delete(socket);
        this.#carrier.abort(row.carrier, socket);
      },
    });
    end.dialing.attempt(this.#now());
    if (end.dialing.isIdle) this.#fail(row, end, 'limit', MEANINGS.limit);
  }

  #start(row: ConnRow, end: EndRow, dial: ConnDial): number | undefined {
    if (!this.#hasRoom(row)) return undefined;
    this.#lastSocket = (this.#lastSocket % UINT32_MAX) + 1;
    row.sockets.set(this.#lastSocket, end);
    const leftMs = end.deadline === NEVER ? 0 : Math.ceil((end.deadline - this.#now()) / US_PER_MS);
    this.#carrier.dial(row.carrier, this.#lastSocket, { ...dial, timeoutMs: leftMs });
    return this.#lastSocket;
  }

  /** For one more attempt, of which a socket may make several at once. */
  #hasRoom(row: ConnRow): boolean {
    const { socketsPerFlow, socketsOutside } = row.script.limits;
    if (row.claim !== undefined) return row.sockets.size < socketsPerFlow;
    return row.sockets.size < row.ends.size || this.#errands.socketsOf(row.script) < socketsOutside;
  }

  #fail(row: ConnRow, end: EndRow, code: string, message: string): void {
    this.#settle(end);
    row.ends.delete(end.id);
    const text = JSON.stringify({ code, message });
    this.#tell(row, { event: ConnEvent.FAILED, end: end.id, text });
  }

  #settle(end: EndRow): void {
    end.deadline = NEVER;
    end.dialing = undefined;
    this.#dialing.delete(end);
  }
}

type DialPlan = Omit<ConnDial, 'to'>;

/** @returns in words what is wrong with the options */
function parseDial(fields: DialFields, hasClient: boolean): DialPlan | string {
  const { into = 'direct', bind, mark, proxyProtocol, connectTimeoutMs = 0, via } = fields;
  if (into !== 'direct' && into !== 'tun') return 'into is "direct" or "tun"';
  if (into === 'tun' && !hasClient) return 'into "tun" needs a connection that was claimed';
  if (proxyProtocol !== undefined && !hasClient) return 'proxyProtocol needs a client to tell of';
  if (!isUint32(connectTimeoutMs)) return `connectTimeoutMs is from 0 to ${UINT32_MAX}`;
  if (bind !== undefined && (typeof bind !== 'string' || !(isIPv4(bind) || isPlainIPv6(bind)))) {
    return 'bind is an address without a port';
  }
  if (mark !== undefined && !isUint32(mark)) return `mark is from 0 to ${UINT32_MAX}`;
  if (mark !== undefined && into === 'tun') return 'mark is of a socket, and not of "tun"';
  if (proxyProtocol !== undefined && proxyProtocol !== 1 && proxyProtocol !== 2) {
    return 'proxyProtocol is 1 or 2';
  }
  return {
    into,
    timeoutMs: connectTimeoutMs,
    ...(bind === undefined ? {} : { bind }),
    ...(mark === undefined ? {} : { mark }),
    ...(typeof via === 'string' ? { via } : {}),
    ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
  };
}

/** @returns in words what is wrong with the options */
function parseSecure({ sni, alpn = [] }: DialFields): NonNullable<EndRow['secure']> | string {
  if (typeof sni !== 'string' || !SERVER_NAME.test(sni)) {
    return 'sni is the name of a server, or its address';
  }
  const isList = Array.isArray(alpn) && alpn.length <= ALPN_MAX;
  const isProtocol = (one: unknown) =>
    typeof one === 'string' && Buffer.byteLength(one) > 0 && Buffer.byteLength(one) <= 255;
  if (!isList || !alpn.every(isProtocol)) return 'alpn is a list of names like "h2"';
  return { name: sni.replace(/\.$/, ''), alpn: alpn as string[] };
}

/** A name of RFC 1035 §2.3.4, or an address. */
const SERVER_NAME = /^[\w.:-]{1,254}$/;
/** More than anybody speaks. */
const ALPN_MAX = 16;

const isUint32 = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= UINT32_MAX;

const isPlainIPv6 = (text: string): boolean => isIPv6(text) && !text.includes('%');

/** A script knows the codes of `SocketError`, and no other. */
const codeOf = (why: DialFailure): string => (why === 'failed' ? 'unreachable' : why);
