/** What `culvert script new` writes: a script that works, and a test that shows how it is tested. */
import { SCRIPT_TYPES, TEST_TYPES } from '../../scripts-runtime/types.ts';

export interface Template {
  readonly title: string;
  readonly script: string;
  /** NAME stands for the name of the script. */
  readonly test: string;
}

const BY_PORT: Template = {
  title: 'forward or refuse by port, and leave the rest to the next script',
  script: `import { decline, forward, type GatewayScript, reject } from 'culvert';

export default {
  flow(f, _env, ctx) {
    if (f.proto !== 'tcp') return decline();
    if (f.dst.port === 22) return reject({ reason: 'no ssh' });
    if (f.dst.port === 443) return forward('10.0.0.5:8443');
    ctx.log.info({ port: f.dst.port }, 'not ours');
    return decline();
  },
} satisfies GatewayScript;
`,
  test: `import { expect, flow, run, test } from 'culvert:test';
import script from './NAME';

const to = (port: number) => flow({ src: '10.0.0.9:40000', dst: \`203.0.113.7:\${port}\` });

test('HTTPS goes to the inner address', async () => {
  const r = await run(script, to(443));
  expect(r.dialed).toEqual(['10.0.0.5:8443']);
});

test('SSH is refused', async () => {
  const r = await run(script, to(22));
  expect(r.verdict).toMatchObject({ kind: 'reject', reason: 'no ssh' });
});

test('the next script is asked about all else, and the log says so', async () => {
  const r = await run(script, to(25));
  expect(r.text).toBe('decline');
  expect(r.logs).toEqual([{ level: 'info', message: 'not ours', fields: { port: 25 } }]);
});
`,
};

const RATE_LIMIT: Template = {
  title: 'so many new flows a minute for each source, counted in the KV',
  script: `import { forward, type GatewayScript, reject } from 'culvert';

const MOST = 100;
const WINDOW_MS = 60_000;

export default {
  flow(f, env) {
    const count = env.KV.incr(\`flows:\${f.src.ip}\`, 1, { init: 0, ttlMs: WINDOW_MS });
    return count > MOST ? reject({ reason: 'too many flows' }) : forward();
  },
} satisfies GatewayScript;
`,
  test: `import { clock, expect, flow, run, test } from 'culvert:test';
import script from './NAME';

const from = (ip: string) => flow({ src: \`\${ip}:40000\`, dst: '203.0.113.7:443' });

test('a source that opened 100 flows is refused, and others are not', async () => {
  const env = { kv: { 'flows:10.0.0.9': 100 } };
  expect((await run(script, from('10.0.0.9'), { env })).text).toBe('reject reason=too many flows');
  expect((await run(script, from('10.0.0.8'))).text).toBe('forward');
});

test('after a minute it may again', async () => {
  for (let i = 0; i < 100; i++) await run(script, from('10.0.0.9'));
  expect((await run(script, from('10.0.0.9'))).verdict.kind).toBe('reject');
  await clock.advance(60_000);
  expect((await run(script, from('10.0.0.9'))).verdict.kind).toBe('forward');
});
`,
};

export const TEMPLATES: Readonly<Record<string, Template>> = {
  'by-port': BY_PORT,
  'rate-limit': RATE_LIMIT,
};

const TSCONFIG = `{
  "compilerOptions": {
    "target": "ESNext",
    "module": "Preserve",
    "moduleResolution": "bundler",
    "lib": ["ESNext"],
    "types": [],
    "strict": true,
    "noEmit": true,
    "skipLibCheck": true,
    "resolveJsonModule": true,
    "allowImportingTsExtensions": true
  },
  "include": ["*.ts"]
}
`;

/** Files of the folder that scripts share; they are left alone where they exist. */
export const sharedFiles = (): Readonly<Record<string, string>> => ({
  'culvert.d.ts': `${SCRIPT_TYPES}\n${TEST_TYPES}`,
  'tsconfig.json': TSCONFIG,
});

/** A script and its test, by file. */
export const filesOf = (
  name: string,
  { script, test }: Template,
): Readonly<Record<string, string>> => ({
  [`${name}.ts`]: script,
  [`${name}.test.ts`]: test.replaceAll('NAME', name),
});
