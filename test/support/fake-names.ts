import dns from 'node:dns';
import { type MockInstance, vi } from 'vitest';

/** Names that resolve as a test wants, for gRPC, until `mockRestore`. */
export function fakeNames(names: Readonly<Record<string, readonly string[]>>): MockInstance {
  const real = dns.promises.lookup;
  return vi.spyOn(dns.promises, 'lookup').mockImplementation(((host: string, options: dns.LookupAllOptions) => {
    const addresses = names[host];
    if (addresses === undefined) return real(host, options);
    return Promise.resolve(addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
  }) as typeof dns.promises.lookup);
}
