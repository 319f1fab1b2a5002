/** What `culvert script new` writes: a script that works, and its test. */
import { basename } from 'node:path';
// @ts-expect-error a test exports nothing, except as the text it is
import byPortTest from '../../../scripts/templates/by-port.test.ts' with { type: 'text' };
import byPort from '../../../scripts/templates/by-port.ts' with { type: 'text' };
// @ts-expect-error the same
import rateLimitTest from '../../../scripts/templates/rate-limit.test.ts' with { type: 'text' };
import rateLimit from '../../../scripts/templates/rate-limit.ts' with { type: 'text' };
import { SCRIPT_TYPES, TEST_TYPES } from '../../scripts-runtime/types.ts';

export interface Template {
  readonly title: string;
  readonly script: string;
  readonly test: string;
}

/** By name, which stands in the test where the script is imported. */
export const TEMPLATES: Readonly<Record<string, Template>> = {
  'by-port': {
    title: 'forward or refuse by port, and leave the rest to the next script',
    script: String(byPort),
    test: String(byPortTest),
  },
  'rate-limit': {
    title: 'so many new flows a minute for each source, counted in the KV',
    script: String(rateLimit),
    test: String(rateLimitTest),
  },
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

/**
 * A script and its test, by file.
 *
 * @param template  one of TEMPLATES
 */
export function filesOf(name: string, template: string): Readonly<Record<string, string>> {
  const { script = '', test = '' } = TEMPLATES[template] ?? {};
  return {
    [`${name}.ts`]: script,
    [`${name}.test.ts`]: test.replace(`'./${template}.ts'`, `'./${basename(name)}.ts'`),
  };
}
