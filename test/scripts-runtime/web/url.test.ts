import { expect, test } from 'bun:test';
import { evaluate, thrownBy } from './sandbox.ts';

const PARTS = [
  ...['href', 'origin', 'protocol', 'username', 'password', 'host'],
  ...['hostname', 'port', 'pathname', 'search', 'hash'],
] as const;

const URLS = [
  'https://user:pa%20ss@example.com:8443/a/../b?c=d#e',
  'http://EXAMPLE.com:80/',
  'http://[fd00::1]:80/x y',
  'data:text/plain,hello',
  'http://münchen.example/ü?ü#ü',
];

test('URL has the parts that the native one has', async () => {
  const native = URLS.map((text) => PARTS.map((part) => new URL(text)[part]));
  expect(
    await evaluate(`return ${JSON.stringify(URLS)}.map((text) =>
      ${JSON.stringify(PARTS)}.map((part) => new URL(text)[part]))`),
  ).toEqual(native);
});

test('URL takes a base, and refuses what is none', async () => {
  expect(
    await evaluate(`const base = new URL('http://a/b/c');
      return [new URL('../d', base).href, URL.parse('x', 'http://a').href, URL.parse('x'),
        URL.canParse('/e', base), URL.canParse('/e'), String(base), JSON.stringify({ base }),
        base.toString()];`),
  ).toEqual([
    'http://a/d',
    'http://a/x',
    null,
    true,
    false,
    'http://a/b/c',
    '{"base":"http://a/b/c"}',
    'http://a/b/c',
  ]);
  expect(await thrownBy(`new URL('none')`)).toStartWith('TypeError');
  expect(await thrownBy(`new URL('/a', 'none')`)).toStartWith('TypeError');
});

test('every part of a URL can be set, and a value that does not fit changes nothing', async () => {
  const changes = [
    ['protocol', 'http'],
    ['username', 'me'],
    ['password', 'p@'],
    ['host', 'b.example:81'],
    ['hostname', 'c.example'],
    ['port', '82'],
    ['port', 'none'],
    ['pathname', '/x y'],
    ['search', '?q=1'],
    ['hash', 'h'],
    ['href', 'ftp://d.example/'],
  ] as const;
  const native = new URL('https://a.example/');
  const expected = changes.map(([part, value]) => {
    native[part] = value;
    return native.href;
  });
  expect(
    await evaluate(`const url = new URL('https://a.example/');
      return ${JSON.stringify(changes)}.map(([part, value]) => {
        url[part] = value;
        return url.href;
      });`),
  ).toEqual(expected);
  expect(await thrownBy(`new URL('http://a').href = 'none'`)).toStartWith('TypeError');
});

test('searchParams and search are one thing', async () => {
  expect(
    await evaluate(`const url = new URL('http://a/?b=1&b=2');
      const params = url.searchParams;
      params.append('c', 'x y&z');
      params.delete('b', '1');
      const changed = url.search;
      url.search = '?d=4';
      const renewed = params.get('d');
      url.href = 'http://a/?e=5';
      return [changed, renewed, params.toString(), url.searchParams === params];`),
  ).toEqual(['?b=2&c=x+y%26z', '4', 'e=5', true]);
});

test('URLSearchParams is made of text, records, pairs and another of its kind', async () => {
  expect(
    await evaluate(`const from = (init) => [...new URLSearchParams(init)];
      return [from('?a=1&b=%C3%A9+x&c'), from({ a: 1, b: 'é' }), from([['a', 'b'], ['a', 'c']]),
        from(new URLSearchParams('x=y')), from(new Map([['k', 'v']])), from()];`),
  ).toEqual([
    [
      ['a', '1'],
      ['b', 'é x'],
      ['c', ''],
    ],
    [
      ['a', '1'],
      ['b', 'é'],
    ],
    [
      ['a', 'b'],
      ['a', 'c'],
    ],
    [['x', 'y']],
    [['k', 'v']],
    [],
  ]);
  expect(await thrownBy(`new URLSearchParams([['a']])`)).toStartWith('TypeError');
});

test('URLSearchParams: reading, changing, sorting, and going through', async () => {
  expect(
    await evaluate(`const params = new URLSearchParams('b=1&a=2&b=3');
      const seen = [params.size, params.get('b'), params.get('x'), params.getAll('b'),
        params.has('a'), params.has('a', '9')];
      params.set('b', '4');
      params.set('n', "!'()~*");
      params.sort();
      const each = [];
      params.forEach(function (value, name, all) { each.push(name + value + (all === params)) });
      return [...seen, String(params), [...params.keys()], [...params.values()],
        [...params.entries()].length, each.length, each[0]];`),
  ).toEqual([
    ...[3, '1', null, ['1', '3'], true, false],
    'a=2&b=4&n=%21%27%28%29%7E*',
    ['a', 'b', 'n'],
    ['2', '4', "!'()~*"],
    ...[3, 3, 'a2true'],
  ]);
});

test('a host that takes minutes to encode is none, wherever it stands', async () => {
  const long = 'é.'.repeat(20_000);
  const forms = ['http://', ' hTTps:\\\\', 'ws:', '//', '\thttp:\n/\t/', 'http://user@'];
  expect(
    await evaluate(`const long = ${JSON.stringify(long)};
      const url = new URL('http://a/b'); url.host = long; url.hostname = long;
      return [...${JSON.stringify(forms)}.map((form) => URL.canParse(form + long, 'http://a')),
        URL.canParse('/x', 'http://' + long), url.href,
        URL.canParse('http://a/' + long), URL.canParse('x' + long, 'http://a'),
        URL.canParse('data:text/plain,' + long)]`),
  ).toEqual([...forms.map(() => false), false, 'http://a/b', true, true, true]);
});

test('a query is taken apart up to 65,536 characters', async () => {
  expect(
    await evaluate(`return [new URLSearchParams('a&'.repeat(32_768)).size,
      new URL('http://a/?' + 'x'.repeat(100_000)).search.length]`),
  ).toEqual([32_768, 100_001]);
  expect(await thrownBy("new URLSearchParams('a&'.repeat(32_769))")).toContain('RangeError');
});
