/**
 * `bun test/scripts-runtime/sniff/record.ts [BROWSER]`: records how the browsers of this machine
 * begin, and writes it to `captures/`, so that it can be tested where they are not installed.
 * Nothing leaves the machine: it is sent to a port of loopback, with a profile that is new and
 * thrown away.
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

/** Its settings are a file of the profile; all names are of this machine. */
const firefox =
  (settings: (port: number) => Readonly<Record<string, unknown>>): StartClient =>
  (port) => {
    const folder = mkdtempSync(join(profile, 'firefox-'));
    const all = { 'network.dns.forceResolve': '127.0.0.1', ...settings(port) };
    const lines = Object.entries(all).map(
      ([key, value]) => `user_pref(${JSON.stringify(key)}, ${JSON.stringify(value)});\n`,
    );
    writeFileSync(join(folder, 'user.js'), lines.join(''));
    const options = ['--headless', '--no-remote', '--profile', folder];
    return program(() => ['firefox-esr', ...options, `https://${NAME}:${port}/path?q=1`])(port);
  };

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

const [wanted] = process.argv.slice(2);
const isRecorded = (browser: string): boolean =>
  isInstalled(browser) && (wanted === undefined || wanted === browser);

if (isRecorded('chromium')) {
  const version = versionOf('chromium');
  write('chromium-tls.txt', `${version}, TLS over TCP`, [await recordStream(chromium())]);
  const quic = chromium(`--origin-to-force-quic-on=${NAME}:PORT`, '--enable-quic');
  write('chromium-quic.txt', `${version}, QUIC`, await recordDatagrams(quic));
}
if (isRecorded('firefox-esr')) {
  const version = versionOf('firefox-esr');
  const tls = firefox(() => ({ 'network.http.http3.enable': false }));
  write('firefox-tls.txt', `${version}, TLS over TCP`, [await recordStream(tls)]);
  const quic = firefox((port) => ({
    'network.http.http3.alt-svc-mapping-for-testing': `${NAME};h3=:${port}`,
  }));
  write('firefox-quic.txt', `${version}, QUIC`, await recordDatagrams(quic));
}
rmSync(profile, { recursive: true, force: true });
process.exit(0);
