/** `culvert explain` with a config; the API has tests of its own. */
import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { culvertIn } from './run-cli.ts';

setDefaultTimeout(60_000);

const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
const culvert = culvertIn(folder);

writeFileSync(
  join(folder, 'route.ts'),
  `import { forward } from 'culvert';
export default { flow(f, env) { console.log('asked'); return forward(env.vars.to); } };
`,
);
writeFileSync(
  join(folder, 'culvert.yaml'),
  `device: { name: x0, addresses: [10.99.0.1/24] }
listeners:
  - { name: ssh, ports: "22", action: reject }
  - { name: web, ports: "80", destination: 203.0.113.0/24, action: forward, to: 10.0.0.1:8080 }
scripts:
  vars: { to: "10.1.1.1:99" }
  load: [route.ts]
`,
);

describe('explain -c', () => {
  test('prints each step, who decides, and the verdict', async () => {
    const { code, out } = await culvert(
      ...['explain', '-c', 'culvert.yaml', '10.0.0.5:4000', '203.0.113.7:443/tcp'],
    );
    // How long a turn takes depends on the machine.
    const steady = out.replaceAll(/\d+ us/g, 'N us').replaceAll(/ +warn: script is slow.*\n/g, '');
    expect(steady).toBe(`tcp 10.0.0.5:4000 > 203.0.113.7:443
  1. listener 0 "ssh": no, port: takes 22
  2. listener 1 "web": no, port: takes 80
  3. script 0 "route": forward 10.1.1.1:99 (N us)
       info: asked
=> forward 10.1.1.1:99, decided by script 0 "route"
`);
    expect(code).toBe(0);
  });

  test('gives JSON, and says what a listener does', async () => {
    const { out } = await culvert(
      ...['explain', '-c', 'culvert.yaml', '--json', '10.0.0.5', '203.0.113.7:80'],
    );
    expect(JSON.parse(out)).toMatchObject({
      ...{ decided_by: 'listener', name: 'web', index: 1, verdict: 'forward 10.0.0.1:8080' },
    });
  });

  test.each([
    ['here', '203.0.113.7:80', '"here" is neither IP nor IP:PORT'],
    ['10.0.0.5', '203.0.113.7', 'dst_port: is needed'],
    ['10.0.0.5', '[fd00::1]:80', 'dst: is of another family'],
    ['10.0.0.5', '203.0.113.7:80/sctp', 'proto'],
  ])('of %s and %s is wrong usage', async (src, dst, message) => {
    const { code, err } = await culvert('explain', '-c', 'culvert.yaml', src, dst);
    expect(err).toContain(message);
    expect(code).toBe(2);
  });
});
