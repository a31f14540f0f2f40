/**
 * From `unknown` to a type: small decoders, and how they are put together.
 *
 * A decoder is total: it never throws, and says which field is wrong, what it expected and what it got. Fields that it
 * does not know are ignored. Pure; names nothing of the protocol.
 */

/** What was decoded, or the first thing that was wrong: a path such as `data.total_equity` (empty: the whole). */
export type Decoded<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly path: string; readonly problem: string };

export type Decoder<T> = (value: unknown, path: string) => Decoded<T>;

export function accepted<T>(value: T): Decoded<T> {
  return { ok: true, value };
}

export function refused(path: string, expected: string, value: unknown): Decoded<never> {
  return { ok: false, path, problem: `expected ${expected}, got ${shown(value)}` };
}

/** A whole number from `low` to `high`, both within what JavaScript holds exactly. */
export function whole<T extends number = number>(
  low: number = Number.MIN_SAFE_INTEGER,
  high: number = Number.MAX_SAFE_INTEGER,
): Decoder<T> {
  return (value, path) =>
    typeof value === "number" && Number.isSafeInteger(value) && low <= value && value <= high
      ? accepted((value + 0) as T) // "-0" is 0
      : refused(path, `a whole number from ${low} to ${high}`, value);
}

/** Any number but the infinite ones that `1e999` is read as. */
export function finite<T extends number = number>(): Decoder<T> {
  return (value, path) =>
    typeof value === "number" && Number.isFinite(value) ? accepted((value + 0) as T) : refused(path, "a number", value);
}

export const text: Decoder<string> = (value, path) =>
  typeof value === "string" ? accepted(value) : refused(path, "a string", value);

export const truth: Decoder<boolean> = (value, path) =>
  typeof value === "boolean" ? accepted(value) : refused(path, "true or false", value);

/** Exactly one value. */
export function exactly<const T extends string | boolean>(wanted: T): Decoder<T> {
  return (value, path) => (value === wanted ? accepted(wanted) : refused(path, JSON.stringify(wanted), value));
}

/** One of a few strings. */
export function oneOf<const T extends string>(names: readonly T[]): Decoder<T> {
  return (value, path) => {
    const name = names.find((candidate) => candidate === value);
    return name === undefined ? refused(path, `one of ${names.join(", ")}`, value) : accepted(name);
  };
}

export function nullable<T>(decode: Decoder<T>): Decoder<T | null> {
  return (value, path) => (value === null ? accepted(null) : decode(value, path));
}

export function list<T>(decode: Decoder<T>): Decoder<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) return refused(path, "an array", value);
    const items: T[] = [];
    for (const [index, item] of value.entries()) {
      const decoded = decode(item, `${path}[${index}]`);
      if (!decoded.ok) return decoded;
      items.push(decoded.value);
    }
    return accepted(items);
  };
}

/** An object with every field that `T` has; a field missing is a field that is `undefined`. */
export function record<T extends object>(fields: { readonly [Key in keyof T]-?: Decoder<T[Key]> }): Decoder<T> {
  const decoders = Object.entries(fields) as [string, Decoder<unknown>][];
  return (value, path) => {
    if (!isRecord(value)) return refused(path, "an object", value);
    const result: Record<string, unknown> = {};
    for (const [name, decode] of decoders) {
      const decoded = decode(field(value, name), path === "" ? name : `${path}.${name}`);
      if (!decoded.ok) return decoded;
      result[name] = decoded.value;
    }
    return accepted(result as T);
  };
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A field of one's own: never one that every object inherits. */
export function field(value: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

/** A value in an error text: short, and without what an object holds. */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object" && value !== null) return "an object";
  return typeof value === "string" ? JSON.stringify(value.slice(0, 64)) : String(value);
}
