/** What `culvert types` declares of globals, against what there is in the sandbox: both ways. */
import { expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SCRIPT_TYPES } from '../../../src/scripts-runtime/types.ts';
import { evaluate } from './sandbox.ts';

const GLOBALS = readFileSync(
  new URL('../../../src/scripts-runtime/culvert-globals.d.ts', import.meta.url),
  'utf8',
);

/** Of the standard library of JavaScript, as TypeScript's `lib: ["ESNext"]` declares it. */
const LANGUAGE = [
  ...['AggregateError', 'Array', 'ArrayBuffer', 'BigInt', 'BigInt64Array', 'BigUint64Array'],
  ...['Boolean', 'DataView', 'Date', 'Error', 'EvalError', 'FinalizationRegistry'],
  ...['Float16Array', 'Float32Array', 'Float64Array', 'Infinity', 'Int16Array', 'Int32Array'],
  ...[
    'Int8Array',
    'Iterator',
    'JSON',
    'Map',
    'Math',
    'NaN',
    'Number',
    'Object',
    'Promise',
    'Proxy',
  ],
  ...['RangeError', 'ReferenceError', 'Reflect', 'RegExp', 'Set', 'SharedArrayBuffer', 'String'],
  ...['Symbol', 'SyntaxError', 'TypeError', 'URIError', 'Uint16Array', 'Uint32Array'],
  ...['Uint8Array', 'Uint8ClampedArray', 'WeakMap', 'WeakRef', 'WeakSet', 'decodeURI'],
  ...['decodeURIComponent', 'encodeURI', 'encodeURIComponent', 'escape', 'globalThis', 'isFinite'],
  ...['isNaN', 'parseFloat', 'parseInt', 'undefined', 'unescape'],
];

interface Declared {
  readonly base?: string;
  readonly statics: string[];
  readonly members: string[];
}

