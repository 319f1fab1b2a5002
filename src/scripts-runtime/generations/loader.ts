/** From a bundle to a generation. All of its scripts load, or none is used. */

import type { ScriptBundle, ScriptIssue, ScriptSource } from '../bundle/bundle.ts';
import { transpile } from '../bundle/transpile.ts';
import { Egress } from '../conns/egress.ts';
import { makeBareEngine } from '../engine/bare-engine.ts';
import { checkLimits } from '../limits.ts';
import { Script } from '../script/script.ts';
import type { OpenedMemory } from '../script/script-memory.ts';
import type { ScriptPorts } from '../script/script-ports.ts';
import { Generation } from './registry.ts';

export interface ScriptStores extends OpenedMemory {
  /** First argument of the hook `load`, as JSON; '' where nothing was before. */
  old(script: string): string;
}

const US_PER_MS = 1000;

/** @returns the generation, ready to be activated, or everything that is wrong with the bundle */
export async function loadBundle(
  bundle: ScriptBundle,
  services: readonly string[],
  stores: ScriptStores,
  ports: ScriptPorts,
): Promise<Generation | readonly ScriptIssue[]> {
  const issues = [...checkNames(bundle.scripts), ...limitIssues(bundle)];
  if (issues.length > 0) return issues;
  const scripts: Script[] = [];
  for (const [position, source] of bundle.scripts.entries()) {
    const egress = egressOf(source, bundle.closed ?? []);
    if (!(egress instanceof Egress)) {
      issues.push(egress);
      continue;
    }
    const code = await transpile(source);
    if (!('code' in code)) {
      issues.push(...code);
      continue;
    }
    const { generation, iface, vars, limits } = bundle;
    const counters = stores.counters(source.name);
    const { sets } = stores;
    const metrics = stores.metrics(source.name);
    const facts = { version: String(generation), iface, vars, services, limits };
    const settings = { ...facts, sets, metrics };
    const isDisabled = bundle.disabled?.includes(source.name) ?? false;
    const kv = stores.kv(source.name);
    const script = new Script(
      { source, generation, position, code, settings, kv, counters, egress, isDisabled },
      ports,
    );
    const bare = await makeBareEngine();
    ports.loading(script);
    const issue = script.load(bare) ?? (await begin(script, stores));
    if (issue === undefined) scripts.push(script);
    else issues.push(issue);
  }
  if (issues.length === 0) {
    const { wallMs, pending } = bundle.limits;
    return new Generation(bundle.generation, scripts, wallMs * US_PER_MS, pending);
  }
  for (const script of scripts) script.dispose();
  return issues;
}

/** Limits are of the bundle, and of no script in it. */
const limitIssues = ({ limits }: ScriptBundle): ScriptIssue[] =>
  checkLimits(limits).map((message) => ({
    script: '',
    file: 'bundle',
    line: 0,
    column: 0,
    kind: 'limit',
    message,
  }));

/** What of the network a script may reach, or what is wrong with the list that says so. */
function egressOf(
  { name, file, allow }: ScriptSource,
  closed: readonly string[],
): Egress | ScriptIssue {
  try {
    return new Egress(allow, closed);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `allow: ${error.message}`;
    return { script: name, file, line: 0, column: 0, kind: 'shape', message };
  }
}

function checkNames(scripts: readonly ScriptSource[]): ScriptIssue[] {
  const names = new Set<string>();
  const issues: ScriptIssue[] = [];
  for (const { name, file } of scripts) {
    if (names.has(name)) {
      const message = `two scripts have the name "${name}"`;
      issues.push({ script: name, file, line: 0, column: 0, kind: 'shape', message });
    }
    names.add(name);
  }
  return issues;
}

/** With the last word of the script before, which is asked for it only where somebody wants it. */
const begin = (script: Script, stores: ScriptStores): Promise<ScriptIssue | undefined> =>
  script.hooks.has('load')
    ? script.hooks.load(stores.old(script.name))
    : Promise.resolve(undefined);
