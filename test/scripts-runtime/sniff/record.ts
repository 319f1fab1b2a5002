/**
 * `bun test/scripts-runtime/sniff/record.ts`: records how the Chromium of this machine begins, and
 * writes it to `captures/`, so that it can be tested where it is not installed. Nothing leaves
 * the machine: it is sent to a port of loopback, with a profile that is new and thrown away.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  isInstalled,
  program,
  recordDatagrams,
  recordStream,
  type StartClient,
} from '../../support/client-captures.ts';

const FOLDER = join(import.meta.dir, 'captures');
const NAME = 'capture.corp.example';
const COLUMNS = 96;

const profile = mkdtempSync(join(tmpdir(), 'culvert-browser-'));

/** Without the services of its maker, which would ask for other names. */
const chromium = (...options: string[]): StartClient =>
  program((port) => [
    'chromium',
    ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    ...['--disable-component-update', '--no-first-run', `--user-data-dir=${profile}`],
    `--host-resolver-rules=MAP ${NAME}:* 127.0.0.1:${port}, MAP * ~NOTFOUND`,
    ...options.map((option) => option.replace('PORT', String(port))),
    `https://${NAME}:${port}/path?q=1`,
  ]);

const versionOf = (browser: string): string =>
  Bun.spawnSync([browser, '--version']).stdout.toString().trim();

function write(file: string, what: string, pieces: readonly Uint8Array[]): void {
  const lines = [`# ${what}`, '# Recorded on loopback by test/scripts-runtime/sniff/record.ts.'];
  for (const piece of pieces) {
    const hex = Buffer.from(piece).toString('hex');
    lines.push('', ...(hex.match(new RegExp(`.{1,${COLUMNS}}`, 'g')) ?? []));
  }
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, file), `${lines.join('\n')}\n`);
  console.log(`${file}: ${pieces.map(({ length }) => length).join(' + ')} bytes of ${what}`);
}

if (isInstalled('chromium')) {
  const version = versionOf('chromium');
  write('chromium-tls.txt', `${version}, TLS over TCP`, [await recordStream(chromium())]);
  const quic = chromium(`--origin-to-force-quic-on=${NAME}:PORT`, '--enable-quic');
  write('chromium-quic.txt', `${version}, QUIC`, await recordDatagrams(quic));
}
rmSync(profile, { recursive: true, force: true });
process.exit(0);
