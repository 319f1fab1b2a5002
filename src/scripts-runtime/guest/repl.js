/**
 * What a prompt has besides the globals of scripts: all of `culvert`, `flow({...})`, and
 * `decide(flow)`, which asks the scripts that were loaded.
 */
import * as api from 'culvert';
import { host, onSettled, parse, stringify } from './host.js';
import { describe, show } from './show.js';

const waiting = new Map();
let lastCall = 0;

const flow = (fields) => Object.freeze({ proto: 'tcp', ...fields });

function decide(about) {
  const call = ++lastCall;
  // Made here, so that its stack leads to the line.
  const error = new Error();
  return new Promise((resolve, reject) => {
    waiting.set(call, { resolve, reject, error });
    host.replDecide(call, stringify(about) ?? 'null');
  });
}

for (const [name, value] of Object.entries({ ...api, flow, decide })) {
  Object.defineProperty(globalThis, name, { configurable: true, writable: true, value });
}

const done = (value) => host.replShown(true, show(value));
const failed = (error) => host.replShown(false, describe(error));

host.replConnect({
  /** Runs a line, and shows what it came to; of a promise, what becomes of it. */
  evaluate(code) {
    try {
      // Awaiting `{ value }` gives it as it is; to await the value itself is another step.
      onSettled(
        host.replEval(code),
        async ({ value }) => {
          try {
            done(await value);
          } catch (error) {
            failed(error);
          }
        },
        failed,
      );
    } catch (error) {
      failed(error);
    }
  },

  settle(call, isDone, body) {
    const { resolve, reject, error } = waiting.get(call);
    waiting.delete(call);
    if (isDone) resolve(parse(body));
    else {
      error.message = body;
      reject(error);
    }
  },
});
