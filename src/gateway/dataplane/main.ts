/** The data plane process: takes over what the supervisor opened, and runs the loop. */

import { monotonicNow } from '../../ffi/clock.ts';
import { Epoll, EpollEvent } from '../../ffi/epoll.ts';
import { SharedMemory } from '../../ffi/memory.ts';
import { dieWithParent, leaveSignalsToParent, raiseFileLimit } from '../../ffi/process.ts';
import { setNonBlocking } from '../../ffi/sockets.ts';
import { TunDevice } from '../../ffi/tun-device.ts';
import { COUNTERS_BYTES, Counters } from '../../stack/counters.ts';
import { stateBytes } from '../../stack/layout.ts';
import { Stack } from '../../stack/stack.ts';
import { CAPTURE_RING_BYTES } from '../messages/capture-ring.ts';
import {
  DataPlaneFd,
  type PlaneBounds,
  type QueuePlace,
  type ToDataPlane,
} from '../messages/control.ts';
import { CaptureTap } from './capture/capture-tap.ts';
import { ClaimSockets } from './claims/claim-sockets.ts';
import { Claims } from './claims/claims.ts';
import { ConnChannel } from './claims/conn-channel.ts';
import { Relay } from './claims/relay.ts';
import { ControlInput } from './control-input.ts';
import { Decisions } from './decisions.ts';
import { capabilitiesOf, DeviceSwap } from './device/device-swap.ts';
import { TunInput } from './device/tun-input.ts';
import { TunPort } from './device/tun-port.ts';
import { Flows } from './flows.ts';
import { Dialer } from './forward/dialer.ts';
import { Orphans } from './forward/orphans.ts';
import { Splice } from './forward/splice.ts';
import { UpstreamTable } from './forward/upstream-table.ts';
import { HostSockets } from './host-sockets.ts';
import { Loop, Token } from './loop.ts';
import { LoopGuard } from './loop-guard.ts';
import { PeerSockets } from './peer-sockets.ts';
import { Reports } from './reports.ts';
import { SeenAnswers } from './seen-answers.ts';
import { type SessionOptions, Sessions } from './sessions/sessions.ts';
import { Tarpit } from './tarpit.ts';
import { trackSettings } from './tracking.ts';
import { Upstreams } from './upstream/upstreams.ts';
import { Welcome } from './welcome.ts';

type Start = Extract<ToDataPlane, { kind: 'start' }>;

const STDIN = 0;
const STDOUT = 1;

/** Runs the hidden sub-command `__data-plane`; returns when the gateway ends. */
export function runDataPlane(): void {
  leaveSignalsToParent();
  dieWithParent();
  const fileLimit = raiseFileLimit();
  setNonBlocking(STDIN);
  setNonBlocking(STDOUT);
  const control = new ControlInput();
  const [start, ...rest] = awaitStart(control);
  if (start?.kind !== 'start') throw new Error(`expected start, got ${start?.kind}`);
  const loop = assemble(start, control, fileLimit);
  for (const message of rest) loop.onMessage(message, monotonicNow());
  loop.run();
}

/** Waits for `start`; what came with it stands behind it, in order. */
function awaitStart(control: ControlInput): ToDataPlane[] {
  const epoll = new Epoll();
  epoll.add(STDIN, EpollEvent.IN, 0);
  const messages: ToDataPlane[] = [];
  while (messages.length === 0) {
    epoll.wait(-1);
    if (!control.read((message) => messages.push(message))) process.exit(0);
  }
  epoll[Symbol.dispose]();
  return messages;
}

