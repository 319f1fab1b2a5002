/** Code of a script, run for its result. */
import { type LoadOptions, ScriptWorld, scriptOf } from '../script-world.ts';

/** Milliseconds of its clock for which code may wait, in steps that timers are due in. */
const WAIT_MS = 2_000;
const STEP_MS = 10;

/**
 * What `body`, the inside of an async function in a sandbox of its own, returns: as JSON, so
 * `undefined` is null. It sees `flow`, `env` and `ctx`.
 *
 * @throws Error with what the sandbox logged, when there is no result
 */
export async function evaluate(body: string, options: LoadOptions = {}): Promise<unknown> {
  return (await evaluateIn(new ScriptWorld(), body, options)).result;
}

/** As `evaluate`; the world is left for a look at what else became of it. */
export async function evaluateIn(
  world: ScriptWorld,
  body: string,
  options: LoadOptions = {},
): Promise<{ readonly result: unknown; readonly world: ScriptWorld }> {
  const source = scriptOf(`const result = await (async () => {${body}\n})();
    ctx.log.info({ result: JSON.stringify(result) ?? 'null' }, 'the result');
    return reject();`);
  await world.load({ a: source }, options);
  const request = world.ask();
  for (let waited = 0; waited < WAIT_MS && !world.answers.has(request); waited += STEP_MS) {
    world.advance(STEP_MS);
  }
  const line = world.logs.find(({ message }) => message === 'the result');
  if (line === undefined) throw new Error(world.lines.join('\n') || 'no result');
  return { result: JSON.parse(String(line.fields?.['result'])), world };
}

/** `NAME: MESSAGE` of what `body` throws or rejects with. */
export const thrownBy = (body: string): Promise<unknown> =>
  evaluate(`try { await (async () => {${body}\n})(); return 'nothing was thrown'; }
    catch (error) { return error.name + ': ' + error.message; }`);