const MEMBER =
  /^ {2}(?<static>static )?(?:readonly )?(?<name>\w+|\[Symbol\.\w+\])\??(?:<[^(]*)?[(:]/gm;

function membersOf(body: string, base: string | undefined): Declared {
  const statics = new Set<string>();
  const members = new Set<string>();
  for (const { groups } of body.matchAll(MEMBER)) {
    const name = groups?.['name'] ?? '';
    if (name === 'constructor') continue;
    (groups?.['static'] === undefined ? members : statics).add(name);
  }
  return { ...(base === undefined ? {} : { base }), statics: [...statics], members: [...members] };
}

function declaredClasses(): Record<string, Declared> {
  const pattern = /^declare class (\w+)(?:<[^{]*?>)?(?: extends (\w+))? \{\n(.*?)^\}/gms;
  return Object.fromEntries(
    Array.from(GLOBALS.matchAll(pattern), ([, name = '', base, body = '']) => [
      name,
      membersOf(body, base),
    ]),
  );
}

/** Globals that are objects, by name. */
function declaredObjects(): Record<string, Declared> {
  const constants = GLOBALS.matchAll(/^declare const (\w+): (?!ErrorConstructor)(\w+);/gm);
  return Object.fromEntries(
    Array.from(constants, ([, name = '', type = '']) => {
      const body = new RegExp(`^interface ${type} \\{\\n(.*?)^\\}`, 'ms').exec(GLOBALS)?.[1];
      return [name, membersOf(body ?? '', undefined)];
    }),
  );
}

const declaredFunctions = () =>
  Array.from(GLOBALS.matchAll(/^declare function (\w+)/gm), ([, name = '']) => name);

/**
 * Code for the sandbox: own names of an object, symbols as `[Symbol.x]`, without the usual, and
 * without what web-streams-polyfill marks as its own.
 */
const NAMES_OF = `
  const USUAL = ['constructor', '[Symbol.toStringTag]'];
  const namesOf = (object, usual = USUAL) => Reflect.ownKeys(object)
    .map((key) => typeof key === 'symbol' ? '[' + key.description + ']' : key)
    .filter((name) => !usual.includes(name) && !/^_|\\[\\[/.test(name));
  const differ = (where, real, declared) => [
    ...real.filter((name) => !declared.includes(name)).map((name) => where + name + ' is there'),
    ...declared.filter((name) => !real.includes(name)).map((name) => where + name + ' is not'),
  ];`;

test('the reader of the declarations sees what they say', () => {
  expect(Object.keys(declaredClasses())).toHaveLength(24);
  expect(declaredClasses()['URL']).toMatchObject({ statics: ['canParse', 'parse'] });
  expect(declaredClasses()['AbortSignal']).toMatchObject({ base: 'EventTarget' });
  expect(declaredClasses()['URLSearchParams']?.members).toContain('[Symbol.iterator]');
  expect(declaredObjects()['crypto']?.members).toEqual(['subtle', 'getRandomValues', 'randomUUID']);
  expect(declaredFunctions()).toContain('setTimeout');
});

test('every global that is declared exists, and no other but those of the language', async () => {
  const declared = [
    ...LANGUAGE,
    ...Object.keys(declaredClasses()),
    ...Object.keys(declaredObjects()),
    ...declaredFunctions(),
    'InternalError',
  ];
  expect(GLOBALS).toContain('declare const InternalError: ErrorConstructor;');
  expect(
    await evaluate(`${NAMES_OF}
      return differ('', namesOf(globalThis), ${JSON.stringify(declared)});`),
  ).toEqual([]);
});

test('every member of a class that is declared exists, and no other', async () => {
  expect(
    await evaluate(`${NAMES_OF}
      const declared = ${JSON.stringify(declaredClasses())};
      return Object.entries(declared).flatMap(([name, { base, statics, members }]) => {
        const real = globalThis[name];
        const inherited = declared[base]?.members ?? [];
        const own = namesOf(real.prototype);
        // A base that is no global adds to what the class has.
        const between = Object.getPrototypeOf(real.prototype);
        const { constructor } = between;
        const isHidden = constructor !== Object && globalThis[constructor.name] !== constructor;
        const all = isHidden ? [...own, ...namesOf(between)] : own;
        return [
          ...differ(name + '.prototype.', all.filter((one) => !inherited.includes(one)), members),
          ...differ(name + '.', namesOf(real, ['prototype', 'length', 'name']), statics),
        ];
      });`),
  ).toEqual([]);
});

test('every member of a global object that is declared exists, and no other', async () => {
  const objects = { ...declaredObjects(), 'crypto.subtle': { members: ['digest'], statics: [] } };
  expect(
    await evaluate(`${NAMES_OF}
      return Object.entries(${JSON.stringify(objects)}).flatMap(([path, { members }]) => {
        const object = path.split('.').reduce((value, name) => value[name], globalThis);
        const prototype = Object.getPrototypeOf(object);
        const isPlain = prototype === Object.prototype;
        const all = namesOf(object).concat(isPlain ? [] : namesOf(prototype));
        return differ(path + '.', all, members);
      });`),
  ).toEqual([]);
  expect(GLOBALS).toContain('interface SubtleCrypto {\n  digest(');
});

test('what is declared as a function is one, and can be replaced as others can', async () => {
  expect(
    await evaluate(`return ${JSON.stringify(declaredFunctions())}.filter((name) => {
      const isFunction = typeof globalThis[name] === 'function';
      globalThis[name] = 1;
      return !isFunction || globalThis[name] !== 1;
    });`),
  ).toEqual([]);
});

test('a script is checked against the declarations alone, without those of a browser', () => {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-types-'));
  try {
    writeFileSync(join(folder, 'culvert.d.ts'), SCRIPT_TYPES);
    writeFileSync(join(folder, 'good.ts'), GOOD);
    writeFileSync(join(folder, 'bad.ts'), BAD);
    const options = ['--noEmit', '--strict', '--target', 'esnext', '--module', 'preserve'];
    const run = (file: string) =>
      Bun.spawnSync(
        [
          join(import.meta.dir, '../../../node_modules/.bin/tsc'),
          ...options,
          ...['--lib', 'esnext', '--types', '', '--pretty', 'false', 'culvert.d.ts', file],
        ],
        { cwd: folder },
      ).stdout.toString();
    expect(run('good.ts')).toBe('');
    const places = Array.from(run('bad.ts').matchAll(/bad\.ts\((\d+),/g), ([, line]) => line);
    expect(places).toEqual(['3', '4', '5']);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 30_000);

const GOOD = `import { decline, type FlowInfo, type GatewayScript } from 'culvert';
export default {
  async flow(flow: FlowInfo, _env, ctx) {
    const signal = AbortSignal.any([flow.signal, ctx.signal, AbortSignal.timeout(100)]);
    signal.addEventListener('abort', (event) => ctx.log.info({ type: event.type }));
    const url = new URL('https://a.example/?b=c');
    url.searchParams.append('d', 'e');
    for (const [name, value] of url.searchParams) console.log(name, value);
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(url.href));
    const text = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(new Uint8Array(digest));
        controller.close();
      },
    }).pipeThrough(new TextDecoderStream());
    for await (const part of text) console.log(btoa(part));
    const timer: number = setInterval((n: number) => performance.now() + n, 10, 1);
    clearInterval(timer);
    await text.pipeTo(new WritableStream({ write: (chunk) => console.log(chunk) }), { signal });
    return structuredClone({ verdict: decline() }).verdict;
  },
} satisfies GatewayScript;
`;

const BAD = `import { decline } from 'culvert';
export default { flow: () => decline() };
document.title = 'x';
fetch('http://a.example');
new AbortSignal();
`;

test('what the types say is missing of the standard library is missing', async () => {
  const [, list = ''] = /Of that library it lacks (.*?) and their like/s.exec(GLOBALS) ?? [];
  const names = Array.from(list.matchAll(/`([\w.]+)`/g), ([, name]) => name);
  expect(names).toContain('Intl');
  const there = names.map((name) => `'${name}' in globalThis, '${name}' in Uint8Array.prototype`);
  expect(await evaluate(`return [${there.join()}, 'fromAsync' in Array].includes(true);`)).toBe(
    false,
  );
});
