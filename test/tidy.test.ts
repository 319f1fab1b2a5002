/** What a reader may take for granted about the whole tree, and no linter checks. */
import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { Counter } from '../src/stack/counters.ts';

const ROOT = join(import.meta.dir, '..');

const SOURCE_LINES_MAX = 400;
const COLUMNS_MAX = 100;

/** Files of `src` longer than that, each with the reason why it has one subject only. */
const LONG_FILES: Readonly<Record<string, string>> = {
  'src/scripts-runtime/culvert.d.ts': 'the whole API in one file, as `culvert types` prints it',
  'src/stack/stack.ts': 'the one public face: a short method for each thing that may be asked',
  'src/stack/tcp/tcb.ts': 'one pair of accessors for each field of the block, and nothing else',
};

/** Files of `src/stack` without a test of the same name, each with the reason. */
const UNTESTED: Readonly<Record<string, string>> = {
  'src/stack/answer-tap.ts': 'a type, and one that looks away; conntrack.test.ts shows it answers',
  'src/stack/arena.ts': 'a bump allocator: every test of a table goes through it',
  'src/stack/flow-counts.ts': 'a table of cells; counters.test.ts counts in each of them',
  'src/stack/histograms.ts': 'tables of bounds; counters.test.ts counts in each bucket',
  'src/stack/packet-tap.ts': 'a type, and one that looks away; captures go through it',
  'src/stack/tcp/tcb-snapshot.ts': 'flow-info.test.ts of the supervisor compares it with the TCB',
  'src/stack/close-reason.ts': 'a table of words',
  'src/stack/layout.ts': 'a type, and a reader of one line over flow-row.ts',
  'src/stack/reassembly/chunks.ts': 'a pool; the tests of reassembly fill and empty it',
  'src/stack/reassembly/partial-packet.ts': 'what reassembly.ts keeps; its tests see every part',
  'src/stack/time.ts': 'types and one-line arithmetic',
  'src/stack/verdict.ts': 'types, and a list of names',
  'src/stack/device.ts': 'types only',
  'src/stack/datagram-egress.ts': 'datagrams.test.ts sends both ways, and reads what comes out',
  'src/stack/frame-writer.ts': 'the last step of egress.ts and datagram-egress.ts, seen by theirs',
  'src/stack/icmp-error-kind.ts': 'tables of numbers; forwarder.test.ts has each of them',
  'src/stack/icmp-sender.ts': 'forwarder.test.ts and datagrams.test.ts read every error it sends',
  'src/stack/parked-packets.ts': 'datagrams.test.ts parks, replays and releases',
  'src/stack/stack-parts.ts': 'a constructor; every test of the stack goes through it',
  'src/stack/conntrack/context.ts': 'types only',
  'src/stack/packet.ts': 'a type, and its look-up; every test of ingress goes through it',
  'src/stack/tcp/context.ts': 'types only',
  'src/stack/tcp/owner.ts': 'types only',
  'src/stack/tcp/syn-packet.ts': 'a type, and a loop that the forwarder and the cookies share',
  'src/stack/tcp/packet-headers.ts': 'sums of constants, which every test of a path MTU checks',
  'src/stack/tcp/dialing.ts': 'the end of a dial; the traces of active-open.test.ts see it',
  'src/stack/tcp/initial-sequence.ts': 'a hash and a clock; the forwarder and the dials share it',
  'src/stack/tcp/peer-syn.ts': 'the traces of the forwarder and of syn-sent.ts see each option',
  'src/stack/tcp/path-mtu.ts': 'only icmp-errors.ts calls it; the traces of its test see it',
  'src/stack/tcp/states.ts': 'a table; the traces in test/stack/tcp walk it',
  'src/stack/wire/ecn.ts': 'a table of numbers',
  'src/stack/wire/icmp.ts': 'what icmpv4.ts and icmpv6.ts share; the tests of both go through it',
  'src/stack/wire/protocol.ts': 'a table of numbers',
};

/**
 * What a layer may import: folders and files of `src`, and packages. Longer paths win, so that a
 * folder inside a layer can have a rule of its own.
 */
