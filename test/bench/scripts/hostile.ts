/** What others notice of a script that misbehaves. */
import { join } from 'node:path';
import { HOSTILE_SCRIPTS, hostileScript } from '../../support/hostile-scripts.ts';
import { BenchError } from '../command.ts';
import { underLoad } from '../load.ts';
import type { RunningPeer } from '../peer.ts';
import { goProgram } from '../requirements.ts';
import { SERVER_ADDRESS } from '../topology.ts';
import { Port } from './peer.ts';

/** The row that the others are compared with. */
export const HARMLESS = 'none';

/** New flows per second, of each kind. */
const RATE = 50;
const BAIT_RATE = 20;
/** Live flows are open before the script is there. */
const HEAD_START_MS = 500;

/** Flows that play ping-pong the whole time, by who decided about them. */
const LIVE = {
  listener: Port.LISTENER,
  forward: Port.SYNC,
  splice: Port.SPLICE,
  /** The script beside the hostile one talks itself, in the same host. */
  script: Port.ECHO,
} as const;

/** Loads a script, has it asked all the time, and looks at the flows of others. */
export async function misbehave(
  running: RunningPeer,
  folder: string,
  name: string,
  seconds: number,
): Promise<Readonly<Record<string, number>>> {
  const lt = async (...words: string[]) => {
    const command = [goProgram('lt'), ...words];
    return JSON.parse((await underLoad(running, command, seconds)).output);
  };
  const ping = (port: number) => {
    const duration = `${seconds * 1000 + HEAD_START_MS}ms`;
    return lt('ping', '-addr', `${SERVER_ADDRESS}:${port}`, '-c', '2', '-d', duration);
  };
  const dial = (port: number, rate: number) => {
    const load = ['-rate', `${rate}`, '-d', `${seconds}s`];
    return lt('syn', '-addr', `${SERVER_ADDRESS}:${port}`, ...load);
  };
  const living = Promise.all([
    ping(LIVE.listener),
    ping(LIVE.forward),
    ping(LIVE.splice),
    ping(LIVE.script),
  ]);
  await Bun.sleep(HEAD_START_MS);
  await putScript(folder, hostileScript(HOSTILE_SCRIPTS[name] ?? 'return decline();', Port.BAIT));
  const [newListener, newScript, bait] = await Promise.all([
    dial(Port.LISTENER, RATE),
    dial(Port.SYNC, RATE),
    dial(Port.BAIT, BAIT_RATE),
  ]);
  const [listener, forward, splice, script] = await living;
  await putScript(folder, hostileScript('return decline();', Port.BAIT));
  if (bait.n > 0) throw new BenchError(`${bait.n} flows of a hostile script were let through`);
  return {
    listener: listener.p99_us,
    forward: forward.p99_us,
    splice: splice.p99_us,
    script: script.p99_us,
    lost: listener.lost + forward.lost + splice.lost,
    scriptLost: script.lost,
    newListener: newListener.p99_us,
    newListenerFailed: newListener.refused + newListener.unanswered,
    newScript: newScript.p99_us,
    newScriptRefused: newScript.refused,
    unanswered: newScript.unanswered + bait.unanswered,
  };
}

/** @param folder  of the gateway, with its socket */
async function putScript(folder: string, source: string): Promise<void> {
  const response = await fetch('http://culvert/v1/scripts/hostile', {
    method: 'PUT',
    unix: join(folder, 'admin.sock'),
    body: source,
    headers: { 'If-Match': '*', 'Content-Type': 'application/typescript' },
  });
  if (!response.ok) throw new BenchError(`PUT: ${response.status} ${await response.text()}`);
}
