import type { Peer, Place } from '../peer.ts';
import { peer as single } from './culvert.ts';

const QUEUES = 2;

const filesOf = (place: Place) => {
  const files = single.files?.(place) ?? {};
  const config = JSON.parse(files['config.json'] ?? '{}') as { device: object };
  const device = { ...config.device, queues: QUEUES };
  return { ...files, 'config.json': JSON.stringify({ ...config, device }, undefined, 2) };
};

export const peer: Peer = {
  ...single,
  about: 'as culvert, with two queues of the device and a data plane for each',
  files: filesOf,
};
