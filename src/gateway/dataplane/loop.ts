/**
 * The loop of the data plane: wait, read, decide, write, again. Start reading here.
 *
 *   epoll_wait ─┬─ device ......... up to a batch of frames → stack.ingest
 *               ├─ script host .... answers → flows.onAnswer; claimed connections → claims
 *               ├─ supervisor ..... configuration, kill, drain
 *               └─ upstreams ...... connected, readable, writable → dialer, splice, sessions
 *   then timers, owed acknowledgments, reports
 *
 * It is synchronous: no promise, no event loop, no clock but the one read once per turn. Everything
 * that it waits for is a file descriptor or the stack's next deadline.
 */

import { monotonicNow } from '../../ffi/clock.ts';
import { type Epoll, EpollEvent } from '../../ffi/epoll.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import { Carrier, FlowField } from '../../stack/flow-row.ts';
import type { Stack } from '../../stack/stack.ts';
import type { Instant } from '../../stack/time.ts';
import { DataPlaneFd, type ToDataPlane } from '../messages/control.ts';
import type { CaptureTap } from './capture/capture-tap.ts';
import { FIRST_CLAIM_TOKEN } from './claims/claim-sockets.ts';
import type { Claims } from './claims/claims.ts';
import type { ConnChannel } from './claims/conn-channel.ts';
import type { Relay } from './claims/relay.ts';
import type { ControlInput } from './control-input.ts';
import type { Decisions } from './decisions.ts';
import type { DeviceSwap } from './device/device-swap.ts';
import type { TunInput } from './device/tun-input.ts';
import type { TunPort } from './device/tun-port.ts';
import { Drain } from './drain.ts';
import type { Flows } from './flows.ts';
import type { Dialer } from './forward/dialer.ts';
import type { Orphans } from './forward/orphans.ts';
import type { Splice } from './forward/splice.ts';
import { FIRST_FLOW_TOKEN, STALE_TOKEN, type UpstreamTable } from './forward/upstream-table.ts';
import { HOST_SOCKET_EVENTS, type HostSockets } from './host-sockets.ts';
import { inspectFlows } from './inspect-flows.ts';
import { killFlows } from './kill-flows.ts';
import type { PeerSockets } from './peer-sockets.ts';
import type { Reports } from './reports.ts';
import type { Sessions } from './sessions/sessions.ts';
import type { Tarpit } from './tarpit.ts';
import type { Upstreams } from './upstream/upstreams.ts';

/** What the loop itself waits for; flows and sockets of claims have greater ones. */
export const Token = {
  ...{ DEVICE: 0, CONTROL: 1, SCRIPTS: 2, CONNS: 3, PEERS: 4 },
  /** The device before the present one. */
  OLD_DEVICE: 5,
} as const;
const STDIN = 0;

/** A second in all for the supervisor to take the last reports. */
const LAST_FLUSHES = 100;
const LAST_FLUSH_PAUSE_MS = 10;
/** The loop turns at least this often: counters and the device's health stay fresh. */
const MAX_WAIT_MS = 1000;

export interface LoopParts {
  readonly epoll: Epoll;
  readonly stack: Stack;
  readonly device: TunPort;
  readonly input: TunInput;
  readonly swap: DeviceSwap;
  readonly flows: Flows;
  readonly dialer: Dialer;
  readonly vias: Upstreams;
  readonly splice: Splice;
  readonly orphans: Orphans;
  readonly sessions: Sessions;
  readonly claims: Claims;
  readonly relay: Relay;
  readonly tarpit: Tarpit;
  readonly upstreams: UpstreamTable;
  readonly decisions: Decisions;
  readonly conns: ConnChannel;
  readonly hostSockets: HostSockets;
  readonly control: ControlInput;
  readonly capture: CaptureTap;
  readonly reports: Reports;
  readonly counters: Counters;
  /** Of a device with several queues. */
  readonly peers: PeerSockets | undefined;
}

export class Loop {
  readonly #parts: LoopParts;
  readonly #drain: Drain;
  #isRunningDrained = false;
  #isRunning = true;

  constructor(parts: LoopParts) {
    this.#parts = parts;
    this.#drain = new Drain(parts.stack, parts.orphans);
    const { epoll } = parts;
    parts.device.watch(epoll, Token.DEVICE);
    epoll.add(STDIN, EpollEvent.IN, Token.CONTROL);
    this.#watchDecisions();
    parts.peers?.watch(epoll, Token.PEERS);
  }