function assemble(message: Start, control: ControlInput, fileLimit: number): Loop {
  const { start, bounds, live, scripts } = message;
  const memory = SharedMemory.map(DataPlaneFd.STATE, stateBytes(start.limits));
  const counters = new Counters(SharedMemory.map(DataPlaneFd.COUNTERS, COUNTERS_BYTES).buffer);
  const reports = new Reports(counters);
  const tun = TunDevice.adopt(DataPlaneFd.TUN, start.device);
  const capabilities = capabilitiesOf(start.device);
  const device = new TunPort({ device: tun, capabilities, memory, counters, reports });
  const ring = SharedMemory.map(DataPlaneFd.CAPTURE, CAPTURE_RING_BYTES);
  const capture = new CaptureTap(ring.buffer, counters);
  const flows = new Flows(live, scripts);
  const answers = new SeenAnswers(counters);
  const peers = start.queue && new PeerSockets(start.queue.count - 1, start.limits, memory.address);
  const stack = new Stack({
    ...stackSettings(message),
    memory: memory.buffer,
    counters,
    capabilities,
    sink: device,
    owner: flows,
    tap: capture,
    answers,
    onLeftover: (rowAt) => reports.flow(new Uint8Array(memory.buffer), rowAt),
    ...(start.queue && peers && { queue: queueOptions(start.queue, peers) }),
  });
  stack.setBounds(bounds.limits);
  capture.attach(stack);
  answers.attach(stack);
  const epoll = new Epoll();
  const guard = new LoopGuard(start.device.name);
  const upstreams = new UpstreamTable(stack);
  const splice = new Splice(stack, upstreams, memory.address, counters);
  const orphans = new Orphans(stack, upstreams, epoll, counters, memory.address);
  const vias = new Upstreams(reports);
  const parts = { stack, upstreams, vias, splice, epoll, counters, guard, base: memory.address };
  const dialer = new Dialer(parts);
  const hostSockets = new HostSockets(epoll, (said) => reports.message(said));
  const decisions = new Decisions(stack, upstreams, counters);
  decisions.onDeaf = () => hostSockets.over('decisions');
  const conns = new ConnChannel(DataPlaneFd.CONNS, epoll, Token.CONNS, counters);
  conns.onDeaf = () => hostSockets.over('conns');
  const relay = new Relay(stack);
  const sockets = sessionOptions(bounds.sessions, fileLimit, reports);
  const sessions = new Sessions({ ...parts, answers }, sockets);
  const claimSocketsMax = Math.floor(fileLimit / 4);
  const claims = new Claims(
    {
      ...parts,
      relay,
      channel: conns,
      sockets: new ClaimSockets(parts, claimSocketsMax),
    },
    bounds.claims,
    crypto.getRandomValues(new Uint16Array(1))[0]!,
  );
  const welcome = new Welcome(stack, counters);
  const tarpit = new Tarpit(stack, counters);
  const carriers = { splice, orphans, dialer, vias, sessions, claims, relay, tarpit };
  const shared = { stack, upstreams, decisions, ...carriers };
  flows.attach({ ...shared, welcome, reports, counters, answers });
  claims.setHost(scripts, monotonicNow());
  reports.message({ kind: 'ready' });
  const input = new TunInput(stack, counters);
  const swapped = { epoll, port: device, input, stack, guard, reports, base: memory.address };
  const swap = new DeviceSwap(swapped, Token.OLD_DEVICE);
  const around = { epoll, device, input, swap, flows, control, capture, reports, counters, peers };
  return new Loop({ ...shared, ...around, conns, hostSockets });
}

/** What the configuration and the moment say; the rest is made of parts. */
const stackSettings = ({ start, live }: Start) => ({
  limits: start.limits,
  settings: {
    slabBytesPerFlow: start.limits.slabBytesPerFlow,
    ...live.tcp,
    keepaliveUs: live.timeouts.keepaliveMs * 1000,
    userTimeoutUs: live.timeouts.userMs * 1000,
  },
  tracking: trackSettings(live),
  secrets: crypto.getRandomValues(new Uint32Array(12)),
  randomize: (into: Uint32Array): void => {
    crypto.getRandomValues(into as Uint32Array<ArrayBuffer>);
  },
  now: monotonicNow(),
});

/** Serial numbers of flows tell the queue: they are unique in the gateway. */
const queueOptions = ({ index, count, hashSecret }: QueuePlace, peers: PeerSockets) => ({
  serials: { first: index + 1, step: count },
  hashSecret,
  tables: peers.tables,
  sink: peers,
});

/** As configured, but half of all descriptors is left for connections. */
function sessionOptions(
  wanted: PlaneBounds['sessions'],
  fileLimit: number,
  reports: Reports,
): SessionOptions {
  const socketsMax = Math.max(1, Math.floor(fileLimit / 2));
  return {
    limit: Math.min(wanted.limit, socketsMax),
    socketsMax,
    perSource: wanted.perSource,
    secrets: crypto.getRandomValues(new Uint32Array(3)),
    report: (message) => reports.message(message),
  };
}
