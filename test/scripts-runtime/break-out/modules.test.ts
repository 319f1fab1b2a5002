/** A script that imports what is not for it: our own modules, above all the one with `host`. */
import { expect, test } from 'bun:test';
import { ScriptWorld, scriptOf } from '../script-world.ts';
import { evaluate } from '../web/sandbox.ts';
import { rawEvaluate, rawGuest } from './raw-guest.ts';

const NAMES = [
  'culvert/host.js',
  './host.js',
  './culvert/host.js',
  'culvert/../culvert/host.js',
  'culvert/entries.js',
  'culvert/start.js',
  'culvert/lazy-streams.js',
  './web-streams.js',
  'culvert:host',
  'node:fs',
  '/etc/passwd',
];

test.each(NAMES)('import of "%s" does not load', async (name) => {
  for (const source of [
    `import * as all from '${name}'; console.log(Object.keys(all));`,
    `export * from '${name}';`,
    `const all = await import('${name}'); console.log(Object.keys(all));`,
  ]) {
    const world = new ScriptWorld();
    const issues = await world.tryLoad({ a: `${source}\n${scriptOf('return reject()')}` });
    expect(issues.length).toBeGreaterThan(0);
    expect(world.lines).toEqual([]);
  }
});

test('a name that is computed loads nothing, with the bundler in front of the engine', async () => {
  const issues = await new ScriptWorld().tryLoad({
    a: scriptOf(`await import(['culvert/', 'host.js'].join('')); return reject()`),
  });
  if (issues.length === 0) {
    const loaded = evaluate(`return import(['culvert/', 'host.js'].join(''))`);
    expect(loaded).rejects.toThrow('there is no module');
  }
});

test.each(NAMES)('the engine by itself refuses "%s" too', async (name) => {
  expect(
    await rawEvaluate(`return import('${name}').then(() => 'loaded', (e) => e.message)`),
  ).toStartWith('there is no module');
  expect(rawGuest('', `import '${name}';`)).rejects.toThrow('there is no module');
});

test('a script can import culvert, and finds nothing of the gateway in it', async () => {
  expect(
    await rawEvaluate(`const all = await import('culvert');
      return [Object.isFrozen(all) || Object.isSealed(all), 'host' in all, 'load' in all];`),
  ).toEqual([true, false, false]);
});

test('a module of ours that is being loaded opens no door to the others', async () => {
  // Whatever our module uses while it is run is the script's, which asks for `host` right then.
  expect(
    await rawEvaluate(`const seen = [];
      let asked = 0;
      const ask = () => {
        asked++;
        for (const name of ${JSON.stringify(NAMES)}) {
          import(name).then(() => seen.push('loaded ' + name), () => seen.push('refused'));
        }
      };
      const functions = Object.getPrototypeOf(() => {});
      for (const [owner, name] of [[Object, 'defineProperties'], [Object, 'defineProperty'],
        [Object, 'freeze'], [Promise, 'resolve'], [functions, 'bind'],
        [Reflect, 'getOwnPropertyDescriptor']]) {
        const real = owner[name];
        owner[name] = function (...args) { ask(); return Reflect.apply(real, this, args); };
      }
      for (const use of [() => new ReadableStream(), () => new URL('http://a'), () => crypto,
        () => new AbortController(), () => structuredClone(1)]) try { use() } catch {}
      for (let i = 0; i < 100; i++) await null;
      return [asked > 0, [...new Set(seen)]];`),
  ).toEqual([true, ['refused']]);
});
