/** The contract of the device as the stack sees it. */

/** Where frames go. A frame lies in the arena; with `vnetHeader` it starts with that header. */
export interface FrameSink {
  /** @returns false when the device refused the frame; it is counted, and TCP sends it again */
  transmit(frameAt: number, frameLength: number): boolean;
}

/** What was negotiated with the kernel; may shrink while the gateway runs. */
export interface DeviceCapabilities {
  /** Frames start with a virtio-net header. */
  vnetHeader: boolean;
  /** The other side completes TCP checksums. */
  checksumOffload: boolean;
  /** The other side cuts superframes. */
  tso4: boolean;
  tso6: boolean;
  /** It cuts those with CWR too, and keeps the flag on the first packet only. */
  tsoEcn: boolean;
  /** It cuts runs of UDP datagrams. */
  uso: boolean;
  /** Largest IP packet that goes out uncut, and the source of our MSS. */
  mtu: number;
}
