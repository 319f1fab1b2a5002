/** What runs, as `GET /v1/status` shows it. */
import { Counter, type Counters } from '../../stack/counters.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Status } from './api/schemas.ts';
import { buildInfo } from './build-info.ts';
import type { DataPlane } from './data-plane.ts';
import type { Kernel } from './kernel.ts';
import type { Generation } from './scripts/generations.ts';
import type { ScriptHost } from './scripts/script-host.ts';

export interface StatusParts {
  readonly loaded: LoadedConfig;
  readonly configGeneration: number;
  readonly kernel: Kernel;
  readonly counters: Counters;
  readonly isDraining: boolean;
  readonly notReady: readonly string[];
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly dataPlane: DataPlane | undefined;
  readonly scriptHost: ScriptHost;
  readonly generation: Generation;
  readonly scripts: Status['scripts'];
}

export function viewStatus({
  loaded,
  kernel,
  counters,
  generation,
  ...parts
}: StatusParts): Status {
  const { file, config } = loaded;
  const { dataPlane, scriptHost } = parts;
  return {
    state: parts.isDraining ? 'draining' : dataPlane?.isReady ? 'running' : 'starting',
    not_ready: [...parts.notReady],
    ...buildInfo,
    pid: process.pid,
    uptime_seconds: Math.round((Date.now() - parts.startedAt) / 1000),
    config: { ...(file === undefined ? {} : { file }), generation: parts.configGeneration },
    device: {
      name: kernel.tun.name,
      mtu: config.device.mtu,
      up: kernel.tun.probe() === 'up',
      offload: counters.get(Counter.OFFLOAD_NOW) > 0,
    },
    data_plane: { ...pidOf(dataPlane), restarts: dataPlane?.restarts ?? 0 },
    script_host: {
      state: scriptHost.state,
      ...pidOf(scriptHost),
      restarts: { ...scriptHost.restarts },
    },
    generation: { number: generation.number, hash: generation.hash },
    scripts: parts.scripts,
    flows: {
      active: counters.get(Counter.FLOWS_NOW),
      total: counters.get(Counter.FLOWS_TOTAL),
      limit: config.limits.flows,
    },
  };
}

type Readiness = Pick<StatusParts, 'isDraining' | 'dataPlane' | 'scriptHost' | 'scripts'> & {
  /** What the kernel says of the device: `up`, `down`, `gone`. */
  readonly device: string;
};

/** Why no new flow is taken, or not as the config wants it; empty when all is well. */
export const notReadyReasons = (parts: Readiness): string[] => [
  ...(parts.isDraining ? ['draining'] : []),
  ...(parts.dataPlane?.isStuck ? ['data-plane-stuck'] : []),
  ...(parts.dataPlane?.isReady ? [] : ['data-plane-down']),
  ...(parts.device === 'up' ? [] : [`device-${parts.device}`]),
  ...(parts.scriptHost.state === 'waiting' ? ['script-host-down'] : []),
  ...parts.scripts.filter(({ disabled }) => disabled).map(({ name }) => `script-disabled:${name}`),
];

const pidOf = (owner: { readonly pid: number | undefined } | undefined): { pid?: number } =>
  owner?.pid === undefined ? {} : { pid: owner.pid };
