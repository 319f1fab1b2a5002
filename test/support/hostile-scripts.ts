/**
 * Scripts that do not want to end, or to end well: by name, what `flow()` does when it is asked.
 * Unit tests, end-to-end tests and the bench run all of them.
 */

type Corpus = Readonly<Record<string, string>>;

/** What takes time, memory or the stack without an end that anybody would wait for. */
export const GREEDY_SCRIPTS: Corpus = {
  'an endless loop': 'for (;;) {}',
  'a sort of a million numbers': 'Array.from({ length: 1e6 }, (_, i) => -i).sort()',
  'a catastrophic regular expression': "/^(a+)+$/.test('a'.repeat(50) + 'b')",
  'JSON of 100,000 nested objects':
    'let o: any = {}; for (let i = 0; i < 1e5; i++) o = { o }; JSON.stringify(o)',
  'an endless chain of promises':
    'const next = (): any => Promise.resolve().then(next); return next()',
  'an enormous power': 'return 2n ** 4000000n',
  'a loop over indexOf in 20 MB':
    "const s = 'a'.repeat(2e7); let n = 0; for (;;) n += s.indexOf('b')",
  'an array of strings of 1 MB':
    "const a: string[] = []; for (let i = 0; ; i++) a.push('x'.repeat(1e6) + i)",
  'a search for half of a 1 MB string': "return 'a'.repeat(1e6).indexOf('a'.repeat(5e5) + 'b')",
  'includes over a length of 2^53':
    'return [].includes.call({ length: 2 ** 53 - 1 } as any, 1 as never)',
  'indexOf over a length of 2^53':
    'return [].indexOf.call({ length: 2 ** 53 - 1 } as any, 1 as never)',
  'reverse over a length of 2^40': 'return [].reverse.call({ length: 2 ** 40 } as any)',
  'an array of buffers of 1 MB': 'const a: Uint8Array[] = []; for (;;) a.push(new Uint8Array(1e6))',
  'an array of strings of 100 KB': "const a: string[] = []; for (;;) a.push('x'.repeat(1e5))",
};

/** What ends by itself, or waits for ever, without a verdict. */
const UNDECIDED_SCRIPTS: Corpus = {
  'recursion without end': 'const down = (): number => down() + 1; return down();',
  'a promise that never settles': 'return new Promise(() => {});',
  'an exception': 'throw new Error("no");',
  'a verdict that is none': 'return { kind: "forward" };',
};

export const HOSTILE_SCRIPTS: Corpus = { ...GREEDY_SCRIPTS, ...UNDECIDED_SCRIPTS };

/** A script that does so about flows to `port`, and leaves all others to the next script. */
export const hostileScript = (body: string, port: number): string => `
import { decline } from "culvert";
export default {
  flow(flow: any): any {
    if (flow.dst.port !== ${port}) return decline();
    ${body}
  },
};
`;