  /** Runs until the supervisor is gone, or everything is drained. */
  run(): void {
    while (this.#isRunning) this.#turn();
    const { orphans, reports } = this.#parts;
    orphans.endAll();
    // The supervisor may be behind; what ended is still reported to it.
    for (let i = 0; i < LAST_FLUSHES && reports.flushAll() && reports.isBehind; i++) {
      Bun.sleepSync(LAST_FLUSH_PAUSE_MS);
    }
  }

  #turn(): void {
    const { epoll, stack, device, vias, splice, orphans, sessions, claims } = this.#parts;
    const { relay, control, reports, counters, hostSockets } = this.#parts;
    const count = epoll.wait(this.#waitMs());
    const now = monotonicNow();
    counters.add(Counter.LOOP_TURNS);
    // A batch of frames may take milliseconds, and each answer ends the wait of a flow.
    for (let i = 0; i < count; i++) {
      if (epoll.token(i) === Token.SCRIPTS) this.#takeAnswers(epoll.events(i), now);
    }
    let hasControl = false;
    for (let i = 0; i < count; i++) {
      const token = epoll.token(i);
      if (token >= FIRST_CLAIM_TOKEN) claims.onSocketEvent(token, epoll.events(i), now);
      else if (token >= FIRST_FLOW_TOKEN) this.#upstreamEvent(token, epoll.events(i), now);
      else if (token === Token.CONTROL) hasControl = true;
      else if (token !== Token.SCRIPTS) this.#ownEvent(token, epoll.events(i), now);
    }
    // Last: of a socket that it replaces no event is left.
    if (hasControl && !control.read((message) => this.onMessage(message, now))) {
      this.#isRunning = false;
    }
    splice.runListed(now);
    orphans.run(now);
    claims.run(now);
    relay.run(now);
    sessions.finishTurn(now);
    stack.expire(now);
    stack.flush(now);
    device.check(now);
    this.#checkDrain(now);
    vias.report(now);
    hostSockets.tell();
    if (!reports.flush(now)) this.#isRunning = false;
  }

  #waitMs(): number {
    const { stack, splice, orphans, sessions, claims, relay, reports } = this.#parts;
    const patience = Math.min(
      splice.patienceMs,
      sessions.patienceMs,
      claims.patienceMs,
      relay.patienceMs,
      MAX_WAIT_MS,
    );
    if (patience === 0) return 0;
    const looks = Math.min(claims.nextLook, orphans.nextLook, reports.dueAt);
    const untilTimer = Math.ceil((Math.min(stack.pollAt(), looks) - monotonicNow()) / 1000);
    return Math.max(0, Math.min(patience, untilTimer));
  }

  #upstreamEvent(token: number, events: number, now: Instant): void {
    const { stack, upstreams, dialer, sessions } = this.#parts;
    const row = upstreams.rowOf(token);
    if (row === STALE_TOKEN) return;
    const carrier = stack.arena.view.getUint8(stack.rowAt(row) + FlowField.CARRIER);
    if (carrier === Carrier.SESSION) sessions.onEvent(row, events, now);
    else dialer.onEvent(row, events, now);
  }

  #takeAnswers(events: number, now: Instant): void {
    const { decisions, hostSockets, flows } = this.#parts;
    decisions.read((row, answer) => flows.onAnswer(row, answer, now));
    hostSockets.onEvents('decisions', events);
  }

  #watchDecisions(): void {
    this.#parts.epoll.add(DataPlaneFd.SCRIPTS, HOST_SOCKET_EVENTS, Token.SCRIPTS);
  }

  #ownEvent(token: number, events: number, now: Instant): void {
    const { claims, hostSockets, device, input, swap, peers, stack } = this.#parts;
    if (token === Token.DEVICE) input.readBatch(device, now);
    else if (token === Token.OLD_DEVICE) swap.readOld(now);
    else if (token === Token.PEERS) peers?.read(stack, now);
    else if (token === Token.CONNS) {
      claims.onChannelEvent(now);
      hostSockets.onEvents('conns', events);
    }
  }

  onMessage(message: ToDataPlane, now: Instant): void {
    const { flows, stack, upstreams, sessions, claims, reports, capture, swap } = this.#parts;
    const { hostSockets, conns } = this.#parts;
    switch (message.kind) {
      case 'start':
        throw new Error('the data plane was started twice');
      case 'configure':
        flows.configure(message.live);
        break;
      case 'bounds':
        stack.setBounds(message.limits);
        sessions.setBounds(message.sessions);
        claims.setLimit(message.claims);
        break;
      case 'scripts':
        flows.setScripts(message.scripts, now);
        break;
      case 'kill': {
        const { id } = message;
        const count = killFlows(stack, message.flows, now, message.isReload);
        reports.message({ kind: 'killed', id, count });
        break;
      }
      case 'inspect': {
        const { id } = message;
        const sockets = inspectFlows(stack, upstreams, message.flows);
        reports.message({ kind: 'inspected', id, sockets });
        break;
      }
      case 'captures':
        capture.configure(message.orders);
        break;
      case 'device':
        swap.take(message.id, message.device, now);
        break;
      case 'device-changed':
        swap.changed(message.name, message.mtu, now);
        break;
      case 'device-release':
        swap.release(now);
        break;
      case 'host-sockets':
        if (!hostSockets.replace(message)) break;
        this.#watchDecisions();
        conns.renew();
        flows.renewHost(now);
        break;
      case 'drain':
        this.#parts.tarpit.drain(now);
        this.#drain.begin(message.deadlineMs, now);
        this.#isRunningDrained = message.stays;
        break;
    }
  }

  /** Ends when nothing is left to wait for. */
  #checkDrain(now: Instant): void {
    const cut = this.#drain.check(now);
    if (cut === undefined) return;
    this.#parts.reports.message({ kind: 'drained', cut });
    this.#isRunning = this.#isRunningDrained;
  }
}
