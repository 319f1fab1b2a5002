/**
 * Asks a new bundle about the flows that live: which of them would it decide otherwise? They are
 * told of, or ended. It happens aside and at a rate, so that neither new flows nor the scripts'
 * state notice; a flow about which the new bundle fails is left alone.
 */
import type { FlowSnapshot } from '../../../stack/flow-row.ts';
import { formatEndpoint } from '../../../stack/verdict.ts';
import { parseFilter } from '../../flow-filter/parse.ts';
import type { FlowRef } from '../../messages/control.ts';
import type { AskedVerdict, RecordedFlow } from '../../messages/script-control.ts';
import type { LiveFlows, Page } from '../flows/live-flows.ts';
import type { Logger } from '../log/logger.ts';
import type { Resolver } from '../resolver.ts';
import { Aside, type AsideOptions } from './aside.ts';
import type { Generation } from './generation.ts';
import { describeFlow, type VerdictDifference } from './replay.ts';

export const REVALIDATE_MODES = ['keep', 'report', 'close'] as const;
export type RevalidateMode = (typeof REVALIDATE_MODES)[number];

/** 500 flows a second. */
const BATCH = 100;
const BATCH_PERIOD_MS = 200;
const SHOWN_MAX = 50;

interface LiveRow {
  readonly flow: FlowSnapshot;
  /** By which its client knows the destination. */
  readonly seenName: string | undefined;
  readonly row: number;
}

const ofScripts = parseFilter('decider = script');

export interface RevalidationPorts {
  readonly log: Logger;
  readonly live: LiveFlows;
  readonly resolver: Pick<Resolver, 'resolve'>;
  /** Ends flows; settles with how many of them still lived. */
  readonly kill: (flows: readonly FlowRef[]) => Promise<number>;
  readonly asideOptions: () => AsideOptions;
  readonly periodMs?: number;
}

export class Revalidation {
  readonly mode: Exclude<RevalidateMode, 'keep'>;
  asked = 0;
  different = 0;
  failed = 0;
  closed = 0;
  /** Why not all flows were asked about. */
  problem: string | undefined;
  isOver = false;
  /** The first of the different ones. */
  readonly differences: VerdictDifference[] = [];
  readonly #ports: RevalidationPorts;
  readonly #generation: Generation;
  readonly #names = new Map<string, readonly string[]>();

  constructor(
    ports: RevalidationPorts,
    generation: Generation,
    mode: Exclude<RevalidateMode, 'keep'>,
  ) {
    this.#ports = ports;
    this.#generation = generation;
    this.mode = mode;
  }

  /** Asks about all flows that older bundles decided. Never rejects. */
  async run(): Promise<void> {
    try {
      const aside = await Aside.load(this.#generation, this.#ports.asideOptions());
      if (!(aside instanceof Aside)) this.problem = 'the bundle was not up in time';
      else await this.#askAll(aside).finally(() => aside.close());
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
    this.isOver = true;
    const { mode, asked, different, failed, closed, problem } = this;
    const counts = { mode, asked, different, failed, closed, problem };
    this.#ports.log.info({ generation: this.#generation.number, ...counts }, 'flows-revalidated');
  }

  async #askAll(aside: Aside): Promise<void> {
    const { live, periodMs = BATCH_PERIOD_MS } = this.#ports;
    let from: number | undefined = 0;
    while (from !== undefined) {
      const page: Page<LiveRow> = live.page(
        { filter: ofScripts, from, limit: BATCH },
        (flow, { noteOf }, row) => ({ flow, row, seenName: noteOf?.(flow.serial)?.seenName }),
      );
      const old = page.items.filter(({ flow }) => flow.generation < this.#generation.number);
      if (old.length > 0 && !(await this.#ask(aside, old))) return;
      from = page.next;
      if (from !== undefined) await Bun.sleep(periodMs);
    }
  }

  async #ask(aside: Aside, rows: readonly LiveRow[]): Promise<boolean> {
    const recorded = rows.map(toRecorded);
    const verdicts = await aside.ask(recorded);
    if (verdicts === undefined) {
      this.problem = 'the scripts did not answer in time';
      return false;
    }
    const others: FlowRef[] = [];
    for (const [index, { flow: live, row }] of rows.entries()) {
      const verdict = verdicts[index];
      const flow = recorded[index];
      if (verdict === undefined || flow === undefined) continue;
      this.asked++;
      if (verdict.kind === 'failed') this.failed++;
      else if (!(await this.#isSame(live, verdict))) {
        this.#note({ flow: describeFlow({ flow }), before: describe(live), after: verdict.text });
        others.push({ row, serial: live.serial });
      }
    }
    if (this.mode === 'close' && others.length > 0) this.closed += await this.#ports.kill(others);
    return true;
  }

  #note(difference: VerdictDifference): void {
    this.different++;
    if (this.differences.length >= SHOWN_MAX) return;
    this.differences.push(difference);
    this.#ports.log.info({ generation: this.#generation.number, ...difference }, 'flow-differs');
  }

  /** The same kind of verdict, and the same upstream where the flow has one. */
  async #isSame(flow: FlowSnapshot, { kind, to }: AskedVerdict): Promise<boolean> {
    if (kind !== flow.verdict) return false;
    if ((kind !== 'forward' && kind !== 'nat') || flow.upstream === undefined) return true;
    if (to === undefined) return formatEndpoint(flow.upstream) === formatEndpoint(flow.destination);
    if (to === formatEndpoint(flow.upstream)) return true;
    const at = to.lastIndexOf(':');
    if (Number(to.slice(at + 1)) !== flow.upstream.port) return false;
    return (await this.#resolve(to.slice(0, at))).includes(flow.upstream.ip);
  }

  async #resolve(name: string): Promise<readonly string[]> {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const { addresses } = await this.#ports.resolver.resolve(name.replace(/^\[|\]$/g, ''));
    this.#names.set(name, addresses);
    return addresses;
  }
}

const describe = ({ verdict, upstream }: FlowSnapshot): string =>
  upstream === undefined ? verdict : `${verdict} ${formatEndpoint(upstream)}`;

/** A row keeps no options of the SYN: it looks as if it had none. */
function toRecorded({ flow, seenName }: LiveRow): RecordedFlow {
  const { protocol, source, destination } = flow;
  const known = protocol === 'udp' || protocol === 'icmp' ? protocol : 'tcp';
  const syn = { mss: destination.family === 6 ? 1220 : 536, windowScale: 0, ttl: 64, ecn: false };
  return {
    ...{ protocol: known, source, destination },
    ...(known === 'tcp' ? { syn } : {}),
    ...(seenName === undefined ? {} : { dnsName: seenName }),
  };
}
