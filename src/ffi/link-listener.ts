/**
 * Changes of interfaces as the kernel tells them: a netlink socket in RTMGRP_LINK, netlink(7). It
 * sees the network namespace of whoever opened it, and a socket keeps a namespace alive: so there
 * is none for a device that was moved elsewhere (see network-namespace.ts).
 */
import { checked } from './errors.ts';
import { libc } from './libc.ts';
import { type Link, readLinks } from './link-message.ts';
import { allocateStruct } from './memory.ts';
import { closeFd } from './sockets.ts';
import { AddressFamily, HOST_ORDER, SockAddrNl } from './structs.ts';

const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 1;

export interface LinkHandlers {
  onLink(link: Link, isDeleted: boolean): void;
  /** Messages were lost (`ENOBUFS`), or the socket failed; the listener has ended. */
  onLost(error: unknown): void;
}

/** Two libraries declare the reader of a stream, each its own way; this is what both have. */
interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** Listens until it is disposed, which wakes the reader. */
export class LinkListener implements Disposable {
  readonly #fd: number;
  readonly #reader: Reader;
  #isClosed = false;

  /** @throws SystemError  `EMFILE`, `ENOMEM` */
  constructor(handlers: LinkHandlers) {
    this.#fd = checked(
      libc.socket(AddressFamily.NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE),
      'socket(NETLINK_ROUTE)',
    );
    try {
      const address = allocateStruct(SockAddrNl.BYTES);
      address.view.setUint16(SockAddrNl.FAMILY, AddressFamily.NETLINK, HOST_ORDER);
      address.view.setUint32(SockAddrNl.GROUPS, RTMGRP_LINK, HOST_ORDER);
      checked(libc.bind(this.#fd, address.address, SockAddrNl.BYTES), 'bind(RTMGRP_LINK)');
      this.#reader = Bun.file(this.#fd).stream().getReader();
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
    void this.#read(handlers);
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const close = (): number => closeFd(this.#fd);
    // One that has failed cannot be cancelled.
    void this.#reader.cancel().then(close, close);
  }

  async #read({ onLink, onLost }: LinkHandlers): Promise<void> {
    let cause: unknown;
    try {
      for (let part = await this.#reader.read(); !part.done; part = await this.#reader.read()) {
        if (this.#isClosed) return;
        if (part.value !== undefined) readLinks(part.value, onLink);
      }
    } catch (error) {
      cause = error;
    }
    if (this.#isClosed) return;
    this[Symbol.dispose]();
    onLost(cause);
  }
}
