/** Drops every privilege and prints what is left, as the kernel sees it. */
import { readFileSync } from 'node:fs';
import { SystemError } from '../../../src/ffi/errors.ts';
import { dropPrivileges, effectiveUid } from '../../../src/ffi/process.ts';
import { TunDevice } from '../../../src/ffi/tun-device.ts';

const NOBODY = 65534;

dropPrivileges({ uid: NOBODY, gid: NOBODY });
const status = readFileSync('/proc/thread-self/status', 'utf8');
const field = (name: string): string =>
  new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? '';

let tun = 'opened';
try {
  TunDevice.open({ name: 'cvtest%d', offload: true });
} catch (error) {
  tun = error instanceof SystemError ? error.code : String(error);
}

console.log(
  JSON.stringify({
    effectiveUid: effectiveUid(),
    uid: field('Uid'),
    gid: field('Gid'),
    groups: field('Groups'),
    capabilities: [field('CapEff'), field('CapPrm'), field('CapAmb')],
    noNewPrivileges: field('NoNewPrivs'),
    tun,
  }),
);
