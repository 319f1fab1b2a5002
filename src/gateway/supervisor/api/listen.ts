/** Where the API listens: a unix socket, whose peers the kernel names, or TCP for tokens. */
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { type AdminAddress, parseAdminAddress } from '../../config/admin-address.ts';
import type { AdminConfig } from '../../config/admin-schema.ts';
import { ConfigError } from '../../config/load.ts';
import { explained } from '../start-error.ts';
import { idOf } from './accounts.ts';
import type { Handler } from './transport/answer-of.ts';
import { ApiServer, type ApiServerOptions } from './transport/server.ts';

/** `sun_path` of unix(7), without its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** What a socket file is like, and how its clients are served. */
export interface ListenOptions extends ApiServerOptions {
  /** Permission bits of the file. */
  readonly mode?: number;
  /** Its group, when it is not that of the gateway. */
  readonly gid?: number;
}

export interface AdminPlace extends ListenOptions {
  readonly address: AdminAddress;
}

/** Of the gateway alone. */
const SOCKET_MODE = 0o600;

/**
 * The place that a config names.
 *
 * @throws ConfigError  for no address, TCP without a token, a group that nobody knows
 */
export function resolveAdmin(admin: AdminConfig, file: string): AdminPlace {
  const fault = (path: string, message: string) => new ConfigError(file, [{ path, message }]);
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
  } else if ([admin.token ?? admin.tokenFile, ...admin.tokens].every((one) => one === undefined)) {
    throw fault('admin.token', 'TCP needs a token: set admin.token, tokenFile or tokens');
  }
  const { group } = admin.socket;
  const gid = typeof group === 'string' ? idOf('group', group) : group;
  if (group !== undefined && gid === undefined) {
    throw fault('admin.socket.group', `"${group}" is not known on this machine: write its number`);
  }
  return { address, mode: socketMode(admin), ...(gid === undefined ? {} : { gid }) };
}

/** Whom the rules let in must reach the socket; who they are is asked of the kernel then. */
function socketMode({ allow, tokens, socket: { mode, group } }: AdminConfig): number {
  if (mode !== undefined) return Number.parseInt(mode, 8);
  if (group !== undefined) return 0o660;
  return allow.length + tokens.length > 0 ? 0o666 : SOCKET_MODE;
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
  handler: Handler,
  { mode = SOCKET_MODE, gid, ...options }: ListenOptions = {},
): Promise<ApiServer> {
  const server = new ApiServer(handler, options);
  if (address.kind === 'tcp') {
    const { ip: host, port } = address;
    await serveAt(`port ${port} of ${host}`, () => server.listen({ host, port }));
    return server;
  }
  await claimAddress(address);
  const { path } = address;
  explained(`${dirname(path)} cannot be made`, () => mkdirSync(dirname(path), { recursive: true }));
  // Between bind and chmod the mode is what the umask leaves.
  const umask = process.umask(0o177);
  try {
    await serveAt(path, () => server.listen({ path }));
  } finally {
    process.umask(umask);
  }
  explained(`the group of ${path} cannot be ${gid}`, () => {
    if (gid !== undefined) chownSync(path, -1, gid);
  });
  chmodSync(path, mode);
  return server;
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

/** @throws AddressInUseError, StartError */
async function serveAt(place: string, serve: () => Promise<void>): Promise<void> {
  try {
    await serve();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new AddressInUseError(`${place} is in use (see --admin)`, { cause });
    }
    explained(`the API cannot listen on ${place}`, () => {
      throw cause;
    });
  }
}

function isAnswered(path: string): Promise<boolean> {
  const { promise, resolve: settle } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once('connect', () => settle(true));
  socket.once('error', () => settle(false));
  return promise.finally(() => socket.destroy());
}
