import { describe, expect, test } from 'bun:test';
import { formatConfig } from '../../../src/gateway/config/format.ts';

const format = (text: string) => formatConfig(text, 'c.yaml', false);

describe('the canonical form', () => {
  test('has the order of the schema, two spaces, quotes where they are needed', () =>
    expect(
      format(
        'log:\n    level: "warn"\ndevice:\n    mtu: 1400\n    name: "x0"\n' +
          '    addresses: ["fd00::1/64"]\n',
      ),
    ).toBe('device:\n  name: x0\n  mtu: 1400\n  addresses: [ fd00::1/64 ]\nlog:\n  level: warn\n'));

  test('keeps comments beside what they are about, and blank lines between sections', () =>
    expect(
      format(
        '# what it is\n\n# how loud\nlog: # here\n  level: warn # not info\n\n# the device\n' +
          'device:\n  mtu: 1400\n  # its name\n  name: x0\n',
      ),
    ).toBe(
      '# what it is\n\n# the device\ndevice:\n  # its name\n  name: x0\n  mtu: 1400\n\n' +
        '# how loud\nlog:\n  # here\n  level: warn # not info\n',
    ));

  test('of a list of rules orders the keys of each', () =>
    expect(format('listeners:\n- action: drop\n  name: a\n')).toBe(
      'listeners:\n  - name: a\n    action: drop\n',
    ));

  test('is its own canonical form', () => {
    const once = format('log: {level: warn}\n# x\ndevice: {mtu: 1400}\n');
    expect(format(once)).toBe(once);
  });

  test('of aliases leaves the order alone', () => {
    const text = 'listeners:\n  - &a\n    name: a\n    action: drop\nscripts:\n  vars: { x: y }\n';
    expect(format(`${text}device:\n  mtu: 1400\n`)).toEndWith('device:\n  mtu: 1400\n');
  });

  test('keeps text that looks like another type', () =>
    expect(format('scripts:\n  vars:\n    a: "7"\n    b: "no"\n    c: "true"\n')).toBe(
      "scripts:\n  vars:\n    a: '7'\n    b: no\n    c: 'true'\n",
    ));

  test('of JSON is JSON', () =>
    expect(formatConfig('{"log":{"level":"warn"},"device":{"mtu":1400}}', 'c.json', true)).toBe(
      '{\n  "device": {\n    "mtu": 1400\n  },\n  "log": {\n    "level": "warn"\n  }\n}\n',
    ));

  test('of what is no YAML is an error with its place', () =>
    expect(() => format('a: [1\n')).toThrow());
});
