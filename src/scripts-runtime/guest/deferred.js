/** Promises that are settled from outside, by what the gateway tells. */
const Native = Promise;

export function defer() {
  let resolve;
  let reject;
  const promise = new Native((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