const LAYERS: readonly { readonly path: string; readonly allowed: readonly string[] }[] = [
  { path: 'src/stack/wire/', allowed: ['src/stack/wire/', 'src/stack/drop-reason.ts'] },
  { path: 'src/stack/', allowed: ['src/stack/'] },
  { path: 'src/ffi/', allowed: ['src/ffi/', 'src/stack/', 'bun:ffi', 'node:fs', 'node:os'] },
  {
    path: 'src/scripts-runtime/',
    allowed: [
      'src/scripts-runtime/',
      'src/stack/verdict.ts',
      // declarations of one module use those of the other
      'culvert',
      // isIP
      'node:net',
      // the Initial packets of QUIC
      'node:crypto',
      // posix: the paths of a script's files
      'node:path',
      // domainToASCII
      'node:url',
      'quickjs-emscripten-core',
      '@jitl/quickjs-singlefile-mjs-release-sync',
      // As text, for the sandbox.
      'web-streams-polyfill/dist/ponyfill.mjs',
    ],
  },
  { path: 'src/gateway/', allowed: ['src/', 'scripts/', ''] },
  {
    path: 'src/gateway/messages/',
    allowed: ['src/gateway/messages/', 'src/scripts-runtime/', 'src/ffi/', 'src/stack/'],
  },
  {
    path: 'src/gateway/flow-filter/',
    allowed: ['src/gateway/flow-filter/', 'src/gateway/config/value-texts.ts', 'src/stack/'],
  },
  // Both children measure their sleep with it.
  { path: 'src/gateway/idle-share.ts', allowed: [] },
  { path: 'src/gateway/config/value-texts.ts', allowed: ['src/stack/wire/'] },
  {
    path: 'src/gateway/config/',
    allowed: [
      ...['src/gateway/config/', 'src/gateway/messages/', 'src/scripts-runtime/', 'src/stack/'],
      ...['scripts/default.ts', ''],
    ],
  },
  {
    path: 'src/gateway/dataplane/',
    allowed: [
      ...['src/gateway/dataplane/', 'src/gateway/messages/', 'src/gateway/flow-filter/'],
      ...['src/gateway/idle-share.ts', 'src/ffi/', 'src/stack/'],
    ],
  },
  {
    path: 'src/gateway/script-host/',
    allowed: [
      ...['src/gateway/script-host/', 'src/gateway/messages/', 'src/scripts-runtime/'],
      'src/gateway/idle-share.ts',
      ...['src/ffi/', 'src/stack/', 'node:net', 'node:stream', 'node:tls'],
    ],
  },
  {
    path: 'src/gateway/author/',
    allowed: [
      ...['src/gateway/author/', 'src/gateway/supervisor/', 'src/gateway/config/'],
      ...['src/gateway/messages/', 'src/scripts-runtime/', 'src/stack/', 'scripts/templates/', ''],
    ],
  },
  {
    path: 'src/gateway/supervisor/',
    allowed: [
      ...['src/gateway/supervisor/', 'src/gateway/config/', 'src/gateway/flow-filter/'],
      ...['src/gateway/messages/', 'src/ffi/', 'src/stack/'],
      // `explain` asks the same code as the data plane.
      'src/gateway/dataplane/listeners.ts',
      // Limits, checks of names, types; nothing that runs a script.
      ...['src/scripts-runtime/', ''],
    ],
  },
];

interface Edge {
  readonly from: string;
  /** A file of the repository, or the name of a package. */
  readonly to: string;
  readonly isFile: boolean;
  /** The import vanishes in the binary. */
  readonly isType: boolean;
}

