/**
 * Descriptors handed to a process that runs already: SCM_RIGHTS over a unix socket, unix(7). Each
 * goes with a number, by which the other side knows it from one that it was too late to take.
 */
import { Errno } from './errno.ts';
import { checked } from './errors.ts';
import { lastErrno, libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { CMsgHdr, HOST_ORDER, IoVec, MsgHdr, setWord } from './structs.ts';

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;

const NUMBER_BYTES = 4;
/** One descriptor, padded to words as CMSG_SPACE does it. */
const CONTROL_BYTES = CMsgHdr.DATA + 8;
/** CMSG_LEN of one descriptor. */
const RIGHTS_BYTES = CMsgHdr.DATA + 4;

/*
 * One message, filled and read by each of the two functions around one call of the kernel; nothing
 * of ours runs in between.
 */
const header = allocateStruct(MsgHdr.BYTES);
/** The vector, and behind it what it points to: so whoever uses the number keeps both alive. */
const body = allocateStruct(IoVec.BYTES + NUMBER_BYTES);
const NUMBER_AT = IoVec.BYTES;
const control = allocateStruct(CONTROL_BYTES);
setWord(body.view, IoVec.BASE, body.address + NUMBER_AT);
setWord(body.view, IoVec.LENGTH, NUMBER_BYTES);
setWord(header.view, MsgHdr.VECTOR, body.address);
setWord(header.view, MsgHdr.VECTOR_LENGTH, 1);
setWord(header.view, MsgHdr.CONTROL, control.address);

export interface PassedDescriptor {
  /** Owned by the receiver; close-on-exec. */
  readonly fd: number;
  readonly number: number;
}

/**
 * @param socket  an end of a `seqpacket` pair, so that each message stays whole
 * @param number  uint32
 * @throws SystemError  `EPIPE` when nobody has the other end, `EAGAIN` when it is full
 */
export function sendDescriptor(socket: number, fd: number, number: number): void {
  setWord(header.view, MsgHdr.CONTROL_LENGTH, CONTROL_BYTES);
  body.view.setUint32(NUMBER_AT, number, HOST_ORDER);
  setWord(control.view, CMsgHdr.LENGTH, RIGHTS_BYTES);
  control.view.setInt32(CMsgHdr.LEVEL, SOL_SOCKET, HOST_ORDER);
  control.view.setInt32(CMsgHdr.TYPE, SCM_RIGHTS, HOST_ORDER);
  control.view.setInt32(CMsgHdr.DATA, fd, HOST_ORDER);
  checked(libc.sendmsg(socket, header.address, MSG_DONTWAIT | MSG_NOSIGNAL), 'sendmsg(SCM_RIGHTS)');
}

/** The next one; or a negative errno: `-EAGAIN` when there is none, `-EPIPE` at the end. */
export function receiveDescriptor(socket: number): PassedDescriptor | number {
  setWord(header.view, MsgHdr.CONTROL_LENGTH, CONTROL_BYTES);
  const got = libc.recvmsg(socket, header.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return -lastErrno();
  const hasRights =
    header.view.getUint32(MsgHdr.CONTROL_LENGTH, HOST_ORDER) >= RIGHTS_BYTES &&
    control.view.getInt32(CMsgHdr.TYPE, HOST_ORDER) === SCM_RIGHTS;
  if (got < NUMBER_BYTES || !hasRights) return -Errno.EPIPE;
  return {
    fd: control.view.getInt32(CMsgHdr.DATA, HOST_ORDER),
    number: body.view.getUint32(NUMBER_AT, HOST_ORDER),
  };
}
