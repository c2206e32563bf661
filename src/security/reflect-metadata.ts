/**
 * The three functions of the Reflect metadata proposal that tsyringe, underneath @peculiar/x509, demands at import. Import this
 * before that package. Ours because the usual polyfill is a dependency for these lines only.
 */
const store = new WeakMap<object, Map<unknown, unknown>>();

function ownMetadata(key: unknown, target: object): unknown {
  return store.get(target)?.get(key);
}

function metadata(key: unknown, target: object): unknown {
  for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const value = ownMetadata(key, at);
    if (value !== undefined) return value;
  }
  return undefined;
}

function defineMetadata(key: unknown, value: unknown, target: object): void {
  const map = store.get(target) ?? new Map<unknown, unknown>();
  store.set(target, map.set(key, value));
}

if (!('getMetadata' in Reflect)) {
  Object.assign(Reflect, { getMetadata: metadata, getOwnMetadata: ownMetadata, defineMetadata });
}
