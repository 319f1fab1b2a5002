import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { SCRIPT_TYPES } from '../../src/scripts-runtime/types.ts';
import { CONGESTION_NAMES } from '../../src/stack/verdict.ts';
import { ScriptWorld, syncScriptOf } from './script-world.ts';

const FILES = ['culvert.d.ts', 'culvert-globals.d.ts'].map(
  (name) => new URL(`../../src/scripts-runtime/${name}`, import.meta.url),
);

test('the printed types are the files that scripts are checked against', () => {
  expect(SCRIPT_TYPES).toBe(FILES.map((file) => readFileSync(file, 'utf8')).join('\n'));
  expect(SCRIPT_TYPES).toStartWith('/**');
});

test('every function of the types exists, and what they lack tells that it does', async () => {
  const functions = Array.from(
    SCRIPT_TYPES.matchAll(/export function (\w+)\(/g),
    ([, name]) => name,
  );
  expect(functions).toEqual([
    'decline',
    'reject',
    'forward',
    'nat',
    'redirect',
    'claim',
    'connect',
  ]);
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf('decline(); reject(); forward(); nat(); return redirect("welcome")'),
  });
  expect(world.outcome()).toBe('redirect welcome');
});

test('the types know the congestion controls that there are', () => {
  const union = CONGESTION_NAMES.map((name) => `'${name}'`).join(' | ');
  expect(SCRIPT_TYPES).toContain(`congestion?: ${union};`);
});

test('every member of FlowInfo, Ctx and the environment in the types exists', async () => {
  const membersOf = (name: string) => {
    const body =
      new RegExp(`interface ${name}[^{]*\\{(.*?)\\n  \\}`, 's').exec(SCRIPT_TYPES)?.[1] ?? '';
    return Array.from(
      body.matchAll(/^ {4}(?:readonly )?(\w+)[(?:]/gm),
      ([, member]) => member as string,
    );
  };
  const checks = {
    flow: membersOf('FlowInfo'),
    ctx: membersOf('Ctx'),
    env: membersOf('BaseEnv'),
    'env.KV': membersOf('KV'),
    'env.sets': membersOf('Sets'),
    'ctx.log': membersOf('Log'),
    'ctx.metrics': membersOf('Metrics'),
    'flow.src': membersOf('Endpoint'),
  };
  expect(Object.values(checks).every((members) => members.length > 0)).toBe(true);
  const expressions = Object.entries(checks).flatMap(([object, members]) =>
    members.map((member) => `['${object}.${member}', '${member}' in ${object}]`),
  );
  const world = new ScriptWorld();
  await world.load({
    a: syncScriptOf(`const missing = [${expressions}].filter(([, has]) => !has);
      return reject({ reason: String(missing) })`),
  });
  const [from, to] = ['10.0.0.5', '192.0.2.1'];
  world.host.seenNames.learn(from, 'a.example', [{ ip: to, ttlS: 60 }], world.now);
  expect(world.outcome(to, 80, { source: from })).toBe('reject rst');
});
