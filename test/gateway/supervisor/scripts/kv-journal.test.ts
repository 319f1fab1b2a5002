import { beforeEach, describe, expect, test } from 'bun:test';
import { KvJournal } from '../../../../src/gateway/supervisor/scripts/kv-journal.ts';
import { kvEntryBytes } from '../../../../src/scripts-runtime/kv/kv.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../../../src/scripts-runtime/limits.ts';

const bundle = (names: readonly string[], limits = {}, number = 1) => ({
  number,
  scripts: names.map((name) => ({ name, file: `${name}.ts`, source: '' })),
  limits: { ...DEFAULT_SCRIPT_LIMITS, ...limits },
});

let refused: string[];
let journal: KvJournal;
beforeEach(() => {
  refused = [];
  journal = new KvJournal((script) => void refused.push(script));
  journal.commit(bundle(['a', 'b']), 0);
});

test('has the last write of each key, and no deleted or expired one', () => {
  journal.record([
    { script: 'a', key: 'x', value: 1 },
    { script: 'a', key: 'x', value: 2 },
    { script: 'a', key: 'gone', value: 1 },
    { script: 'b', key: 'x', value: 'other' },
    { script: 'a', key: 'old', value: 1, expiresAt: 100 },
  ]);
  journal.record([{ script: 'a', key: 'gone' }]);
  expect(journal.entries(100)).toEqual([
    { script: 'a', key: 'x', value: 2 },
    { script: 'b', key: 'x', value: 'other' },
  ]);
});

describe('a script that is no more', () => {
  const write = (script: string) => journal.record([{ script, key: 'x', value: 1 }]);
  const scripts = () => journal.entries(0).map(({ script }) => script);

  test('is forgotten with the generation that had it', () => {
    write('a');
    write('b');
    journal.commit(bundle(['b'], {}, 2), 0);
    expect(scripts()).toEqual(['b']);
    write('a');
    expect(refused).toEqual(['a']);
  });

  test('may write while its generation drains', () => {
    journal.retain([1, 2]);
    journal.commit(bundle(['b'], {}, 2), 0);
    write('a');
    expect([scripts(), refused]).toEqual([['a'], []]);
    journal.retain([2]);
    expect(scripts()).toEqual([]);
    write('a');
    expect(refused).toEqual(['a']);
  });

  test('may write for each of the generations that drain', () => {
    for (const number of [2, 3, 4]) {
      journal.retain([1, 2, 3, 4]);
      journal.commit(bundle([`s${number}`], {}, number), 0);
    }
    for (const script of ['a', 's2', 's3', 's4']) write(script);
    expect(refused).toEqual([]);
    journal.retain([3, 4]);
    expect(scripts()).toEqual(['s3', 's4']);
  });

  test('has no room for ever where a host says that it drains for ever', () => {
    const all = Array.from({ length: 100 }, (_, i) => i + 1);
    for (const number of all.slice(1)) {
      journal.retain(all);
      journal.commit(bundle([`s${number}`], {}, number), 0);
      write(`s${number}`);
    }
    expect(scripts()).toHaveLength(17);
    expect(scripts().at(0)).toBe('s84');
  });
});

describe('a bundle beside the one that decides', () => {
  const write = (script: string) => journal.record([{ script, key: 'x', value: 1 }]);

  test.each(['next', 'canary'] as const)('is %s no more, and its scripts are forgotten', (role) => {
    journal.admit(role, bundle(['c'], {}, 2));
    write('c');
    expect(journal.entries(0)).toHaveLength(1);
    journal.retire(role);
    expect(journal.entries(0)).toEqual([]);
    write('c');
    expect(refused).toEqual(['c']);
  });

  test('is a canary that was dropped, and has calls in flight', () => {
    journal.admit('canary', bundle(['c'], {}, 2));
    journal.retain([1, 2]);
    journal.retire('canary');
    write('c');
    expect(refused).toEqual([]);
    journal.retain([1]);
    write('c');
    expect(refused).toEqual(['c']);
  });

  test('is there before the host says so', () => {
    journal.admit('canary', bundle(['c'], {}, 2));
    journal.retain([1]);
    write('c');
    expect(refused).toEqual([]);
  });

  test('that decides from now on goes on with what it has', () => {
    journal.admit('canary', bundle(['b', 'c'], {}, 2));
    journal.retain([1, 2]);
    write('c');
    journal.commit(bundle(['b', 'c'], {}, 2), 0);
    journal.retain([2]);
    write('c');
    expect([journal.entries(0).length, refused]).toEqual([1, []]);
    write('a');
    expect(refused).toEqual(['a']);
  });
});

