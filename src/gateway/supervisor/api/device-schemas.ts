/** Shapes of the device in the API. */
import { z } from 'zod';
import { deviceName } from '../../config/device-schema.ts';

const state = z.object({
  name: z.string(),
  up: z.boolean(),
  /** Bytes; 0 where the gateway may not look. */
  mtu: z.number(),
  tx_queue_length: z.number(),
  /** In the network namespace of the gateway. */
  here: z.boolean(),
});

export const deviceView = state.extend({
  persistent: z.boolean(),
  vnet_header: z.boolean(),
  /** Accepted by the kernel. */
  offloads: z.array(z.string()),
  /** Segmentation is in use, and was not given up. */
  offload: z.boolean(),
  events: z.array(
    z.object({ number: z.number(), at: z.string(), event: z.string(), device: state }),
  ),
});
export type DeviceView = z.output<typeof deviceView>;

export const swapBody = z.strictObject({ name: deviceName.optional() });
