/** A gateway without a kernel: generations that are real, flows in memory of no data plane. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import { loadConfigFile, validateConfig } from '../../../../src/gateway/config/load.ts';
import { CAPTURE_RING_BYTES } from '../../../../src/gateway/messages/capture-ring.ts';
import type { CaptureOrder } from '../../../../src/gateway/messages/control.ts';
import type { ApiEnv } from '../../../../src/gateway/supervisor/api/api-env.ts';
import { createApi } from '../../../../src/gateway/supervisor/api/app.ts';
import type { AccessRules, Peer } from '../../../../src/gateway/supervisor/api/callers.ts';
import type { ControlPlane } from '../../../../src/gateway/supervisor/api/control-plane.ts';
import { ConfigChanges } from '../../../../src/gateway/supervisor/config-changes.ts';
import { ConfigState } from '../../../../src/gateway/supervisor/config-state.ts';
import { DeviceEvents } from '../../../../src/gateway/supervisor/device/device-events.ts';
import { SwapError } from '../../../../src/gateway/supervisor/device/device-keeper.ts';
import { FlowControl } from '../../../../src/gateway/supervisor/flows/flow-control.ts';
import { LogLevel } from '../../../../src/gateway/supervisor/log/log-level.ts';
import { LogSink } from '../../../../src/gateway/supervisor/log/log-sink.ts';
import { LogTap } from '../../../../src/gateway/supervisor/log/log-tap.ts';
import { createLogger } from '../../../../src/gateway/supervisor/log/logger.ts';
import { Mutex } from '../../../../src/gateway/supervisor/mutex.ts';
import { Notices } from '../../../../src/gateway/supervisor/notices.ts';
import {
  ScriptHostError,
  StaleChangeError,
} from '../../../../src/gateway/supervisor/scripts/change-errors.ts';
import { explain } from '../../../../src/gateway/supervisor/scripts/explain.ts';
import type { BundleContent } from '../../../../src/gateway/supervisor/scripts/generation.ts';
import { Generations } from '../../../../src/gateway/supervisor/scripts/generations.ts';
import { Reloads } from '../../../../src/gateway/supervisor/scripts/reloads.ts';
import { NoSuchScriptError } from '../../../../src/gateway/supervisor/scripts/script-changes.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';
import { Carrier, TrackState, VerdictCode } from '../../../../src/stack/flow-row.ts';
import { TcpState } from '../../../../src/stack/tcp/states.ts';
import { Protocol } from '../../../../src/stack/wire/protocol.ts';
import { FlowMemory, flowContext, NOW_US } from '../flows/flow-memory.ts';

const ROWS = 8;
/** Serial number of a flow that ends before anybody can end it. */
const GONE = 11;

const DROP = { kind: 'drop' } as const;

const silent = createLogger({ level: 'silent', format: 'json' });

const DEVICE_STATE = { name: 'x0', up: true, mtu: 1500, tx_queue_length: 1000, here: true };
const SWAPPED_STATE = {
  ...{ name: 'x0', isUp: true, mtu: 1500, txQueueLength: 1000, isHere: true, index: 3 },
};
const DEVICE = { persistent: false, vnet_header: true, offloads: ['csum'], offload: true };

export interface FakePlane extends ControlPlane {
  /** Names that a swap was asked for with. */
  readonly swapped: (string | undefined)[];
  reasons: string[];
  readonly config: ControlPlane['config'] & {
    access: AccessRules;
    hosts: string[];
    isClash: boolean;
  };
  /** As a reload does it. */
  readonly setAccess: (access: AccessRules) => void;
  readonly logTap: LogTap;
  readonly configFile: string;
  readonly configState: ConfigState;
  readonly configChanges: ConfigChanges;
  readonly configHooks: {
    /** Is called when routes follow a config. */
    follow: () => void;
    /** Is called when a config is in force. */
    taken: () => void;
    /** Names of the upstreams that there were said to be before one is, each time. */
    readonly announced: string[][];
    /** What the device was told of configs. */
    readonly device: string[];
    /** What it answers. */
    refusal: Error | undefined;
  };
  /** What it was asked to do to itself. */
  readonly ended: [string, number][];
  readonly killed: number[];
  readonly memory: FlowMemory;
  /** Memory of the ring that captured packets come by, and what was asked of the data plane. */
  readonly ring: ArrayBuffer;
  readonly captureOrders: (readonly CaptureOrder[])[];
  failWith: Error | undefined;
  /** What a reload finds, and what it waits for before it looks. */
  readonly disk: { read: (active: BundleContent) => BundleContent; held?: Promise<void> };
}

