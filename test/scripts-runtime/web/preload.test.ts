import { expect, test } from 'bun:test';
import { modulesWantedBy } from '../../../src/scripts-runtime/engine/guest-modules.ts';
import { ScriptWorld, syncScriptOf } from '../script-world.ts';

test.each([
  ['flow.signal.aborted', ['abort-signal']],
  ['new AbortController()', ['abort-signal']],
  ['btoa(x)', ['base64']],
  ['crypto.randomUUID()', ['crypto']],
  ['new EventTarget()', ['events']],
  ['new TextDecoderStream()', ['streams']],
  ['new CountQueuingStrategy({})', ['streams']],
  ['conn.readable.pipeTo(up.writable)', ['streams']],
  ['structuredClone(x)', ['structured-clone']],
  ['new TextEncoder()', ['text-encoding']],
  ['new URLSearchParams()', ['url']],
  ['return flow.dst.port === 80 ? forward() : decline()', []],
])('%s wants %j', (code, modules) => {
  expect(modulesWantedBy(code)).toEqual(modules);
});

test('what a script names is there before its first decision', async () => {
  const world = new ScriptWorld();
  // The getter of the global would load it, were it not there: here it has nothing left to run.
  await world.load({
    a: `import { reject } from 'culvert';
      export default { flow() {
        const real = Object.defineProperties;
        let used = 0;
        Object.defineProperties = (...args) => { used++; return real(...args); };
        const stream = new ReadableStream();
        return reject({ reason: used + ' ' + stream.locked });
      } };`,
    b: syncScriptOf('return decline()'),
  });
  expect(world.outcome()).toBe('reject rst 0 false');
});
