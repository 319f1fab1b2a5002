/** Serial numbers of flows as text. */

/** Text of a flow's serial number in logs, URLs and tables. */
export const flowId = (serial: number): string => serial.toString(36);

/** The serial number behind an id; undefined when it is no id. */
export function parseFlowId(id: string): number | undefined {
  if (!/^[0-9a-z]{1,11}$/.test(id)) return undefined;
  const serial = Number.parseInt(id, 36);
  return Number.isSafeInteger(serial) && serial > 0 ? serial : undefined;
}
