/** What sniffers answer, and what authors of scripts are promised, stand in two files. */
import { afterAll, expect, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dir, '../../..');
const RUNTIME = join(ROOT, 'src/scripts-runtime');
const DECLARED = readFileSync(join(RUNTIME, 'culvert.d.ts'), 'utf8');
const SNIFFED = readFileSync(join(RUNTIME, 'sniff/sniffed.ts'), 'utf8');

/**
 * Each line is an error where the two types are not identical, `readonly` and `?` included: QUIC
 * has no connection, and nothing but a connection has a server that may speak first.
 */
const COMPARISON = `
import type { GatewayScript, Sniffed, SniffedDatagrams, SniffOptions } from 'culvert';
import type * as own from './sniffed.ts';

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
type Own<P extends own.SniffProtocol> = Extract<own.Sniffed, { proto: P }>;
type OfConns = Exclude<own.SniffProtocol, 'quic'>;
type OfDatagrams = 'quic' | 'dns';
type Nothing = {
  readonly proto: 'unknown';
  readonly why: Exclude<own.SniffedNothing['why'], 'server-first'>;
};

export const conns: Same<Own<OfConns> | own.SniffedNothing, Sniffed> = true;
export const datagrams: Same<Own<OfDatagrams> | Nothing, SniffedDatagrams> = true;
export const asked: Same<readonly OfConns[], NonNullable<SniffOptions['protocols']>> = true;
export const wanted: Same<readonly OfDatagrams[], NonNullable<GatewayScript['sniffs']>> = true;
`;

const folder = mkdtempSync(join(tmpdir(), 'culvert-sniffed-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** @returns names of the comparisons that found a difference, or what else tsc says */
function differences(declared: string, sniffed: string): string[] {
  writeFileSync(join(folder, 'culvert.d.ts'), declared);
  writeFileSync(join(folder, 'sniffed.ts'), sniffed);
  writeFileSync(join(folder, 'comparison.ts'), COMPARISON);
  const { stdout } = Bun.spawnSync(
    [
      join(ROOT, 'node_modules/.bin/tsc'),
      ...['--noEmit', '--strict', '--target', 'esnext', '--module', 'preserve'],
      ...['--allowImportingTsExtensions', '--lib', 'esnext', '--types', '', '--pretty', 'false'],
      ...['--skipLibCheck', 'culvert.d.ts', 'comparison.ts'],
    ],
    { cwd: folder },
  );
  const lines = COMPARISON.split('\n');
  return stdout
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((text) => {
      const at = Number(/^comparison\.ts\((\d+),/.exec(text)?.[1] ?? 0);
      return /^export const (\w+)/.exec(lines[at - 1] ?? '')?.[1] ?? text;
    });
}

test('what is declared for scripts is what sniffers answer', () => {
  expect(differences(DECLARED, SNIFFED)).toEqual([]);
}, 30_000);

const BOTH = ['conns', 'datagrams'];

test.each<[what: string, from: string, to: string, where: string[]]>([
  ['a member that is no longer declared', 'readonly banner: string', '', ['conns']],
  [
    'a member that is declared otherwise',
    'readonly qtype: string',
    'readonly qtype?: string',
    BOTH,
  ],
  ['a protocol that nobody may ask for', "'ssh' | 'dns')[]", "'ssh')[]", ['asked']],
])(
  '%s is seen',
  (_what, from, to, where) => {
    expect(DECLARED).toContain(from);
    expect(differences(DECLARED.replaceAll(from, to), SNIFFED)).toEqual(where);
  },
  30_000,
);
