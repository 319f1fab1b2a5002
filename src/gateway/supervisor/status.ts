/** What runs, as `GET /v1/status` shows it. */
import { Counter, type CounterReader } from '../../stack/counters.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { DeviceView } from './api/device-schemas.ts';
import type { Status } from './api/schemas.ts';
import { buildInfo } from './build-info.ts';
import type { DataPlanes } from './data-planes.ts';
import type { Generation } from './scripts/generation.ts';
import type { ScriptHost } from './scripts/script-host.ts';
import { countUpstreams, type UpstreamState } from './upstream-states.ts';

export interface StatusSource {
  readonly isDraining: boolean;
  readonly notReady: readonly string[];
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly loaded: LoadedConfig;
  readonly configGeneration: number;
  readonly device: Pick<DeviceView, 'name' | 'mtu' | 'up' | 'offload'>;
  readonly counters: CounterReader;
  readonly dataPlanes: DataPlanes | undefined;
  readonly scriptHost: Pick<ScriptHost, 'state' | 'pid' | 'ends'>;
  readonly generation: Pick<Generation, 'number' | 'hash'>;
  readonly scripts: Status['scripts'];
  readonly upstreams: readonly UpstreamState[];
}

export function gatewayStatus(source: StatusSource): Status {
  const { dataPlanes, scriptHost, device, generation } = source;
  const { file, config } = source.loaded;
  const get = (counter: Counter) => source.counters.get(counter);
  return {
    state: source.isDraining ? 'draining' : dataPlanes?.isReady ? 'running' : 'starting',
    not_ready: [...source.notReady],
    ...buildInfo,
    pid: process.pid,
    uptime_seconds: Math.round((Date.now() - source.startedAt) / 1000),
    config: { ...(file === undefined ? {} : { file }), generation: source.configGeneration },
    device: { name: device.name, mtu: device.mtu, up: device.up, offload: device.offload },
    data_plane: dataPlaneStatus(dataPlanes),
    script_host: {
      state: scriptHost.state,
      ...(scriptHost.pid === undefined ? {} : { pid: scriptHost.pid }),
      restarts: { ...scriptHost.ends.sums },
    },
    generation: { number: generation.number, hash: generation.hash },
    scripts: source.scripts,
    flows: {
      active: get(Counter.FLOWS_NOW),
      total: get(Counter.FLOWS_TOTAL),
      limit: config.limits.flows,
    },
    upstreams: countUpstreams(source.upstreams),
  };
}

/** `pid` is that of the first queue. */
function dataPlaneStatus(planes: DataPlanes | undefined): Status['data_plane'] {
  const pids = [...(planes?.pids ?? [])];
  const [pid] = pids;
  return { ...(pid === undefined ? {} : { pid }), pids, restarts: planes?.restarts ?? 0 };
}

type Readiness = Pick<StatusSource, 'isDraining' | 'dataPlanes' | 'scriptHost' | 'scripts'> & {
  /** What the kernel says of the device: `up`, `down`, `gone`. */
  readonly device: string;
};

/** Why no new flow is taken, or not as the config wants it; empty when all is well. */
export const notReadyReasons = (parts: Readiness): string[] => [
  ...(parts.isDraining ? ['draining'] : []),
  ...(parts.dataPlanes?.isStuck ? ['data-plane-stuck'] : []),
  ...(parts.dataPlanes?.isReady ? [] : ['data-plane-down']),
  ...(parts.device === 'up' ? [] : [`device-${parts.device}`]),
  ...(parts.scriptHost.state === 'waiting' ? ['script-host-down'] : []),
  ...parts.scripts.filter(({ disabled }) => disabled).map(({ name }) => `script-disabled:${name}`),
];
