/** `Date` of scripts outside of a gateway: now is what their clock says. Nothing else differs. */
import { host } from './host.js';

const Real = Date;
const { construct } = Reflect;

function VirtualDate(...args) {
  if (new.target === undefined) return new Real(host.epochMs()).toString();
  return construct(Real, args.length === 0 ? [host.epochMs()] : args, new.target);
}
const { now } = { now: () => host.epochMs() };
Object.defineProperties(VirtualDate, {
  ...Object.getOwnPropertyDescriptors(Real),
  now: { configurable: true, writable: true, value: now },
});
// The way back to the other clock.
Object.defineProperty(Real.prototype, 'constructor', { value: VirtualDate });
globalThis.Date = VirtualDate;
