/** An authority of the test's own, and servers with certificates of it. Needs the openssl tool. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchFolder } from './scratch.ts';

export interface ServerFiles {
  readonly cert: string;
  readonly key: string;
}

export class Authority {
  readonly folder = scratchFolder('ca');
  readonly file = join(this.folder, 'ca.pem');
  #servers = 0;

  constructor() {
    this.#openssl(
      ...['req', '-x509', ...NEW_KEY, '-keyout', 'ca.key', '-out', 'ca.pem'],
      ...['-subj', '/CN=an authority of a test', '-days', '30'],
    );
  }

  /** Its own certificate, in PEM. */
  get pem(): string {
    return readFileSync(this.file, 'utf8');
  }

  /**
   * A server's certificate and its key, as paths.
   *
   * @param names  `DNS:a.example`, `IP:127.0.0.1`
   * @param days   how long it is good; below 0 it has expired
   */
  server(names: string, days = 10): ServerFiles {
    this.#servers++;
    const [key, request, cert] = ['key', 'csr', 'pem'].map((end) => `s${this.#servers}.${end}`);
    writeFileSync(join(this.folder, 'names'), `subjectAltName=${names}\n`);
    this.#openssl('req', ...NEW_KEY, '-keyout', key!, '-out', request!, '-subj', '/CN=a server');
    this.#openssl(
      ...['x509', '-req', '-in', request!, '-out', cert!, '-days', String(days)],
      ...['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names'],
    );
    return { cert: join(this.folder, cert!), key: join(this.folder, key!) };
  }

  #openssl(...args: string[]): void {
    const { exitCode, stderr } = Bun.spawnSync(['openssl', ...args], { cwd: this.folder });
    if (exitCode !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'] as const;