/** `a` to port 80 and `b` to port 443, and `c`, which is rewritten. */
function memoryOfFlows(): FlowMemory {
  const memory = new FlowMemory(ROWS);
  memory.put(1, { serial: 10, source: '10.0.0.1', destinationPort: 80 });
  memory.put(2, { serial: 11, source: '10.0.0.1', destinationPort: 443 });
  memory.put(4, {
    serial: 12,
    protocol: Protocol.UDP,
    carrier: Carrier.NAT,
    tcpState: TcpState.CLOSED,
    trackState: TrackState.UNREPLIED,
    verdict: VerdictCode.NAT,
    destinationPort: 53,
    upstream: '10.9.0.1',
    upstreamPort: 5353,
    natSource: '192.0.2.1',
    natPort: 40_000,
    expiresAt: NOW_US + 29_000_000,
  });
  return memory;
}

/** Has levels, and writes nothing. */
function deafLogger() {
  const sink = new LogSink();
  sink.write = () => undefined;
  return createLogger({ level: 'info', format: 'json' }, sink);
}

const CONFIG = `# What this is for.
device: {name: x0}
log:
  level: info # loud enough
admin:
  tokens:
    - {name: ci, token: a-token-of-some-length, scopes: [reload]}
    - {name: look, token: another-token-of-some-length, scopes: [read]}
`;

/** Real changes of a config file in a folder of its own. */
function fakeConfig(generations: Generations, notices: Notices) {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
  const file = join(folder, 'config.yaml');
  writeFileSync(file, CONFIG, { mode: 0o640 });
  const read = () => loadConfigFile(file, []);
  const started = read();
  const lock = new Mutex();
  const state = new ConfigState(started);
  state.nextLive();
  const hooks: FakePlane['configHooks'] = {
    ...{ follow: () => {}, taken: () => {} },
    ...{ announced: [], device: [], refusal: undefined },
  };
  const changes = new ConfigChanges({
    log: silent,
    notices,
    state,
    scripts: { generations, inTurn: (_, task) => lock.run(task) },
    started,
    announce: ({ upstreams }) => hooks.announced.push(upstreams.map(({ name }) => name)),
    read,
    files: () => ({ file }),
    validate: (value, name) => validateConfig(value, name, []),
    stateFolder: folder,
    kernel: {
      device: {
        change: async ({ mtu }) => {
          if (hooks.refusal !== undefined) throw hooks.refusal;
          hooks.device.push(`mtu ${mtu}`);
          return {
            finish: async () => void hooks.device.push('finish'),
            undo: async () => void hooks.device.push('undo'),
          };
        },
      },
      followers: [() => void hooks.follow()],
    },
    onTaken: () => hooks.taken(),
  });
  return { changes, file, state, hooks };
}

