/** `structuredClone`: https://html.spec.whatwg.org/#structuredserializeinternal, without transfer. */
import { bytesOf, kindOfArray } from './bytes.js';
import { DOMException } from './dom-exception.js';

const { apply, getOwnPropertyDescriptor, getPrototypeOf } = Reflect;
const ERRORS = [
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
  AggregateError,
];
const getterOf = (kind, name) => getOwnPropertyDescriptor(kind.prototype, name).get;

/** Whether a method or getter that only one kind of object has accepts this one. */
const accepts = (method) => (value) => {
  try {
    apply(method, value, []);
    return true;
  } catch {
    return false;
  }
};
const isMap = accepts(getterOf(Map, 'size'));
const isSet = accepts(getterOf(Set, 'size'));
const isDate = accepts(Date.prototype.getTime);
const isBuffer = accepts(getterOf(ArrayBuffer, 'byteLength'));
const { isView } = ArrayBuffer;
const { isError } = Error;
const primitiveOf = [Boolean, Number, String, BigInt].map((kind) => kind.prototype.valueOf);

const refuse = (what) => {
  throw new DOMException(`structuredClone: ${what} cannot be cloned`, 'DataCloneError');
};

class Cloner {
  /** What was cloned, by its original: things that meet twice meet again, circles close. */
  #known = new Map();

  clone(value) {
    if (typeof value === 'symbol') refuse('a symbol');
    if (typeof value === 'function') refuse('a function');
    if (typeof value !== 'object' || value === null) return value;
    const known = this.#known.get(value);
    if (known !== undefined) return known;
    return this.#cloneObject(value);
  }

  #remember(value, copy) {
    this.#known.set(value, copy);
    return copy;
  }

  #cloneObject(value) {
    if (Array.isArray(value)) {
      const copy = this.#remember(value, []);
      copy.length = value.length;
      return this.#copyMembers(value, copy);
    }
    if (isMap(value)) return this.#cloneMap(value);
    if (isSet(value)) {
      const copy = this.#remember(value, new Set());
      for (const member of [...value]) copy.add(this.clone(member));
      return copy;
    }
    if (isDate(value)) return this.#remember(value, new Date(value.getTime()));
    if (isError(value)) return this.#cloneError(value);
    if (isBuffer(value)) return this.#remember(value, bytesOf('', value).slice().buffer);
    if (isView(value)) return this.#cloneView(value);
    if (value instanceof RegExp) {
      return this.#remember(value, new RegExp(value.source, value.flags));
    }
    const unwrap = primitiveOf.find((method) => accepts(method)(value));
    if (unwrap !== undefined) return this.#remember(value, Object(apply(unwrap, value, [])));
    return this.#clonePlain(value);
  }

  #clonePlain(value) {
    const prototype = getPrototypeOf(value);
    const name = Object.prototype.toString.call(value).slice('[object '.length, -1);
    // Instances of classes are cloned to plain objects, but what has a nature of its own is not.
    if (name !== 'Object' && prototype !== null) refuse(`a ${name}`);
    return this.#copyMembers(value, this.#remember(value, {}));
  }

  #copyMembers(value, copy) {
    for (const key of Object.keys(value)) {
      const member = this.clone(value[key]);
      const how = { configurable: true, enumerable: true, writable: true, value: member };
      Object.defineProperty(copy, key, how);
    }
    return copy;
  }

  #cloneMap(value) {
    const copy = this.#remember(value, new Map());
    for (const [key, member] of [...value]) copy.set(this.clone(key), this.clone(member));
    return copy;
  }

  #cloneError(value) {
    if (value instanceof DOMException) {
      return this.#remember(value, new DOMException(value.message, value.name));
    }
    const kind = ERRORS.find((one) => one.name === value.name) ?? Error;
    const copy = this.#remember(value, kind === AggregateError ? new kind([]) : new kind());
    for (const name of ['message', 'stack', 'cause', 'errors']) {
      if (!Object.hasOwn(value, name)) continue;
      const member = this.clone(value[name]);
      Object.defineProperty(copy, name, { configurable: true, writable: true, value: member });
    }
    return copy;
  }

  #cloneView(value) {
    const buffer = this.clone(value.buffer);
    const kind = kindOfArray(value);
    if (kind === undefined) {
      return this.#remember(value, new DataView(buffer, value.byteOffset, value.byteLength));
    }
    const copy = new globalThis[kind](buffer, value.byteOffset, value.length);
    return this.#remember(value, copy);
  }
}

export function structuredClone(value, options) {
  if (options?.transfer?.length > 0) refuse('what is to be transferred');
  return new Cloner().clone(value);
}
