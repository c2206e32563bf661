const secretKey =
  /^pass$|pass(word|wd|phrase)|secret|token|credential|creds$|nkey|seed|jwt|private.?key|api.?key|authorization|cookie/i;
const urlUserInfo = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi;
const pemKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const redacted = '[redacted]';
const tooLarge = '[too large]';
const maxDepth = 6;
const maxValues = 500;

/** How much of a value may still be walked: a socket or a client that strays into the log must not fill it. */
interface Budget {
  values: number;
}

/**
 * Log fields as plain JSON values, without what looks like a secret: values under keys that name secrets, the user part
 * of URLs, PEM private keys. The second line of defence: secrets are not to be passed to the log in the first place.
 */
export function redactFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return plainEntries(Object.entries(fields), 0, { values: maxValues });
}

function plainEntries(
  entries: Iterable<readonly [unknown, unknown]>,
  depth: number,
  budget: Budget,
): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, item] of entries) {
    if (item === undefined) continue;
    const key = String(name);
    out[key] = secretKey.test(key) ? redacted : plain(item, depth + 1, budget);
    if (budget.values <= 0) break;
  }
  return out;
}

function plain(value: unknown, depth: number, budget: Budget): unknown {
  budget.values -= 1;
  switch (typeof value) {
    case 'string':
      return redactText(value);
    case 'bigint':
      return value.toString();
    case 'number':
    case 'boolean':
      return value;
    case 'object':
      if (value === null) return null;
      return depth > maxDepth || budget.values <= 0 ? tooLarge : plainReference(value, depth, budget);
    default:
      return `[${typeof value}]`;
  }
}

function plainReference(value: object, depth: number, budget: Budget): unknown {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '[invalid date]' : value.toISOString();
  if (value instanceof Error) return plainError(value, depth, budget);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value) || value instanceof Set) return plainItems(value, depth, budget);
  return plainEntries(value instanceof Map ? value : Object.entries(value), depth, budget);
}

function plainItems(values: Iterable<unknown>, depth: number, budget: Budget): unknown[] {
  const out: unknown[] = [];
  for (const item of values) {
    out.push(plain(item, depth + 1, budget));
    if (budget.values <= 0) break;
  }
  return out;
}

/** `code` is what system calls and clients name their errors by. */
function plainError(error: Error, depth: number, budget: Budget): Record<string, unknown> {
  const parts: [string, unknown][] = [
    ['name', error.name],
    ['message', error.message],
    ['code', 'code' in error ? error.code : undefined],
    ['stack', error.stack],
    ['cause', error.cause],
  ];
  return plainEntries(parts, depth, budget);
}

function redactText(text: string): string {
  return text.replace(urlUserInfo, `$1${redacted}@`).replace(pemKey, redacted);
}
