/** What a newcomer copies from the documents works. */
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleOf } from '../src/gateway/author/script-sources.ts';
import { parseConfig } from '../src/gateway/config/load.ts';
import { runScriptTests } from '../src/scripts-runtime/offline/run-tests.ts';
import { ScriptWorld } from './scripts-runtime/script-world.ts';

const ROOT = join(import.meta.dir, '..');
const textOf = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const README = textOf('README.md');
const NAT = textOf('docs/nat.md');

/** Code of one language, in the order of the document. */
const blocks = (text: string, language: string): string[] =>
  Array.from(
    text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms')),
    ([, code]) => code as string,
  );

const configs = blocks(README, 'yaml');
const scripts = blocks(README, 'ts');

async function worldOf(script: string | undefined): Promise<ScriptWorld> {
  const world = new ScriptWorld();
  await world.load({ readme: script ?? '' });
  return world;
}

describe('README', () => {
  test.each(configs)('the config is one that is taken: %s', (text) => {
    const { listeners, admin } = parseConfig(text, 'README.md');
    expect(listeners.length + admin.tokens.length).toBeGreaterThan(0);
  });

  test('the first script does what its comments say', async () => {
    const world = await worldOf(scripts[0]);
    expect(world.outcome('203.0.113.7', 80, { source: '192.0.2.66' })).toBe('reject rst blocked');
    expect(world.outcome('203.0.113.7', 22)).toBe('forward');
    expect(world.outcome('203.0.113.7', 443)).toBe('forward 10.0.0.5:8443');
    expect(world.outcome('203.0.113.7', 25)).toBe('decline');
    expect(world.outcome('203.0.113.7', 443, { protocol: 'udp' })).toBe('decline');
  });

  test('the script about protocols does what its comments say', async () => {
    const world = await worldOf(scripts[1]);
    expect(world.outcome('203.0.113.7', 0, { protocol: 'icmp' })).toBe('forward');
    expect(world.outcome('203.0.113.7', 80)).toBe('nat masquerade');
    expect(world.outcome('203.0.113.7', 53, { protocol: 'udp' })).toBe('forward 10.0.0.53:53');
    expect(world.outcome('203.0.113.7', 443, { protocol: 'udp' })).toBe('reject rst no QUIC');
    expect(world.outcome('203.0.113.7', 123, { protocol: 'udp' })).toBe('nat masquerade');
  });

  test('the test of a script passes', async () => {
    const [, , source = '', testOfIt = ''] = scripts;
    const tests = { 'route.test.ts': testOfIt };
    const bundle = bundleOf([{ name: 'route', file: 'route.ts', source, tests }]);
    const report = await runScriptTests(bundle);
    expect(
      report.files.flatMap(({ tests }) => tests.map(({ failure }) => failure?.message)),
    ).toEqual([undefined, undefined]);
  });
});

describe('docs/nat.md', () => {
  test('the time-outs of its table are the defaults', () => {
    const { timeouts } = parseConfig('', 'c').conntrack;
    const said = Array.from(
      NAT.matchAll(/^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \|/gm),
      ([, names = '', values = '']) => {
        const durations = values.replaceAll('*', '').split(',');
        return names
          .replaceAll('`', '')
          .split(',')
          .map((name, i) => `${name.trim()}: ${durations[i]?.trim()}`);
      },
    ).flat();
    const config = `conntrack: {timeouts: {${said.join(', ')}}}`;
    expect(said).toHaveLength(Object.keys(timeouts).length);
    expect(parseConfig(config, 'docs/nat.md').conntrack.timeouts).toEqual(timeouts);
  });

  test('every option that it names is one of the configuration', () => {
    const example = /`conntrack: (\{ timeouts.*?\})`/.exec(NAT)?.[1];
    expect(parseConfig(`conntrack: ${example}`, 'docs/nat.md').conntrack.timeouts.udp).toBe(
      300_000,
    );
    const config = parseConfig('', 'c');
    const sections: Readonly<Record<string, object>> = {
      nat: config.nat,
      conntrack: { ...config.conntrack, buckets: 0 },
      limits: config.limits,
    };
    const named = Array.from(NAT.matchAll(/`(nat|conntrack|limits)\.(\w+)/g));
    expect(named.length).toBeGreaterThan(8);
    for (const [, section = '', option = ''] of named) {
      expect(Object.keys(sections[section] ?? {})).toContain(option);
    }
  });
});