describe('of a host that lies, it leaves out', () => {
  const size = () => journal.entries(0).length;

  test('scripts that no bundle in memory has', () => {
    for (let i = 0; i < 100; i++) journal.record([{ script: `liar-${i}`, key: 'x', value: 1 }]);
    expect(size()).toBe(0);
    expect(refused).toHaveLength(100);
  });

  test('keys and values that are too long for the limits', () => {
    journal.commit(bundle(['a'], { kvKeyBytes: 4, kvValueBytes: 8 }), 0);
    journal.record([
      { script: 'a', key: 'éé', value: 'x'.repeat(8) },
      { script: 'a', key: 'ééx', value: 1 },
      { script: 'a', key: 'x', value: 'x'.repeat(9) },
    ]);
    expect(journal.entries(0)).toEqual([{ script: 'a', key: 'éé', value: 'x'.repeat(8) }]);
  });

  test('what is more than a store can have, and what it had before', () => {
    const one = kvEntryBytes('0000', 'x');
    journal.commit(bundle(['a', 'b'], { kvBytes: 10 * one }), 0);
    for (let i = 0; i < 1000; i++) {
      journal.record([{ script: 'a', key: String(i).padStart(4, '0'), value: 'x' }]);
    }
    expect(size()).toBe(20);
    // The store of another has its own room, and what is deleted makes some.
    journal.record([
      { script: 'b', key: '0000', value: 'x' },
      { script: 'a', key: '0000' },
      { script: 'a', key: '0999', value: 'y' },
      { script: 'a', key: '0999', value: 'z' },
    ]);
    expect(size()).toBe(21);
    expect(journal.entries(0)).toContainEqual({ script: 'a', key: '0999', value: 'z' });
  });
});

test('what expired makes room when scripts change', () => {
  const room = { kvBytes: kvEntryBytes('x', 1) };
  journal.commit(bundle(['a'], room), 0);
  const write = (key: string, expiresAt?: number) =>
    journal.record([{ script: 'a', key, value: 1, ...(expiresAt && { expiresAt }) }]);
  write('x', 100);
  write('y', 100);
  write('z');
  expect(refused).toEqual(['a']);
  journal.commit(bundle(['a'], room), 100);
  write('z');
  expect(journal.entries(100).map(({ key }) => key)).toEqual(['z']);
});

test('what expired before a host started makes room for that host, which never knew it', () => {
  journal.commit(bundle(['a'], { kvBytes: kvEntryBytes('x', 1) }), 0);
  const write = (key: string, expiresAt?: number) =>
    journal.record([{ script: 'a', key, value: 1, ...(expiresAt && { expiresAt }) }]);
  write('x', 100);
  write('y', 100);
  expect(journal.entries(100)).toEqual([]);
  write('z');
  expect(refused).toEqual([]);
  expect(journal.entries(100).map(({ key }) => key)).toEqual(['z']);
});

test('of bundles in memory together, each limit is the larger one', () => {
  journal.commit(bundle(['a'], { kvBytes: 500, kvKeyBytes: 8, kvValueBytes: 4 }), 0);
  journal.admit('next', bundle(['a'], { kvBytes: 1000, kvKeyBytes: 2, kvValueBytes: 100 }));
  journal.record([{ script: 'a', key: '12345678', value: 'x'.repeat(100) }]);
  journal.admit('next', bundle(['a'], { kvBytes: 1, kvKeyBytes: 2, kvValueBytes: 100 }));
  journal.record([{ script: 'a', key: '87654321', value: 'x'.repeat(100) }]);
  expect(refused).toEqual([]);
});

test('takes what a bundle writes while it is loaded, and what a canary does', () => {
  journal.admit('canary', bundle(['c']));
  journal.admit('next', bundle(['d'], { kvBytes: 0 }));
  journal.record(['a', 'c', 'd'].map((script) => ({ script, key: 'x', value: 1 })));
  expect(journal.entries(0).map(({ script }) => script)).toEqual(['a', 'c']);
  // Of bundles in memory together the larger limits hold.
  journal.admit('next', bundle(['a'], { kvBytes: 0 }));
  journal.record([{ script: 'a', key: 'y', value: 1 }]);
  expect(refused).toEqual(['d']);
});
