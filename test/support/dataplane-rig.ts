/**
 * The data plane without a device and without processes: the real stack, flows, splice, dialer and
 * epoll over loopback sockets. A scripted peer is the client; a test is the loop, and says in which
 * order frames and socket events are handled within one turn.
 */

import { monotonicNow } from '../../src/ffi/clock.ts';
import { Epoll } from '../../src/ffi/epoll.ts';
import { SharedMemory } from '../../src/ffi/memory.ts';
import { closeFd, socketPair } from '../../src/ffi/sockets.ts';
import { parseConfig } from '../../src/gateway/config/load.ts';
import { toLiveConfig } from '../../src/gateway/config/plane.ts';
import {
  ClaimSockets,
  FIRST_CLAIM_TOKEN,
} from '../../src/gateway/dataplane/claims/claim-sockets.ts';
import { Claims } from '../../src/gateway/dataplane/claims/claims.ts';
import { ConnChannel } from '../../src/gateway/dataplane/claims/conn-channel.ts';
import { Relay } from '../../src/gateway/dataplane/claims/relay.ts';
import type { Decisions } from '../../src/gateway/dataplane/decisions.ts';
import { Flows } from '../../src/gateway/dataplane/flows.ts';
import { Dialer } from '../../src/gateway/dataplane/forward/dialer.ts';
import { Orphans } from '../../src/gateway/dataplane/forward/orphans.ts';
import { Splice } from '../../src/gateway/dataplane/forward/splice.ts';
import {
  FIRST_FLOW_TOKEN,
  STALE_TOKEN,
  UpstreamTable,
} from '../../src/gateway/dataplane/forward/upstream-table.ts';
import { Token } from '../../src/gateway/dataplane/loop.ts';
import { LoopGuard } from '../../src/gateway/dataplane/loop-guard.ts';
import type { Reports } from '../../src/gateway/dataplane/reports.ts';
import { Sessions } from '../../src/gateway/dataplane/sessions/sessions.ts';
import { Tarpit } from '../../src/gateway/dataplane/tarpit.ts';
import { Upstreams } from '../../src/gateway/dataplane/upstream/upstreams.ts';
import { Welcome } from '../../src/gateway/dataplane/welcome.ts';
import type { FromDataPlane, LiveConfig } from '../../src/gateway/messages/control.ts';
import { DecisionAnswer, HandshakeCode } from '../../src/gateway/messages/decision.ts';
import type { UpstreamReport } from '../../src/gateway/messages/upstreams.ts';
import { COUNTERS_BYTES, Counters } from '../../src/stack/counters.ts';
import { type FlowSnapshot, readFlowRow, VerdictCode } from '../../src/stack/flow-row.ts';
import { stateBytes } from '../../src/stack/layout.ts';
import { Stack } from '../../src/stack/stack.ts';
import { millis } from '../../src/stack/time.ts';
import { REJECT_WITHS, type RejectWith } from '../../src/stack/verdict.ts';
import { writeAddress } from '../../src/stack/wire/ip-address.ts';
import { ConnHost } from './conn-host.ts';
import { FULL_OFFLOAD, MemoryDevice, type OutgoingFrame } from './memory-device.ts';
import { type PeerOptions, ScriptedPeer } from './scripted-peer.ts';
import { LIMITS } from './tcp-rig.ts';
import { trackSettings } from './tracking.ts';

/** Upstreams are numbered from 1, in the order of the configuration. */
function liveOf(config = 'timeouts: {keepalive: 0s}', generation = 1): LiveConfig {
  const live = toLiveConfig(parseConfig(config, 'rig'), generation);
  const upstreams = live.upstreams.map((upstream, index) => ({ ...upstream, id: index + 1 }));
  return { ...live, upstreams };
}

const SYN = 'S 0:0(0) win 65535 <mss 1460,sackOK,nop,wscale 7>';

export interface DataPlaneOptions {
  /** Port of the upstream. */
  readonly port: number;
  /** Address of the upstream. */
  readonly ip?: string;
  readonly acceptFirst?: boolean;
  readonly maxBytes?: number;
  /** As DecisionAnswer has it. */
  readonly congestion?: number;
  /** YAML. */
  readonly config?: string;
  /** Upstream of the verdict; `port` 0 is the original destination then. */
  readonly via?: string;
  /** Flows that may be claimed, and sockets of the kernel for them. */
  readonly claims?: number;
  readonly sockets?: number;
  /** Bytes of slabs. */
  readonly slabBytes?: number;
  /** Name of the gateway's device, as the loop guard knows it; absent: there is none. */
  readonly device?: string;
}

