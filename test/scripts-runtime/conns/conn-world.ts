/** A script with connections, and the test at the other end of each. */
import type { ScriptBundle } from '../../../src/scripts-runtime/bundle/bundle.ts';
import { CLIENT_END } from '../../../src/scripts-runtime/conns/ports.ts';
import { DEFAULT_SCRIPT_LIMITS, type ScriptLimits } from '../../../src/scripts-runtime/limits.ts';
import { describe, ScriptWorld } from '../script-world.ts';
import { FakeCarrier, type FakeEnd } from './fake-carrier.ts';

export interface ConnOptions {
  readonly allow?: readonly string[] | undefined;
  readonly closed?: readonly string[];
  readonly limits?: Partial<ScriptLimits>;
  readonly generation?: number;
  readonly drainMs?: number;
}

/** A script that claims all, around the body of `connect(conn, env, ctx)`. */
export const claiming = (body: string, head = ''): string => `
import { claim, connect, SocketError } from 'culvert';
${head}
const text = (bytes: any) => bytes && String.fromCharCode(...bytes);
export default {
  flow() { return claim(); },
  async connect(conn: any, env: any, ctx: any) {
    const say = (...all: any[]) => ctx.log.info(all.map(String).join(' '));
    const fails = async (what: any) => {
      try { say('no error', JSON.stringify(await what())); }
      catch (e: any) { say(e.name, e.code ?? '-', e.message); }
    };
${body}
  },
};
`;

export class ConnWorld {
  readonly carrier = new FakeCarrier();
  readonly world: ScriptWorld;
  /** Names of the events whose `scheduled` is over. */
  readonly ended: string[] = [];
  #flow = 0;

  constructor(isRealTime = false) {
    this.world = new ScriptWorld(isRealTime, this.carrier);
    this.carrier.events = this.world.host.conns;
    this.carrier.now = () => this.world.now / 1000;
  }

  get host() {
    return this.world.host;
  }

  get lines(): string[] {
    return this.world.lines;
  }

  /** A world with one script, allowed everything unless told otherwise. */
  static async of(source: string, options: ConnOptions = {}, isRealTime = false) {
    const made = new ConnWorld(isRealTime);
    await made.load(source, options);
    return made;
  }

  async load(source: string, options: ConnOptions = {}): Promise<void> {
    const { generation = 1, limits, closed, drainMs } = options;
    // `undefined` is no list at all.
    const allow = 'allow' in options ? options.allow : ['*:*'];
    const bundle: ScriptBundle = {
      generation,
      scripts: [{ name: 'a', file: 'a.ts', source, ...(allow && { allow }) }],
      limits: { ...DEFAULT_SCRIPT_LIMITS, ...limits },
      vars: {},
      kv: [],
      iface: 'culvert0',
      ...(closed === undefined ? {} : { closed }),
    };
    const issues = await this.host.load(bundle, { drainMs });
    if (issues.length > 0) throw new Error(JSON.stringify(issues));
  }

  /** Calls `scheduled` of the script. */
  schedule(name = 'x'): void {
    this.host.scriptCalled('a')?.hooks.scheduled({ name, at: 0 }, () => {
      this.ended.push(name);
    });
    this.run();
  }

  /** A flow that is claimed and open; the carrier's number of it. */
  connect(ip = '192.0.2.1', port = 443): number {
    this.#flow++;
    const id = this.world.ask(ip, port, { flow: this.#flow });
    const answer = describe(this.world.answers.get(id));
    if (!answer.startsWith('claim')) throw new Error(`the flow was not claimed: ${answer}`);
    const conn = this.carrier.open(id);
    this.run();
    return conn;
  }

  /** Until nobody has anything to say any more, without time going by. */
  run(): void {
    for (let i = 0; i < 100_000; i++) {
      const wasTold = this.carrier.deliver();
      const isDue = this.host.nextDeadline() <= this.world.now;
      if (!wasTold && !isDue) return;
      this.host.expire(this.world.now);
    }
    throw new Error('they never stop');
  }

  advance(ms: number): void {
    this.world.now += ms * 1000;
    this.run();
  }

  client(conn: number): FakeEnd {
    return this.carrier.end(conn, CLIENT_END);
  }

  send(conn: number, text: string, end = CLIENT_END): void {
    this.carrier.send(conn, end, text);
    this.run();
  }

  sendFin(conn: number, end = CLIENT_END): void {
    this.carrier.sendFin(conn, end);
    this.run();
  }

  finish(conn: number, reason = 'eof', end = CLIENT_END, up = 0, down = 0): void {
    this.carrier.finish(conn, end, reason, up, down);
    this.run();
  }

  /** Answers the last dial, or that at a position. */
  dialed(result: Parameters<FakeCarrier['answer']>[1] = 'ok', at = -1): number {
    const socket = this.carrier.answer(this.carrier.dials.at(at), result);
    this.run();
    return socket;
  }
}