/** Sources that contain `broken` do not load: line 2, column 3; `unlucky` finds no host. */
export function fakePlane(): FakePlane {
  const swapped: (string | undefined)[] = [];
  const deviceEvents = new DeviceEvents();
  const generations = new Generations(
    {
      check: async ({ scripts }) => ({
        issues: scripts
          .filter(({ source }) => source.includes('broken'))
          .map(({ name, file }) => ({
            script: name,
            file,
            line: 2,
            column: 3,
            kind: 'syntax',
            message: 'unexpected token',
          })),
      }),
      activate: async ({ scripts }) => {
        if (!scripts.some(({ source }) => source.includes('unlucky'))) return [];
        throw new ScriptHostError('the machine is overloaded');
      },
    },
    DEFAULT_SCRIPT_LIMITS,
    Date.now,
    { trials: { start: async () => [], promote: async () => [], abort: () => {} } },
  );
  const notices = new Notices();
  const config = fakeConfig(generations, notices);
  let bytes = 0;
  const killed: number[] = [];
  const ring = new ArrayBuffer(CAPTURE_RING_BYTES);
  const captureOrders: (readonly CaptureOrder[])[] = [];
  const ended: [string, number][] = [];
  const memory = memoryOfFlows();
  const reloads = new Reloads();
  const disk: FakePlane['disk'] = { read: (active) => active };
  const accessListeners = new Set<() => void>();
  return {
    disk,
    reasons: [],
    config: {
      access: { tokens: [], peers: [] },
      hosts: [],
      isClash: true,
      onAccess: (listener) => {
        accessListeners.add(listener);
        return () => accessListeners.delete(listener);
      },
    },
    setAccess(access) {
      this.config.access = access;
      for (const listener of [...accessListeners]) listener();
    },
    killed,
    ring,
    captureOrders,
    memory,
    failWith: undefined,
    status() {
      if (this.failWith) throw this.failWith;
      return {
        state: 'running',
        not_ready: [],
        version: '0',
        commit: 'x',
        bun: '1',
        pid: 1,
        uptime_seconds: 1,
        config: { generation: config.state.generation },
        device: { name: 'x0', mtu: 1500, up: true, offload: true },
        data_plane: { pids: [], restarts: 0 },
        script_host: { state: 'idle', restarts: {} },
        generation: { number: 0, hash: '' },
        scripts: [],
        flows: { active: 2, total: 2, limit: 10 },
        upstreams: { total: 1, unhealthy: [] },
      };
    },
    upstreams: [
      {
        ...{ name: 'web', kind: 'pool', policy: 'failover', healthy: true, active: 1 },
        ...{ connects: 3, failures: 2, connect_seconds: 0.5 },
        addresses: [
          { address: '10.0.0.5:80', healthy: true, active: 1, connects: 3, failures: 0 },
          {
            ...{ address: '10.0.0.6:80', healthy: false, active: 0, connects: 0, failures: 2 },
            last_error: 'ECONNREFUSED',
          },
        ],
      },
    ],
    explain: (flow) =>
      explain(flow, {
        live: {
          listeners: [
            { name: 'dns', protocol: 'udp', destinations: [], ports: [[53, 53]], action: DROP },
            { name: 'web', protocol: 'tcp', destinations: ['10.0.0.0/8'], ports: [], action: DROP },
          ],
          localAddresses: ['10.0.0.80'],
        },
        generation: generations.active,
        aside: { iface: 'x0' },
      }),
    notReady() {
      return this.reasons;
    },
    logLevel: new LogLevel(deafLogger(), 'info'),
    beginDrain(deadlineMs = 10_000) {
      ended.push(['drain', deadlineMs]);
      return deadlineMs;
    },
    beginStop(deadlineMs = 10_000) {
      ended.push(['stop', deadlineMs]);
      return deadlineMs;
    },
    ended,
    notices,
    logTap: new LogTap(),
    traffic() {
      bytes += 10;
      return { up: bytes, down: 2 * bytes };
    },
    configChanges: config.changes,
    configFile: config.file,
    configState: config.state,
    configHooks: config.hooks,
    metrics: () => 'culvert_x 1\n',
    drops: () => ({
      drops: [
        { reason: 'paws', layer: 'tcp', count: 3 },
        { reason: 'no-ack', layer: 'tcp', count: 0 },
      ],
      closes: [{ reason: 'eof', count: 0 }],
    }),
    device: {
      get etag() {
        return deviceEvents.etag;
      },
      view: () => ({ ...DEVICE_STATE, ...DEVICE, events: [] }),
      swap: async (name, ifMatch) => {
        if (ifMatch?.includes(deviceEvents.etag) === false) throw new StaleChangeError('changed');
        if (name === 'taken0') throw new SwapError('DEVICE_REFUSED', 'ioctl on taken0: EBUSY');
        if (name === 'later0') throw new SwapError('DATA_PLANE_NOT_READY', 'it does not run');
        swapped.push(name);
        deviceEvents.add('swapped', SWAPPED_STATE);
      },
    },
    swapped,
    flows: new FlowControl({
      log: silent,
      reader: memory.reader,
      context: flowContext,
      lostReports: () => 0,
      limit: () => 6,
      notices,
      kill: async (refs) => {
        killed.push(...refs.map(({ serial }) => serial));
        return refs.filter(({ serial }) => serial !== GONE).length;
      },
      inspect: async () => [],
      rings: [ring],
      mtu: () => 1500,
      lostCaptured: () => 0,
      notes: [],
      capture: (orders) => captureOrders.push(orders),
    }),
    get activeGeneration() {
      return generations.active;
    },
    get generations() {
      return generations.history;
    },
    get etag() {
      return generations.etag;
    },
    putScript: (script, options) =>
      generations.apply(
        'api',
        (active) => ({
          ...active,
          scripts: [...active.scripts.filter(({ name }) => name !== script.name), script],
        }),
        options,
      ),
    putBundle: ({ scripts, vars = {}, sets = {} }, options) =>
      generations.apply('api', (active) => ({ ...active, scripts, vars, sets }), options),
    removeScript: (name, options) =>
      generations.apply(
        'api',
        (active) => {
          if (!active.scripts.some((script) => script.name === name))
            throw new NoSuchScriptError(name);
          return { ...active, scripts: [] };
        },
        options,
      ),
    canaryDefaults: { share: 0, for: 300_000, errors: 5, window: 10_000 },
    get trial() {
      const { trial } = generations;
      return (
        trial && { ...trial, report: { canary: { generation: 2, decisions: 9, failures: 1 } } }
      );
    },
    promote: (options) => generations.promote(options),
    abortTrial: (options) => generations.abortTrial(options),
    rollback: (to, options) => generations.rollback(to, options),
    startReload: (options) =>
      reloads.start(options.dryRun === true, async (onApplying) => {
        await disk.held;
        const change = options.dryRun ? options : { ...options, onApplying };
        return generations.apply('reload', disk.read, change);
      }),
    get reloads() {
      return reloads.all;
    },
    findReload: (id) => reloads.get(id),
  };
}

/** Who every test is that does not say so. */
const ROOT: Peer = { kind: 'unix', pid: 1, uid: 0, gid: 0, groups: [] };

/** The API as a peer meets it; over a socket, the peer is who it is. */
export function apiOf(plane: FakePlane, peer: Peer = ROOT): Hono {
  const api = createApi(plane, { log: silent, logTap: plane.logTap });
  return new Hono<{ Bindings: Partial<ApiEnv['Bindings']> }>().all('*', ({ req, env }) =>
    api.fetch(req.raw, { peer, ...env }),
  ) as unknown as Hono;
}