/** `src/stack/tcp/`, `tcp/output.ts`, `output.ts` in a text. */
const PATH_PATTERN =
  /(?<![\w./*-])(?<name>(?:[\w-]+\/)*[\w.-]+\.(?:ts|mjs)|(?:[a-z][\w-]*\/)+)(?!\w)/g;

/** `import … from 'x'`, `export … from 'x'`; `import 'x'`, `import('x')`. */
const FROM_PATTERN =
  /^\s*(?:import|export)\b(?<head>[^'"`;()]*?)\bfrom\s*['"](?<name>[^'"$]+)['"]/gm;
const BARE_PATTERN = /\bimport(?<head>)\s*\(?\s*['"](?<name>[^'"$]+)['"]/gm;

const tracked: readonly string[] = listFiles();
const sources = tracked.filter((file) => file.startsWith('src/') && file.endsWith('.ts'));
const textOf = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const edges: readonly Edge[] = sources.flatMap(importsOf);

/** Every file of the work tree that git does not ignore; outside a repository, what globs find. */
function listFiles(): string[] {
  const git = Bun.which('git')
    ? Bun.spawnSync(['git', 'ls-files', '--cached', '--others', '--exclude-standard'], {
        cwd: ROOT,
      })
    : undefined;
  const files =
    git?.exitCode === 0
      ? git.stdout.toString().split('\n').filter(Boolean)
      : [...new Bun.Glob('{src,scripts,test,build,.ci}/**/*').scanSync({ cwd: ROOT, dot: true })];
  return files.filter((file) => existsSync(join(ROOT, file))).sort();
}

function importsOf(from: string): Edge[] {
  const text = textOf(from).replaceAll(/\/\*[\s\S]*?\*\//g, '');
  const found = [...text.matchAll(FROM_PATTERN), ...text.matchAll(BARE_PATTERN)];
  return found.map(({ groups }) => {
    const name = groups?.['name'] ?? '';
    const isFile = name.startsWith('.');
    return {
      from,
      to: isFile ? normalize(join(dirname(from), name)) : name,
      isFile,
      isType: /^\s*type\b/.test(groups?.['head'] ?? ''),
    };
  });
}

function allowedFor(file: string): readonly string[] {
  const layers = LAYERS.filter(({ path }) => file.startsWith(path));
  return layers.toSorted((a, b) => b.path.length - a.path.length)[0]?.allowed ?? [];
}

const isAllowed = ({ from, to, isFile }: Edge): boolean =>
  allowedFor(from).some((rule) => (rule.endsWith('/') ? to.startsWith(rule) : to === rule)) ||
  // `''` stands for every package.
  (!isFile && allowedFor(from).includes(''));

/** One circle of imports, as a path; empty when there is none. Types vanish, and may go round. */
function findCircle(): string[] {
  const next = Map.groupBy(
    edges.filter(({ isFile, isType }) => isFile && !isType),
    ({ from }) => from,
  );
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const { to } of next.get(file) ?? []) {
      const circle = walk(to, [...path, file]);
      if (circle.length > 0) return circle;
    }
    done.add(file);
    return [];
  };
  for (const file of sources) {
    const circle = walk(file, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

/** Packages that a process loads whose first file is `entry`. */
function packagesOf(entry: string): string[] {
  const files = new Set([entry]);
  const packages = new Set<string>();
  // A set that grows while it is walked is walked to its new end.
  for (const file of files) {
    for (const { from, to, isFile, isType } of edges) {
      if (from === file && !isType) (isFile ? files : packages).add(to);
    }
  }
  return [...packages].sort();
}

/** Places in `files` where a pattern stands: `src/a.ts:12`. */
function placesOf(pattern: RegExp, files: readonly string[]): string[] {
  return files.flatMap((file) =>
    textOf(file)
      .split('\n')
      .flatMap((line, i) => (pattern.test(line) ? [`${file}:${i + 1}`] : [])),
  );
}

test('imports point down only: gateway, scripts-runtime and ffi, stack, wire', () => {
  const upward = edges.filter((edge) => !isAllowed(edge));
  expect(upward.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
});

test('the import reader sees the edges that the layers are about', () => {
  // A few that stand for all: were they not found, the test above would pass on anything.
  expect(edges.length).toBeGreaterThan(sources.length);
  for (const [from, to] of [
    ['src/stack/flow-row.ts', 'src/stack/wire/ip-address.ts'],
    ['src/gateway/messages/control.ts', 'src/stack/verdict.ts'],
    ['src/gateway/config/schema.ts', 'zod'],
  ] as const) {
    expect(edges.some((edge) => edge.from === from && edge.to === to)).toBe(true);
  }
});

test('the parts of the supervisor know of the API its shapes at most', () => {
  const parts = /^src\/gateway\/supervisor\/(?!api\/)\w+\//;
  const upward = edges.filter(
    ({ from, to, isType }) =>
      !isType && parts.test(from) && to.startsWith('src/gateway/supervisor/api/'),
  );
  expect(upward.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
});

test('what decides about flows knows nothing of the tools that decide without a gateway', () => {
  const tools = 'src/scripts-runtime/offline/';
  const upward = edges.filter(
    ({ from, to }) =>
      from.startsWith('src/scripts-runtime/') && !from.startsWith(tools) && to.startsWith(tools),
  );
  expect(upward.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
});

test('a child process loads the packages that it needs, and no others', () => {
  expect(packagesOf('src/gateway/dataplane/main.ts')).toEqual(['bun:ffi', 'node:fs']);
  const ofHost = packagesOf('src/gateway/script-host/main.ts');
  expect(ofHost.filter((name) => !name.includes(':')).sort()).toEqual([
    '@jitl/quickjs-singlefile-mjs-release-sync',
    'quickjs-emscripten-core',
    'web-streams-polyfill/dist/ponyfill.mjs',
  ]);
});

test('the parser that coverage needs is loaded by the command that wants it, and then only', () => {
  const importers = (name: string): string[] =>
    edges.filter(({ to, isType }) => to === name && !isType).map(({ from }) => from);
  expect(importers('@babel/core')).toEqual(['src/gateway/author/instrument.ts']);
  expect(importers('src/gateway/author/instrument.ts')).toEqual([
    'src/gateway/author/covered-tests.ts',
  ]);
  expect(importers('src/gateway/author/covered-tests.ts')).toHaveLength(1);
  expect(placesOf(/^(?:im|ex)port (?!type ).*\/covered-tests\.ts'/, sources)).toEqual([]);
});

test('every imported file exists', () => {
  const missing = edges.filter(({ to, isFile }) => isFile && !existsSync(join(ROOT, to)));
  expect(missing.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
});

test('no imports go in a circle', () => {
  expect(findCircle()).toEqual([]);
});

test(`files of src have at most ${SOURCE_LINES_MAX} lines, or a reason`, () => {
  const long = sources.filter((file) => textOf(file).split('\n').length > SOURCE_LINES_MAX + 1);
  expect(long.filter((file) => LONG_FILES[file] === undefined)).toEqual([]);
  expect(Object.keys(LONG_FILES).filter((file) => !long.includes(file))).toEqual([]);
});

test(`lines of code have at most ${COLUMNS_MAX} columns`, () => {
  const code = tracked.filter((file) => /\.(ts|mjs)$/.test(file));
  expect(placesOf(new RegExp(`^(?!\\s*// biome-ignore).{${COLUMNS_MAX + 1},}`), code)).toEqual([]);
});

test('nothing is left to do, and nothing is printed past the logger', () => {
  // Spelled apart, so that this file does not find itself.
  const unfinished = new RegExp(
    ['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'not ' + 'implemented'].join('|'),
  );
  expect(
    placesOf(
      unfinished,
      tracked.filter((file) => /\.(ts|mjs)$/.test(file)),
    ),
  ).toEqual([]);
  expect(placesOf(/\bconsole\./, sources)).toEqual([]);
});

test('each counter is counted, and shown to somebody', () => {
  const textBelow = (...folders: readonly string[]): string =>
    sources
      .filter((file) => folders.some((one) => file.startsWith(one)))
      .map(textOf)
      .join();
  const counting = textBelow('src/stack/', 'src/gateway/dataplane/');
  const others = ['src/stack/accounting.ts', 'src/gateway/dataplane/welcome.ts'];
  const showing = textBelow('src/gateway/supervisor/', ...others);
  const isNamed = (text: string, name: string): boolean =>
    new RegExp(`\\bCounter\\.${name}\\b`).test(text);
  const names = Object.keys(Counter);
  expect(names.filter((name) => !isNamed(counting, name) || !isNamed(showing, name))).toEqual([]);
});

test('one file opens a shared library', () => {
  const opening = placesOf(/\bdlopen\(/, sources);
  expect(new Set(opening.map((place) => place.split(':')[0]))).toEqual(
    new Set(['src/ffi/libc.ts']),
  );
});

test('every file of the stack has a test of the same name, or a reason', () => {
  const untested = sources
    .filter((file) => file.startsWith('src/stack/'))
    .filter((file) => !existsSync(join(ROOT, file.replace(/^src\/(.*)\.ts$/, 'test/$1.test.ts'))));
  expect(untested.filter((file) => UNTESTED[file] === undefined)).toEqual([]);
  expect(Object.keys(UNTESTED).filter((file) => !untested.includes(file))).toEqual([]);
});

test('relative links in the documents lead somewhere', () => {
  const broken = tracked
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) =>
      [...textOf(file).matchAll(/\]\((?!https?:|mailto:|#)(?<path>[^)#\s]+)[^)]*\)/g)]
        .map(({ groups }) => groups?.['path'] ?? '')
        .filter((path) => !existsSync(join(ROOT, dirname(file), path)))
        .map((path) => `${file}: ${path}`),
    );
  expect(broken).toEqual([]);
});

test('files and folders that the documents name exist', () => {
  // Folders that stand above others are implied: a name is the end of a path.
  const paths = tracked.flatMap((file) =>
    file.split('/').map((_, i, parts) => `/${parts.slice(0, i + 1).join('/')}`),
  );
  const isThere = (name: string): boolean =>
    paths.some((path) => path.endsWith(`/${name.replace(/\/$/, '')}`));
  const missing = [
    'ARCHITECTURE.md',
    'BENCHMARKS.md',
    'docs/device.md',
    'docs/nat.md',
    'docs/parity.md',
  ].flatMap((file) =>
    [...textOf(file).matchAll(PATH_PATTERN)]
      .map(({ groups }) => groups?.['name'] ?? '')
      .filter((name) => !isThere(name))
      .map((name) => `${file}: ${name}`),
  );
  expect(missing).toEqual([]);
});

test('no path of one machine stands in the tree', () => {
  const home = /(?<![\w.])\/(home|root|Users|work)\/(?!\$)/;
  const text = tracked.filter((file) => /\.(ts|mjs|md|json|yaml|yml)$|^\.ci\//.test(file));
  expect(
    placesOf(
      home,
      text.filter((file) => file !== 'test/tidy.test.ts'),
    ),
  ).toEqual([]);
});
