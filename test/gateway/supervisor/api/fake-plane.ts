/** A gateway without a kernel: generations that are real, flows from a list. */

import { createApi } from '../../../../src/gateway/supervisor/api/app.ts';
import {
  type ControlPlane,
  NoSuchScriptError,
} from '../../../../src/gateway/supervisor/api/control-plane.ts';
import { Generations, ScriptHostError } from '../../../../src/gateway/supervisor/generations.ts';
import type { LiveFlowView } from '../../../../src/gateway/supervisor/live-flows.ts';
import { createLogger } from '../../../../src/gateway/supervisor/logger.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';

export interface FakePlane extends ControlPlane {
  reasons: string[];
  killed: number[];
  failWith: Error | undefined;
}

const flow = (id: string, port: number): LiveFlowView => ({
  id,
  proto: 'tcp',
  src: '10.0.0.1',
  src_port: 1000,
  dst: '10.1.0.1',
  dst_port: port,
  iface: 'x0',
  phase: 'open',
  state: 'ESTABLISHED',
  verdict: 'forward',
  decider: 'fallback',
  start: '2026-01-01T00:00:00.000Z',
  duration_ms: 1,
  decision_ms: 0,
  connect_ms: 0,
  bytes_up: 0,
  bytes_down: 0,
  pkts_up: 0,
  pkts_down: 0,
  retrans: 0,
  rtt_ms: 0,
});

const FLOWS = [flow('a', 80), flow('b', 443)];

/** Sources that contain `broken` do not load: line 2, column 3; `unlucky` finds no host. */
export function fakePlane(): FakePlane {
  const generations = new Generations(
    {
      check: async ({ scripts }) =>
        scripts
          .filter(({ source }) => source.includes('broken'))
          .map(({ name, file }) => ({
            script: name,
            file,
            line: 2,
            column: 3,
            kind: 'syntax',
            message: 'unexpected token',
          })),
      activate: async ({ scripts }) => {
        if (!scripts.some(({ source }) => source.includes('unlucky'))) return [];
        throw new ScriptHostError('the machine is overloaded');
      },
    },
    DEFAULT_SCRIPT_LIMITS,
  );
  return {
    reasons: [],
    killed: [],
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
        config: { generation: 1 },
        device: { name: 'x0', mtu: 1500, up: true, offload: true },
        data_plane: { restarts: 0 },
        script_host: { state: 'idle', restarts: {} },
        generation: { number: 0, hash: '' },
        scripts: [],
        flows: { active: 2, total: 2, limit: 10 },
      };
    },
    notReady() {
      return this.reasons;
    },
    metrics: () => 'culvert_x 1\n',
    drops: () => ({
      drops: [
        { reason: 'paws', layer: 'tcp', count: 3 },
        { reason: 'no-ack', layer: 'tcp', count: 0 },
      ],
      closes: [{ reason: 'eof', count: 0 }],
    }),
    flows: ({ filter, from, limit }) => ({
      flows: FLOWS.slice(from).filter(filter).slice(0, limit),
    }),
    flow: (serial) => FLOWS.find(({ id }) => Number.parseInt(id, 36) === serial),
    async killFlow(serial) {
      this.killed.push(serial);
      return serial === 10;
    },
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
    rollback: (to, options) => generations.rollback(to, options),
    reload: async (options) => ({
      ...(await generations.apply('reload', (active) => active, options)),
      restartRequired: ['device.mtu'],
    }),
  };
}

export const apiOf = (plane: ControlPlane, token?: string) =>
  createApi(plane, {
    log: createLogger({ level: 'silent', format: 'json' }),
    ...(token === undefined ? {} : { token }),
  });