/** Of the first script host. */
const EPOCH = 1;
/** The data plane's half of an epoch. */
const BOOT = 0xbeef;

export class DataPlaneRig {
  readonly stack: Stack;
  readonly peer: ScriptedPeer;
  /** Why flows ended, oldest first. */
  readonly ended: string[] = [];
  /** Verdicts that stand in the rows of flows that ended, and what they moved. */
  readonly endedRows: FlowSnapshot[] = [];
  /** Requests whose answer claimed a flow that could not be claimed. */
  readonly refusedClaims: number[] = [];
  /** What the supervisor would be told. */
  readonly told: FromDataPlane[] = [];
  /** The script host's end of what is said about claimed connections. */
  readonly host: ConnHost;
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly #memory: SharedMemory;
  readonly #device: MemoryDevice;
  readonly #epoll = new Epoll();
  readonly #upstreams: UpstreamTable;
  readonly #dialer: Dialer;
  readonly #vias: Upstreams;
  readonly #splice: Splice;
  readonly orphans: Orphans;
  readonly #flows: Flows;
  readonly #claims: Claims;
  readonly #relay: Relay;
  readonly tarpit: Tarpit;
  readonly #connFds: readonly [number, number];
  readonly #options: DataPlaneOptions;
  #row = -1;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    const limits = { ...LIMITS, slabBytes: options.slabBytes ?? LIMITS.slabBytes };
    this.#memory = SharedMemory.create('rig', stateBytes(limits));
    this.#device = new MemoryDevice(this.#memory.buffer, { ...FULL_OFFLOAD });
    const { counters } = this;
    this.#flows = new Flows(liveOf(options.config), { state: 'up', epoch: EPOCH });
    this.stack = new Stack({
      memory: this.#memory.buffer,
      limits,
      counters,
      capabilities: this.#device.capabilities,
      sink: this.#device,
      owner: this.#flows,
      settings: { slabBytesPerFlow: LIMITS.slabBytesPerFlow, keepaliveUs: 0 },
      tracking: trackSettings(),
      onLeftover: () => {},
      secrets: Uint32Array.from({ length: 12 }, (_, i) => i + 1),
      randomize: (into) => into.fill(9),
      now: monotonicNow(),
    });
    const upstreams = new UpstreamTable(this.stack);
    this.#upstreams = upstreams;
    this.#splice = new Splice(this.stack, upstreams, this.#memory.address, this.counters);
    const address = this.#memory.address;
    this.orphans = new Orphans(this.stack, upstreams, this.#epoll, counters, address);
    const guard = new LoopGuard(options.device ?? 'cvt-none0');
    const vias = new Upstreams(this.#reports());
    this.#vias = vias;
    const parts = {
      ...{ stack: this.stack, upstreams, vias, splice: this.#splice },
      ...{ epoll: this.#epoll, counters, guard, base: address },
    };
    this.#dialer = new Dialer(parts);
    const bounds = { limit: 32, perSource: 16, secrets: Uint32Array.of(1, 2, 3) };
    const sessions = new Sessions(parts, { ...bounds, report: () => {} });
    this.#relay = new Relay(this.stack);
    this.tarpit = new Tarpit(this.stack, counters);
    this.#connFds = socketPair('seqpacket');
    this.host = new ConnHost(this.#connFds[1]);
    this.#claims = new Claims(
      {
        ...parts,
        relay: this.#relay,
        channel: new ConnChannel(this.#connFds[0], this.#epoll, Token.CONNS, counters),
        sockets: new ClaimSockets(parts, options.sockets ?? 32),
      },
      options.claims ?? 32,
      BOOT,
    );
    this.#flows.attach({
      answers: { setHost: () => {} },
      claims: this.#claims,
      relay: this.#relay,
      tarpit: this.tarpit,
      sessions,
      stack: this.stack,
      upstreams,
      splice: this.#splice,
      orphans: this.orphans,
      dialer: this.#dialer,
      vias,
      decisions: this.#decisions(),
      welcome: new Welcome(this.stack, counters),
      reports: this.#reports(),
      counters,
    });
    this.#claims.setHost({ state: 'up', epoch: EPOCH }, monotonicNow());
    this.peer = this.newPeer();
  }

  setClaimsLimit(claims: number): void {
    this.#claims.setLimit(claims);
  }

  /** Rows in use. */
  get flows(): number {
    return this.stack.flows.used;
  }

  /** CongestionControl of the connection. */
  get congestion(): number {
    return this.stack.tcb(this.#row).congestion;
  }

  /** Sends the SYN and lets the host answer so, without options. */
  answers(verdict: number): void {
    this.peer.sends(SYN);
    const answer = new DecisionAnswer();
    answer.verdict = verdict;
    this.#flows.onAnswer(this.#row, answer, monotonicNow());
  }

  /** The time for the verdict about the flow that was asked about last is over. */
  expireDecision(): void {
    this.#flows.onDeadline(this.#row, monotonicNow());
  }

  /** Sends the SYN of a client and lets the script answer: claim. @returns its row */
  claim(peer = this.peer, requestId = 1, afterFailure = false): number {
    peer.sends(SYN);
    const answer = new DecisionAnswer();
    answer.verdict = VerdictCode.CLAIM;
    answer.afterFailure = afterFailure;
    answer.requestId = requestId;
    answer.generation = 7;
    answer.script = 2;
    this.#flows.onAnswer(this.#row, answer, monotonicNow());
    return this.#row;
  }

  /** A connection that a script has claimed, established. */
  open(peer = this.peer, requestId = 1): void {
    this.claim(peer, requestId);
    peer.expects('S. 0:0(0) ack 1');
    peer.sends('. 1:1(0) ack 1 win 512');
    this.turn();
  }

  /** The script host is another, or none. */
  setHost(epoch: number | undefined): void {
    const state = epoch === undefined ? 'down' : 'up';
    this.#flows.setScripts({ state, epoch: epoch ?? 0 }, monotonicNow());
  }

  /** The flow in a row, as the API shows it. */
  row(row: number): FlowSnapshot | undefined {
    return readFlowRow(this.stack.arena.view, this.stack.rowAt(row));
  }

  /** How long the loop would sleep, in milliseconds. */
  get patienceMs(): number {
    const patience = [this.#splice, this.#claims, this.#relay].map((part) => part.patienceMs);
    return Math.min(...patience);
  }

  /** Frames that nobody has read. */
  get frames(): readonly OutgoingFrame[] {
    return this.#device.frames;
  }

  /** Takes the frames that nobody has read. */
  takeFrames(): readonly OutgoingFrame[] {
    return this.#device.frames.splice(0);
  }

  /** A new configuration, as after a reload. */
  configure(config: string): void {
    this.#flows.configure(liveOf(config, 2));
  }

  /** An upstream by name, as it is told of. */
  upstream(name: string): UpstreamReport {
    const upstream = this.#vias.find(name);
    if (upstream === undefined) throw new Error(`there is no upstream ${name}`);
    return upstream.report();
  }

  /** Sends the SYN and lets the script answer: redirect, to the listener that `via` names. */
  redirect(peer = this.peer): number {
    peer.sends(SYN);
    const answer = new DecisionAnswer();
    answer.verdict = VerdictCode.REDIRECT;
    this.#flows.onAnswer(this.#row, answer, monotonicNow());
    return this.#row;
  }

  /** Sends the SYN and lets the script answer: reject, with `how`. @returns the row of the flow */
  reject(how: RejectWith, peer = this.peer): number {
    peer.sends(SYN);
    const answer = new DecisionAnswer();
    answer.verdict = VerdictCode.REJECT;
    answer.detail = REJECT_WITHS.indexOf(how);
    this.#flows.onAnswer(this.#row, answer, monotonicNow());
    return this.#row;
  }

  /** Sends the SYN and lets the script answer: forward. @returns the row of the flow */
  dial(peer = this.peer): number {
    peer.sends(SYN);
    const answer = new DecisionAnswer();
    answer.verdict = VerdictCode.FORWARD;
    answer.detail = HandshakeCode[this.#options.acceptFirst ? 'accept-first' : 'dial-first'];
    if (this.#options.port !== 0) {
      answer.toFamily = (this.#options.ip ?? '127.0.0.1').includes(':') ? 6 : 4;
      answer.toPort = this.#options.port;
    }
    answer.textLength = this.#options.via?.length ?? 0;
    answer.maxBytes = this.#options.maxBytes ?? 0;
    answer.congestion = this.#options.congestion ?? 0;
    this.#flows.onAnswer(this.#row, answer, monotonicNow());
    return this.#row;
  }

  /** A connection, established with its upstream. */
  async connect(): Promise<void> {
    this.dial();
    await this.until(() => this.#device.frames.length > 0);
    this.peer.expects('S. 0:0(0) ack 1');
    this.peer.sends('. 1:1(0) ack 1 win 512');
    this.turn();
  }

  /**
   * One turn of the loop.
   *
   * @param frames  sends what the device brings in this turn, before the sockets' events
   */
  turn(frames?: () => void): void {
    const count = this.#epoll.wait(5);
    const now = monotonicNow();
    frames?.();
    for (let i = 0; i < count; i++) {
      const token = this.#epoll.token(i);
      if (token === Token.CONNS) this.#claims.onChannelEvent(now);
      if (token >= FIRST_CLAIM_TOKEN) {
        this.#claims.onSocketEvent(token, this.#epoll.events(i), now);
        continue;
      }
      const row = token < FIRST_FLOW_TOKEN ? STALE_TOKEN : this.#upstreams.rowOf(token);
      if (row !== STALE_TOKEN) this.#dialer.onEvent(row, this.#epoll.events(i), now);
    }
    this.#splice.runListed(now);
    this.orphans.run(now);
    this.#claims.run(now);
    this.#relay.run(now);
    this.stack.expire(now);
    this.stack.flush(now);
    this.#vias.report(now);
  }

  /** Turns the loop, and Bun's, until `isDone`; a second at most. */
  async until(isDone: () => boolean): Promise<void> {
    for (let i = 0; i < 100 && !isDone(); i++) {
      this.turn();
      await Bun.sleep(5);
    }
    if (!isDone()) throw new Error('it did not come to pass within a second');
  }

  [Symbol.dispose](): void {
    for (const fd of this.#connFds) closeFd(fd);
    this.#epoll[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  /** A script host that is asked and answers when the test says so. */
  #decisions(): Decisions {
    const double: Pick<
      Decisions,
      'ask' | 'abandon' | 'abandonAll' | 'copyTarget' | 'bindAddress' | 'text' | 'refuseClaim'
    > = {
      refuseClaim: ({ requestId }) => this.refusedClaims.push(requestId),
      ask: (row) => {
        this.#row = row;
        return true;
      },
      abandon: () => {},
      abandonAll: () => {},
      copyTarget: (_answer, toAt) => {
        const { view } = this.stack.arena;
        for (let i = 0; i < 16; i++) view.setUint8(toAt + i, 0);
        writeAddress(this.#options.ip ?? '127.0.0.1', view, toAt);
      },
      bindAddress: () => '',
      text: () => this.#options.via ?? '',
    };
    return double as Decisions;
  }

  #reports(): Reports {
    const double: Pick<Reports, 'flow' | 'message' | 'isBehind'> = {
      isBehind: false,
      flow: (_bytes, rowAt) => {
        const flow = readFlowRow(this.stack.arena.view, rowAt);
        if (flow === undefined) return;
        this.ended.push(flow.closeReason);
        this.endedRows.push(flow);
      },
      message: (message) => this.told.push(message) > 0,
    };
    return double as Reports;
  }

  /** A client, or with other ends somebody behind the device. */
  newPeer(options: Partial<PeerOptions> = {}): ScriptedPeer {
    const frames: OutgoingFrame[] = this.#device.frames;
    const link = {
      clock: {
        get now() {
          return monotonicNow();
        },
        get ms() {
          return Math.floor(monotonicNow() / millis(1));
        },
        advance: () => {},
      },
      frames,
      deliver: (packet: Uint8Array, gsoSize: number) => {
        const frame = this.#device.incoming(packet, gsoSize);
        this.stack.arena.bytes.set(frame, this.stack.frameAt);
        this.stack.ingest(this.stack.frameAt, frame.length, monotonicNow());
      },
    };
    return new ScriptedPeer(link as unknown as ConstructorParameters<typeof ScriptedPeer>[0], {
      address: '198.18.0.1',
      port: 40_000,
      serverAddress: '198.18.0.80',
      serverPort: 443,
      iss: 1000,
      timestamps: false,
      ...options,
    });
  }
}
