/** Reads the authorities whose certificates scripts trust besides the usual ones. */
import { X509Certificate } from 'node:crypto';
import { resolve } from 'node:path';
import { ConfigError, type LoadedConfig } from './load.ts';
import { readTextFile, UnreadableError } from './read-text-file.ts';

/** Three times what all public authorities take together. */
const CA_MAX_BYTES = 1024 * 1024;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * @returns certificates in PEM, and nothing of what stood between them; undefined for none
 * @throws ConfigError
 */
export function readAuthorities(loaded: LoadedConfig): string | undefined {
  const { ca } = loaded.config.scripts.tls;
  if (ca === undefined) return undefined;
  const fail = (message: string): never => {
    const issues = [{ path: 'scripts.tls.ca', message: `${ca} ${message}` }];
    throw new ConfigError(loaded.file ?? 'embedded default', issues);
  };
  const text = readText(resolve(loaded.folder, ca), fail);
  const certificates = text.match(CERTIFICATE) ?? fail('has no certificate in PEM');
  for (const [i, certificate] of certificates.entries()) {
    if (!isCertificate(certificate)) fail(`cannot be read: certificate ${i + 1} is none`);
  }
  return certificates.join('\n');
}

function readText(path: string, fail: (message: string) => never): string {
  try {
    return readTextFile(path, CA_MAX_BYTES);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    return fail(error.message);
  }
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}
