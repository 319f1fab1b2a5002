/** Where the API listens: a unix socket of its owner, or TCP for bearers of a token. */
import { chmodSync, existsSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, resolve } from 'node:path';
import { ConfigError } from '../../config/load.ts';
import { readTextFile, UnreadableError } from '../../config/read-text-file.ts';
import type { Config } from '../../config/schema.ts';
import { parseTarget } from '../../config/values.ts';
import { explained } from '../start-error.ts';

const SOCKET_MODE = 0o600;
/** Seconds without a byte, the most that Bun can count; a change of scripts may take most of it. */
const IDLE_TIMEOUT_S = 255;
/** `sun_path` of unix(7), without its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;
/** A token is a line of text. */
const TOKEN_FILE_BYTES_MAX = 4096;

export type AdminAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly ip: string; readonly port: number };

/** `unix:///run/x.sock`, `/run/x.sock`, `tcp://127.0.0.1:9000`, `127.0.0.1:9000` */
export function parseAdminAddress(text: string): AdminAddress | undefined {
  const path = text.startsWith('unix://') ? text.slice('unix://'.length) : text;
  if (path.startsWith('/')) return { kind: 'unix', path };
  if (path.startsWith('./') || path.startsWith('../')) return { kind: 'unix', path: resolve(path) };
  const target = parseTarget(text.replace(/^(tcp|http):\/\//, '').replace(/\/$/, ''));
  return target?.port === undefined ? undefined : { kind: 'tcp', ip: target.ip, port: target.port };
}

/**
 * The address of a config and the token that guards it.
 *
 * @throws ConfigError  for no address, TCP without a token, an unreadable token file
 */
export function resolveAdmin(
  admin: Config['admin'],
  file: string,
): { address: AdminAddress; token?: string } {
  const fault = (path: string, message: string, cause?: unknown) =>
    new ConfigError(file, [{ path, message }], { cause });
  const address = parseAdminAddress(admin.listen);
  if (address === undefined) {
    throw fault('admin.listen', `"${admin.listen}" is neither unix:///PATH nor IP:PORT`);
  }
  if (address.kind === 'unix') {
    const bytes = Buffer.byteLength(address.path);
    if (bytes > SOCKET_PATH_BYTES_MAX) {
      const most = SOCKET_PATH_BYTES_MAX;
      throw fault('admin.listen', `a path of ${bytes} bytes; of a unix socket at most ${most}`);
    }
    return { address };
  }
  const token = admin.token ?? readToken(admin.tokenFile, fault);
  if (token === undefined || token === '') {
    throw fault('admin.token', 'TCP needs a token: set admin.token or admin.tokenFile');
  }
  return { address, token };
}

/** The path is in use by a gateway that runs, or by what is no socket. */
export class AddressInUseError extends Error {
  override readonly name = 'AddressInUseError';
  readonly code = 'EADDRINUSE';
}

/**
 * Starts to serve. A socket file that nobody listens on is replaced.
 *
 * @throws AddressInUseError
 * @throws StartError  `EADDRNOTAVAIL`, `EACCES` and their like
 */
export async function listen(
  address: AdminAddress,
  fetch: (request: Request) => Response | Promise<Response>,
): Promise<Bun.Server<undefined>> {
  if (address.kind === 'tcp') {
    const { ip: hostname, port } = address;
    return serveAt(`port ${port} of ${hostname}`, () =>
      Bun.serve({ hostname, port, fetch, idleTimeout: IDLE_TIMEOUT_S }),
    );
  }
  await claimAddress(address);
  const { path } = address;
  explained(`${dirname(path)} cannot be made`, () => mkdirSync(dirname(path), { recursive: true }));
  // Between bind and chmod the mode is what the umask leaves.
  const umask = process.umask(0o177);
  try {
    // Bun counts idle seconds on a unix socket as well, 10 unless told; its types do not say so.
    const options = { unix: path, fetch, idleTimeout: IDLE_TIMEOUT_S as never };
    const server = serveAt(path, () => Bun.serve(options));
    chmodSync(path, SOCKET_MODE);
    return server;
  } finally {
    process.umask(umask);
  }
}

/**
 * Makes sure that the address is free, and removes a socket file that nobody listens on.
 *
 * @throws AddressInUseError
 */
export async function claimAddress(address: AdminAddress): Promise<void> {
  if (address.kind !== 'unix' || !existsSync(address.path)) return;
  const { path } = address;
  if (!lstatSync(path).isSocket()) throw new AddressInUseError(`${path} exists and is no socket`);
  if (await isAnswered(path)) {
    throw new AddressInUseError(`${path} is in use: another culvert runs (see --admin)`);
  }
  unlinkSync(path);
}

function serveAt(place: string, serve: () => Bun.Server<undefined>): Bun.Server<undefined> {
  try {
    return explained(`the API cannot listen on ${place}`, serve);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new AddressInUseError(`${place} is in use (see --admin)`, { cause: error });
  }
}

function isAnswered(path: string): Promise<boolean> {
  const { promise, resolve: settle } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once('connect', () => settle(true));
  socket.once('error', () => settle(false));
  return promise.finally(() => socket.destroy());
}

function readToken(
  file: string | undefined,
  fault: (path: string, message: string, cause?: unknown) => ConfigError,
): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readTextFile(file, TOKEN_FILE_BYTES_MAX).trim();
  } catch (cause) {
    if (!(cause instanceof UnreadableError)) throw cause;
    throw fault('admin.tokenFile', `${file} ${cause.message}`, cause);
  }
}
