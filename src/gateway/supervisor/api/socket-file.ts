/**
 * The file of the unix socket: which gateway has it, whom its mode lets in, and its end.
 *
 * Two gateways of one path must not take it from each other. To ask whether somebody answers is
 * not enough: of two that start together both hear nobody, and the second removes what the first
 * has just made. So a gateway has a lock beside the socket for as long as its process lives.
 */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  rmSync,
  type Stats,
  unlinkSync,
} from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { FileLock } from '../../../ffi/file-lock.ts';
import { explained } from '../start-error.ts';

/** Of the gateway alone. */
export const SOCKET_MODE = 0o600;
/** What SOCKET_MODE has not. */
const SOCKET_UMASK = 0o177;

export interface SocketPermissions {
  /** Permission bits of the file. */
  readonly mode?: number | undefined;
  /** Its group, when it is not that of the gateway. */
  readonly gid?: number | undefined;
}

/** The path is in use by a gateway that runs, or by what is no socket. */
export class AddressInUseError extends Error {
  override readonly name = 'AddressInUseError';
  readonly code = 'EADDRINUSE';
}

export class SocketFile {
  readonly path: string;
  readonly #lock: FileLock;
  /** As it was made: whatever has the name later may be somebody else's. */
  #made: Stats | undefined;
  #mode = SOCKET_MODE;
  #gid = 0;

  private constructor(path: string, lock: FileLock) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Makes sure that the path is free, and removes a socket file that nobody listens on.
   *
   * @throws AddressInUseError, StartError
   */
  static async claim(path: string): Promise<SocketFile> {
    const folder = dirname(path);
    explained(`${folder} cannot be made`, () => mkdirSync(folder, { recursive: true }));
    const lockPath = `${path}.lock`;
    const lock = explained(`${lockPath} cannot be locked`, () => FileLock.tryLock(lockPath));
    if (lock === undefined) throw inUse(path);
    try {
      const found = lstatSync(path, { throwIfNoEntry: false });
      if (found?.isSocket() === false) {
        throw new AddressInUseError(`${path} exists and is no socket`);
      }
      // What is no gateway has no lock.
      if (found !== undefined && (await isAnswered(path))) throw inUse(path);
      if (found !== undefined) explained(path, () => unlinkSync(path));
      return new SocketFile(path, lock);
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /** Makes it; until `admit` it is for the own user. */
  async make(serve: () => Promise<void>): Promise<void> {
    // Between bind and chmod the mode is what the umask leaves.
    const umask = process.umask(SOCKET_UMASK);
    try {
      await serve();
    } finally {
      process.umask(umask);
    }
    this.#made = lstatSync(this.path);
    this.#gid = this.#made.gid;
  }

  /**
   * Whom the file lets in from now on; who they are is asked of the kernel then.
   *
   * @throws StartError  all is as it was
   */
  admit({ mode = SOCKET_MODE, gid = this.#made?.gid }: SocketPermissions): void {
    if (!this.#isOurs() || gid === undefined) return;
    if (gid !== this.#gid) {
      // Neither the old mode with the new group nor the new one with the old lets in a stranger.
      chmodSync(this.path, SOCKET_MODE);
      try {
        explained(`the group of ${this.path} cannot be ${gid}`, () =>
          chownSync(this.path, -1, gid),
        );
      } catch (error) {
        chmodSync(this.path, this.#mode);
        throw error;
      }
      this.#gid = gid;
    }
    chmodSync(this.path, mode);
    this.#mode = mode;
  }

  /** Removes it, and leaves the path to others. */
  [Symbol.dispose](): void {
    if (this.#isOurs()) rmSync(this.path, { force: true });
    this.#made = undefined;
    this.#lock[Symbol.dispose]();
  }

  #isOurs(): boolean {
    const there = lstatSync(this.path, { throwIfNoEntry: false });
    const made = this.#made;
    return made !== undefined && there?.ino === made.ino && there.dev === made.dev;
  }
}

const inUse = (path: string): AddressInUseError =>
  new AddressInUseError(`${path} is in use: another culvert runs (see --admin)`);

function isAnswered(path: string): Promise<boolean> {
  const { promise, resolve: settle } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once('connect', () => settle(true));
  socket.once('error', () => settle(false));
  return promise.finally(() => socket.destroy());
}
